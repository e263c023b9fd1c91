use hythe_spec::{Mount, MountSource, ParseError, Paths};
use serde_json::{Map, Value, json};

use crate::support::{Difference, Row, check, rows_of, text};

const PATHS: Paths<'_> = Paths { base: "/base/dir", home: Some("/home/me") };

const SHORT_DIFFERENCES: &[Difference] = &[
    Difference { reason: "An unknown mount option is refused", inputs: &["name:/target:bogus"] },
    Difference { reason: "A target is an absolute path", inputs: &["."] },
    Difference {
        reason: "Windows paths are not supported",
        inputs: &[
            "Z:\\path\\foo",
            "~/thing:d:\\target",
            "D:\\path:d:\\target",
            "\\\\.\\pipe\\docker_engine:\\\\.\\pipe\\inside",
            "C:\\foo\\:/foo",
            "d:",
            "d:\\path with space",
            "c:\\:d:\\",
            "c:\\windows:d:\\s p a c e",
            "c:\\program files:d:\\s p a c e i n h o s t d i r",
            "MiXeDcAsEnAmE:d:",
            "name:D::rW",
            "c:/:d:/forward/slashes/are/good/too",
            "c:\\Program Files (x86)",
            "..\\",
            "c:\\:d:\\:xyzzy",
            "c:/c",
        ],
    },
    Difference {
        reason: "Variables are not substituted in a service file",
        inputs: &[
            "/tmp/${VAR:-default}:/target",
            "/tmp:/tmp/${VAR:-}/path",
            "/tmp:/tmp/${VAR1:-val1}/${VAR2:-val2}/path",
            "/tmp:/tmp/${WORKS_AS_EXPECTED}/path",
            "/tmp:/tmp/${TIME:-12:30:45}/path",
            "/src:/target/${VAR:-default}/path:slave,ro",
            "C:\\src\\${VAR:-default}:D:\\target",
            "/tmp:/tmp/${VAR:-{default}}/path",
            "/tmp:/${VAR:-default}/path",
        ],
    },
];

const LONG_DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "Volume drivers, labels, options and `nocopy` are refused",
        inputs: &[
            "type=volume,target=/foo,source=foo,volume-nocopy=true",
            "type=volume,target=/foo,volume-label=foo=foo-value,volume-label=bar=bar-value",
            "type=volume,target=/foo,volume-label==foo-value",
            "type=volume,target=/foo,volume-opt=foo=foo-value",
            "type=volume,target=/foo,volume-opt=foo=,volume-opt=bar",
            "type=volume,volume-driver=my-driver,target=/foo,volume-label=foo=foo-value,volume-label=empty=,volume-opt=foo=foo-value,volume-opt=empty=",
        ],
    },
    Difference {
        reason: "A missing host path is never created",
        inputs: &[
            "type=bind,target=/foo,source=/foo,bind-create-src",
            "type=bind,target=/foo,source=/foo,bind-create-src=1",
        ],
    },
    Difference {
        reason: "Recursive read-only binds are refused",
        inputs: &["type=bind,source=/foo,target=/bar,bind-recursive=readonly,readonly,bind-propagation=rprivate"],
    },
];

/// A mount in the words of the recorded answers.
fn common(mount: Mount) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    put("target", json!(mount.target));
    put("read_only", json!(mount.read_only));
    match mount.source {
        MountSource::Volume { name, external: _ } => {
            put("type", json!("volume"));
            put("source", json!(name));
        }
        MountSource::Bind { path, propagation, selinux } => {
            put("type", json!("bind"));
            put("source", json!(path));
            put("propagation", json!(propagation));
            put("selinux", json!(selinux));
        }
        MountSource::Tmpfs { size, mode, options: _ } => {
            put("type", json!("tmpfs"));
            put("size", json!(size));
            put("mode", json!(mode));
        }
    }
    Value::Object(out)
}

fn absolute(source: &str) -> String {
    match source {
        "." | "$CWD" => "/base/dir".to_owned(),
        _ => match (source.strip_prefix("../"), source.strip_prefix("./")) {
            (Some(rest), _) => format!("/base/{rest}"),
            (_, Some(rest)) => format!("/base/dir/{rest}"),
            _ => source.to_owned(),
        },
    }
}

fn recorded(out: &Value, keys: [&str; 5], options: &str) -> Value {
    let [kind, source, target, read_only, propagation] = keys;
    let kind = text(&out[kind]);
    let mut mount = json!({
        "type": kind,
        "target": out[target],
        "read_only": out[read_only].as_bool().unwrap_or(false),
    });
    match kind.as_str() {
        "volume" => mount["source"] = out[source].clone(),
        "bind" => {
            mount["source"] = json!(absolute(&text(&out[source])));
            mount["propagation"] = out[options][propagation].clone();
            mount["selinux"] = out[options]["selinux"].clone();
        }
        _ => {
            mount["size"] = out["TmpfsOptions"]["SizeBytes"].clone();
            mount["mode"] = out["TmpfsOptions"]["Mode"].clone();
        }
    }
    mount
}

/// A target alone: the recorded volume has no name, ours is named after the target.
fn unnamed(mut ours: Value, theirs: &Value) -> Value {
    if theirs["type"] == "volume" && theirs["source"].is_null() {
        ours["source"] = Value::Null;
    }
    ours
}

fn compare(
    file: &str,
    function: &str,
    parse: impl Fn(&str) -> Result<Mount, ParseError>,
    record: impl Fn(&Value) -> Value,
) -> Vec<Row<Value>> {
    rows_of(file, function)
        .into_iter()
        .map(|row| {
            let input = text(&row["in"]);
            let theirs = if row["err"].is_string() { Err(text(&row["err"])) } else { Ok(record(&row["out"])) };
            let ours = parse(&input).map(common).map_err(|error| error.to_string());
            let ours = ours.map(|ours| theirs.as_ref().map_or(ours.clone(), |theirs| unnamed(ours, theirs)));
            (input, ours, theirs)
        })
        .collect()
}

#[test]
fn the_short_form_is_read_as_compose_reads_it() {
    let keys = ["type", "source", "target", "read_only", "propagation"];
    let rows =
        compare("volumes_short", "ParseVolume", |t| Mount::parse_short(t, &PATHS), |out| recorded(out, keys, "bind"));
    check(rows, SHORT_DIFFERENCES);
}

#[test]
fn the_long_form_is_read_as_docker_reads_it() {
    let keys = ["Type", "Source", "Target", "ReadOnly", "Propagation"];
    let rows =
        compare("mounts", "MountOpt", |t| Mount::parse_long(t, &PATHS), |out| recorded(out, keys, "BindOptions"));
    check(
        rows.into_iter().map(|(input, ours, theirs)| {
            // The recording has one placeholder for its directory and for that directory's parent.
            let parent = input.contains("source=../");
            (
                input,
                ours,
                theirs.map(|mut out| {
                    if parent {
                        out["source"] = json!("/base");
                    }
                    out
                }),
            )
        }),
        LONG_DIFFERENCES,
    );
}

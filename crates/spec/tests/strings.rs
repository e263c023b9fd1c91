//! String formats beyond the recorded answers.

use hythe_spec::{ByteSize, ExtraHost, Millicores, Millis, Mount, MountSource, Paths, Port, Signal, env_file};

const PATHS: Paths<'_> = Paths { base: "/base", home: None };

#[test]
fn signals_have_dockers_names_and_numbers() {
    let number = |text: &str| text.parse::<Signal>().map(|signal| signal.0).ok();
    for (text, expected) in [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("15", 15),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("RTMAX", 64),
        ("CLD", 17),
        ("IOT", 6),
        ("POLL", 29),
        ("64", 64),
        ("1", 1),
    ] {
        assert_eq!(number(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "0",
        "65",
        "-1",
        "BADSIG",
        "SIG",
        "RTMIN+0",
        "RTMIN+16",
        "RTMAX-15",
        "RTMIN+",
        "RTMIN++3",
        "RTMIN-1",
        "SIGSIGTERM",
        "+15",
        " TERM",
    ] {
        assert_eq!(number(text), None, "{text}");
    }
}

#[test]
fn quantities_beyond_the_vectors() {
    let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
    assert_eq!(size("1.5k"), Some(1536));
    assert_eq!(size("9223372036854775807"), Some(i64::MAX as u64));
    assert_eq!(size("9223372036854775808"), None);
    assert_eq!(size("8192P"), None);
    assert_eq!([size("k"), size("1x"), size("1kib2"), size("1kbb"), size("0x10")], [None; 5]);
    let cores = |text: &str| text.parse::<Millicores>().map(|cores| cores.0).ok();
    assert_eq!(
        [cores("0.5"), cores("2"), cores("1500m"), cores(".25"), cores("1.")],
        [Some(500), Some(2000), Some(1500), Some(250), Some(1000)]
    );
    assert_eq!(
        [cores(""), cores("."), cores("m"), cores("-1"), cores("0.0001"), cores("1e3"), cores("1.5m")],
        [None; 7]
    );
    let time = |text: &str| text.parse::<Millis>().map(|time| time.0).ok();
    assert_eq!(
        [time("1m30s"), time("500ms"), time("1.5h"), time("30"), time("1d"), time("0")],
        [Some(90_000), Some(500), Some(5_400_000), Some(30_000), Some(86_400_000), Some(0)]
    );
    assert_eq!([time(""), time("1"), time("1.5")], [None, Some(1000), None]);
    assert_eq!([time("s"), time("1x"), time("-1s"), time("1ns"), time("1s "), time("1..5s")], [None; 6]);
}

#[test]
fn ports_beyond_the_vectors() {
    let ports =
        |text: &str| Port::parse_spec(text).map(|ports| ports.iter().map(ToString::to_string).collect::<Vec<_>>()).ok();
    assert_eq!(ports("0:80"), ports("80"));
    assert_eq!(ports("127.0.0.1:0:80"), ports("127.0.0.1::80"));
    assert_eq!(
        ports("[::1]:8000-8001:80-81/udp").map(|ports| ports.join(" ")).as_deref(),
        Some("[::1]:8000:80/udp [::1]:8001:81/udp")
    );
    for text in [
        "80/",
        "80/xyz",
        "80/tcp/udp",
        "8080:80-81",
        "80:0",
        "+80",
        " 80",
        "1:2:3:4",
        "[::1:80:80",
        "[::1%eth0]:1:1",
        "65536",
        "80-",
        "0:80-81",
        "0-1:80-81",
        "-80",
    ] {
        assert_eq!(ports(text), None, "{text}");
    }
    assert_eq!(ports("1-65535").map(|ports| ports.len()), Some(65_535));
}

#[test]
fn a_target_alone_is_a_volume_of_the_service() {
    let name = |text: &str| match Mount::parse_short(text, &PATHS).map(|mount| mount.source) {
        Ok(MountSource::Volume { name, external: false }) => name,
        other => panic!("{other:?}"),
    };
    assert!(name("/var/lib/db").starts_with("var-lib-db-"));
    assert_eq!(name("/var/lib/db"), name("/var/lib//db/"));
    assert_ne!(name("/a/b"), name("/a-b"));
}

#[test]
fn volumes_that_mean_something_else_are_refused() {
    for text in [
        "",
        ":",
        "a:/b:",
        "/",
        "a:/",
        "a/b:/c",
        "~:/x",
        "~you:/x",
        "-a:/x",
        "a:/x:rx",
        "a:/x:shared",
        "a:/x:nocopy",
        "a:/x:ro:rw",
        "a\0:/x",
    ] {
        assert!(Mount::parse_short(text, &PATHS).is_err(), "{text:?}");
    }
    for text in [
        "type=bind,target=/x",
        "type=tmpfs,source=a,target=/x",
        "type=npipe,target=/x",
        "target=/x,tmpfs-size=1m",
        "source=a",
        "type=bind,source=a,target=/x,bind-propagation=odd",
        "\"type=bind",
    ] {
        assert!(Mount::parse_long(text, &PATHS).is_err(), "{text:?}");
    }
}

#[test]
fn hosts_take_both_separators_and_brackets() {
    for text in ["db:10.0.0.5", "db=10.0.0.5", "db:::1", "db:[::1]", "db=[::1]", "db:host-gateway"] {
        assert!(text.parse::<ExtraHost>().is_ok(), "{text}");
    }
    for text in ["db", "db:", ":1.1.1.1", "db:host", "a b:1.1.1.1"] {
        assert!(text.parse::<ExtraHost>().is_err(), "{text}");
    }
}

#[test]
fn environment_files_substitute_and_say_where_they_are_wrong() {
    let read = |text: &str| env_file::dotenv(text, &|name| (name == "HOST").then(|| "here".to_owned()));
    let value = |text: &str| {
        read(text)
            .map(|entries| entries.last().map(|(_, value)| value.clone()).unwrap_or_default())
            .map_err(|e| e.to_string())
    };
    for (text, expected) in [
        ("A=${HOST}", "here"),
        ("A=${NO:-x}", "x"),
        ("A=${NO-x}", "x"),
        ("A=${HOST:+y}", "y"),
        ("A=${NO:+y}", ""),
        ("A=$$HOST", "$HOST"),
        ("A=${NO:-${HOST}}", "here"),
        ("A= # none", ""),
        ("A=#fff", "#fff"),
        ("A=''", ""),
        ("A='x' # y", "x"),
        ("A=a=b", "a=b"),
        ("A=1\nB=$A", "1"),
        ("PW=pa$1ss", "pa$1ss"),
        ("A=\"a$\"", "a$"),
        ("A=$", "$"),
        ("A=a$ b", "a$ b"),
        ("A=\"$1$HOST\"", "$1here"),
    ] {
        assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
    }
    for (text, line) in [("\n\nA='x' y", 3), ("A=1\nB=${", 2), ("A=${NO:?needed}", 1), ("A B=1", 1), ("\"\nA", 1)] {
        assert_eq!(read(text).map_err(|error| error.line), Err(line), "{text}");
    }
}

#[test]
fn plain_file_may_end_with_a_bare_carriage_return() {
    for text in ["A=1\r", "A=1\r\n", "A=1\n", "A=1"] {
        let read = env_file::plain(text, &|_| None);
        assert_eq!(read.as_deref().ok(), Some([("A".to_owned(), "1".to_owned())].as_slice()), "{text:?}");
    }
    let read = env_file::dotenv("A=1\nB='x'\r", &|_| None);
    assert_eq!(read.map(|entries| entries[1].1.clone()).ok().as_deref(), Some("x"));
}

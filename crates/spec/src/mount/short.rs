//! The short volume syntax of Docker and Compose: `[source:]target[:options]`.

use super::paths::{self, Paths};
use crate::{Mount, MountSource, ParseError};

const FORM: &str = "write `name:/target`, `./path:/target` or `/path:/target`, with options as in `:ro`";
pub(crate) const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

#[derive(Default)]
struct Options {
    read_only: bool,
    propagation: Option<String>,
    selinux: Option<char>,
}

impl Mount {
    /// Reads the short volume syntax; relative host paths are taken from `paths`.
    ///
    /// A source that starts with `/`, `.` or `~` is a host path, any other is the name of a volume. A target alone is a
    /// volume of the service named after it.
    ///
    /// # Errors
    /// Empty parts, a relative target, an unknown option, a source that is neither a path nor a name.
    pub fn parse_short(text: &str, paths: &Paths<'_>) -> Result<Self, ParseError> {
        if text.contains('\\') || text.contains("${") {
            paths.resolve(text)?;
        }
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(ParseError::new("a part between the colons is empty").hint(FORM));
        }
        match parts.as_slice() {
            [target] => anonymous(target),
            [source, target] => mount(source, target, Options::default(), paths),
            [source, target, options] => mount(source, target, read_options(options)?, paths),
            _ => Err(ParseError::new("there are too many colons").hint(FORM)),
        }
    }
}

fn mount(source: &str, target: &str, options: Options, paths: &Paths<'_>) -> Result<Mount, ParseError> {
    let target = paths::target(target)?;
    let Options { read_only, propagation, selinux } = options;
    let source = if source.starts_with(['/', '.', '~']) {
        MountSource::Bind { path: paths.resolve(source)?, propagation, selinux }
    } else {
        if propagation.is_some() {
            return Err(ParseError::new("mount propagation is for host paths only"));
        }
        MountSource::Volume { name: volume_name(source)?, external: false }
    };
    Ok(Mount { target, source, read_only })
}

/// A volume of the service whose name follows from the target, so that its data survives a redeploy.
pub(super) fn anonymous(target: &str) -> Result<Mount, ParseError> {
    let target = paths::target(target)?;
    let readable: String = target[1..].chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = format!("{}-{}", readable.trim_matches('-'), &crate::fingerprint::sha256_hex(target.as_bytes())[..8]);
    let name = name.trim_start_matches('-').to_owned();
    Ok(Mount { target, source: MountSource::Volume { name, external: false }, read_only: false })
}

/// A name that every engine accepts for a volume.
pub(crate) fn volume_name(name: &str) -> Result<String, ParseError> {
    let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    match valid {
        true => Ok(name.to_owned()),
        false if name.contains('/') => Err(ParseError::new(format!("`{name}` is not a volume name"))
            .hint(format!("write `./{name}` for a path of the host"))),
        false => {
            Err(ParseError::new(format!("`{name}` is not a volume name")).hint("use letters, digits, `_`, `.` and `-`"))
        }
    }
}

fn read_options(text: &str) -> Result<Options, ParseError> {
    let mut options = Options::default();
    for option in text.split(',') {
        match option {
            "rw" => options.read_only = false,
            "ro" => options.read_only = true,
            "z" | "Z" => options.selinux = option.chars().next(),
            // Hints to Docker Desktop that change nothing elsewhere.
            "cached" | "delegated" | "consistent" => {}
            _ if PROPAGATIONS.contains(&option) => options.propagation = Some(option.to_owned()),
            "nocopy" => {
                return Err(ParseError::new("`nocopy` is not supported: a new volume starts with what the image has"));
            }
            _ => return Err(unknown(option)),
        }
    }
    Ok(options)
}

fn unknown(option: &str) -> ParseError {
    ParseError::new(format!("unknown mount option `{option}`"))
        .hint(format!("one of rw, ro, z, Z, {}", PROPAGATIONS.join(", ")))
}

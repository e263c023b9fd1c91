//! The short volume syntax of Docker and Compose: `[source:]target[:options]`.

use super::paths::{self, Paths};
use crate::{Mount, MountSource, ParseError};

const FORM: &str = "write `name:/target`, `./path:/target` or `/path:/target`, with options as in `:ro`";
const COLON: &str =
    "a path with a colon is written in a table: `{ type = \"bind\", source = \"/a:b\", target = \"/c\" }`";
pub(crate) const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

#[derive(Default)]
struct Options {
    access: Once<bool>,
    propagation: Once<String>,
    selinux: Once<char>,
}

/// An option that may be repeated, but not contradicted: what protects is never lost because something else came later.
#[derive(Debug, PartialEq)]
pub(super) struct Once<T>(Option<(String, T)>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Once<T> {
    /// Takes the value of an option as it is written.
    pub(super) fn set(&mut self, written: &str, value: T) -> Result<(), ParseError> {
        match &self.0 {
            Some((first, known)) if *known != value => {
                Err(ParseError::new(format!("`{first}` and `{written}` contradict each other"))
                    .hint("keep one of them"))
            }
            Some(_) => Ok(()),
            None => {
                self.0 = Some((written.to_owned(), value));
                Ok(())
            }
        }
    }

    pub(super) fn get(self) -> Option<T> {
        self.0.map(|(_, value)| value)
    }
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
        if text.contains('\\') || text.contains("${") || text.starts_with('$') {
            paths.resolve(text)?;
        }
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(ParseError::new("a part between the colons is empty").hint(FORM));
        }
        match parts.as_slice() {
            [target] => anonymous(target),
            [source, target] => mount(source, target, Options::default(), paths),
            [source, target, options] if target.starts_with('/') && !options.starts_with('/') => {
                mount(source, target, read_options(options)?, paths)
            }
            [source, target, options] => {
                // Whichever is wrong, the rest may still be told apart; `a:b:/x` may be a path with a colon.
                mount(source, target, Options::default(), paths).map_err(|error| error.hint(COLON))?;
                Err(read_options(options)
                    .err()
                    .unwrap_or_else(|| ParseError::new("the options are no options"))
                    .hint(COLON))
            }
            _ => Err(ParseError::new("there are too many colons").hint(COLON)),
        }
    }
}

fn mount(source: &str, target: &str, options: Options, paths: &Paths<'_>) -> Result<Mount, ParseError> {
    let target = paths::target(target)?;
    let (read_only, propagation, selinux) =
        (options.access.get().unwrap_or(false), options.propagation.get(), options.selinux.get());
    let source = if source.starts_with(['/', '.', '~']) {
        MountSource::Bind { path: paths.resolve(source)?, propagation, selinux }
    } else {
        if propagation.is_some() {
            return Err(ParseError::new("mount propagation is for host paths only"));
        }
        if let Some(label) = selinux {
            return Err(ParseError::new(format!("`{label}` relabels host paths only"))
                .hint("leave it out: engines label their own volumes"));
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
            "rw" => options.access.set(option, false)?,
            "ro" => options.access.set(option, true)?,
            "z" => options.selinux.set(option, 'z')?,
            "Z" => options.selinux.set(option, 'Z')?,
            // Hints to Docker Desktop that change nothing elsewhere.
            "cached" | "delegated" | "consistent" => {}
            _ if PROPAGATIONS.contains(&option) => options.propagation.set(option, option.to_owned())?,
            _ => return Err(unknown(option)),
        }
    }
    Ok(options)
}

/// Options of other tools that no runtime here carries, and why.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("nocopy", "a new volume starts with what the image has"),
    ("U", "owners of files on the host are not changed; change them once by `chown`"),
    ("O", "a layer over a host path is not kept anywhere; mount it `ro`, or copy it into a volume"),
    ("idmap", "not every runtime maps the owners of files"),
    ("chown", "owners of files on the host are not changed; change them once by `chown`"),
    ("relabel", "write a table with `selinux = \"z\"` or `\"Z\"`"),
    ("subpath", "not every runtime mounts a part of a volume; mount the volume and use the directory in it"),
    ("copy", "a new volume starts with what the image has"),
    ("bind", "host paths are always mounted with what is mounted below them"),
    ("rbind", "it is the default; leave it out"),
    ("noexec", "host paths and volumes are mounted as the host has them"),
    ("nosuid", "host paths and volumes are mounted as the host has them"),
    ("nodev", "host paths and volumes are mounted as the host has them"),
];

/// Why an option is not supported; nothing for one that nobody knows.
pub(super) fn unsupported(option: &str) -> Option<ParseError> {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    let (_, reason) = UNSUPPORTED.into_iter().find(|(known, _)| *known == name)?;
    Some(ParseError::new(format!("the mount option `{option}` is not supported")).hint(reason))
}

fn unknown(option: &str) -> ParseError {
    if let Some(error) = unsupported(option) {
        return error;
    }
    ParseError::new(format!("unknown mount option `{option}`"))
        .hint(format!("one of rw, ro, z, Z, {}", PROPAGATIONS.join(", ")))
}

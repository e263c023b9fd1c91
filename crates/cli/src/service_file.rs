//! Service files on this host: found, read and checked before anything is asked of an agent.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hythe_spec::{Build, Diagnostics, Files, SecretSource, Service};

use crate::output::Printer;
use crate::report::{Failure, Outcome};

const IN_A_DIRECTORY: &str = "hythe.toml";
const STDIN: &str = "-";

/// What a user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file here.
    File(PathBuf),
    /// A service that the agent knows.
    Deployed(String),
}

/// A valid file.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) service: Service,
    pub(crate) builds: Vec<Build>,
    /// Where the values of the service's own secrets are read.
    pub(crate) secrets: Vec<SecretSource>,
}

/// A file, a directory with a `hythe.toml`, `NAME.toml` here, or the name of a deployed service.
pub(crate) fn locate(target: &str) -> Source {
    let path = Path::new(target);
    let named = PathBuf::from(format!("{target}.toml"));
    let could_be_a_name = !target.contains(['/', '.']) && target != STDIN;
    if path.is_dir() && (!could_be_a_name || path.join(IN_A_DIRECTORY).exists()) {
        Source::File(path.join(IN_A_DIRECTORY))
    } else if path.is_file() || !could_be_a_name {
        Source::File(path.to_owned())
    } else if named.is_file() {
        Source::File(named)
    } else {
        Source::Deployed(target.to_owned())
    }
}

/// The file itself, where a directory may stand for the one in it.
pub(crate) fn in_directory(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(IN_A_DIRECTORY) } else { path.to_owned() }
}

/// All service files that are named, directories standing for the `*.toml` in them, by name and once each.
pub(crate) fn spread(named: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            files.extend(in_whole_directory(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    Ok(files)
}

fn in_whole_directory(directory: &Path) -> Outcome<Vec<PathBuf>> {
    let unreadable = |source| Failure::File { path: directory.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'));
        if !hidden && path.extension().is_some_and(|ending| ending == "toml") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::Usage {
            message: format!("`{}` has no service file", directory.display()),
            hint: "a directory means the files in it that end with `.toml`".to_owned(),
        });
    }
    Ok(files)
}

/// Reads and checks all of them; every error of every file is in the failure, and so are names that two of them give.
pub(crate) fn load_all(files: Vec<PathBuf>, printer: Printer<'_>) -> Outcome<Vec<(PathBuf, Loaded)>> {
    let (mut loaded, mut failures): (Vec<(PathBuf, Loaded)>, Vec<Failure>) = (Vec::new(), Vec::new());
    for file in files {
        match load(&file, printer) {
            Ok(service) => loaded.push((file, service)),
            Err(failure) => failures.push(failure),
        }
    }
    failures.extend(given_twice(&loaded));
    Failure::all(failures).map(|()| loaded)
}

/// Names of services and workloads that two files give.
fn given_twice(loaded: &[(PathBuf, Loaded)]) -> Vec<Failure> {
    let mut names: std::collections::BTreeMap<String, &Path> = std::collections::BTreeMap::new();
    let mut failures = Vec::new();
    for (file, Loaded { service, .. }) in loaded {
        let workloads = service.components.iter().map(|one| ("workload", service.workload_name(&one.name)));
        for (what, name) in std::iter::once(("service", service.name.clone())).chain(workloads) {
            let other = names.insert(format!("{what} `{name}`"), file);
            failures.extend(other.map(|other| Failure::Usage {
                message: format!("`{}` and `{}` both describe {what} `{name}`", other.display(), file.display()),
                hint: "each name is given once".to_owned(),
            }));
        }
    }
    failures
}

/// Reads and checks a file; its warnings are said, its errors are all in the failure.
pub(crate) fn load(path: &Path, printer: Printer<'_>) -> Outcome<Loaded> {
    let name = path.display().to_string();
    let unreadable = |source| Failure::File { path: name.clone(), source };
    let bytes = if name == STDIN { start_of(io::stdin()) } else { File::open(path).and_then(start_of) };
    let text = hythe_spec::text_of(&name, bytes.map_err(unreadable)?).map_err(Box::new)?;
    let files = LocalFiles::beside(path).map_err(unreadable)?;
    let parsed = hythe_spec::parse(&name, &text, &files).map_err(Box::new)?;
    if !parsed.warnings.is_empty() {
        let warnings = Diagnostics::new(&name, &text, parsed.warnings);
        printer.styled_talk(warnings.render(printer.settings.color_stderr).trim_end());
    }
    Ok(Loaded { service: parsed.service, builds: parsed.builds, secrets: parsed.secrets })
}

/// What is read of a service file: one byte more than it may have, whatever is at its path.
fn start_of(file: impl Read) -> io::Result<Vec<u8>> {
    read_at_most(hythe_spec::MAX_FILE as u64 + 1, file)
}

fn read_at_most(most: u64, file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Largest file that a service file may name: an environment or a profile.
const MAX_NAMED: u64 = 4 << 20;

/// The text of a file that a service file names; the error says what is wrong with it.
fn text_at(path: &str) -> io::Result<String> {
    let bytes = read_at_most(MAX_NAMED + 1, File::open(path)?)?;
    if bytes.len() as u64 > MAX_NAMED {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4MiB, the most that is read"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 in line {line}"))
    })
}

/// The files of this host, as a service file in one directory sees them.
#[derive(Debug)]
struct LocalFiles {
    base: String,
}

impl LocalFiles {
    fn beside(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = directory.canonicalize()?.into_os_string().into_string();
        Ok(Self { base: base.map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))? })
    }
}

impl Files for LocalFiles {
    fn read(&self, path: &str) -> io::Result<String> {
        text_at(path)
    }

    fn base_dir(&self) -> &str {
        &self.base
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn home(&self) -> Option<String> {
        self.env("HOME")
    }
}

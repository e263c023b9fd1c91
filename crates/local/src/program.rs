//! Which program is a supervisor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What runs, whatever an upgrade has put at its path meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The program that is started as a supervisor.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// What the path names.
    _file: Option<OwnedFd>,
}

impl Program {
    /// A configured one as it is; else this program, so that nobody in a container can write to its file. Why it is not so, where it is not.
    pub fn choose(configured: Option<PathBuf>) -> (Self, Option<String>) {
        if let Some(path) = configured {
            return (Self { path, _file: None }, None);
        }
        let as_it_is = || Self { path: PathBuf::from(THIS_PROGRAM), _file: None };
        match hythe_shim::program::read_only() {
            Ok(None) => (as_it_is(), None),
            Ok(Some(file)) => {
                let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
                (Self { path, _file: Some(file) }, None)
            }
            Err(error) => {
                let warning = format!("containers see the file of this program as it is, not read-only: {error}");
                (as_it_is(), Some(warning))
            }
        }
    }
}

impl std::ops::Deref for Program {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

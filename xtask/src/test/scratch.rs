//! Where some unit tests make their temporary directories: in memory, since they wait for nothing but a disk that has other work. Not for tests of
//! unprivileged users or of guarded paths of the host: `/dev` is one.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::failure::{Context, Result};
use crate::leaks;

/// A file system in memory, and how much must be free there; containers often have little.
const MEMORY: &str = "/dev/shm";
const ROOM: u64 = 2 << 30;

/// A directory in memory, gone with this value; none where there is no room for it.
#[derive(Debug)]
pub(super) struct Scratch(Option<PathBuf>);

impl Scratch {
    pub(super) fn new() -> Result<Self> {
        Self::at(Path::new(MEMORY), ROOM)
    }

    fn at(place: &Path, room: u64) -> Result<Self> {
        if !statvfs(place).is_ok_and(|there| there.f_bavail.saturating_mul(there.f_frsize) >= room) {
            return Ok(Self(None));
        }
        let path = place.join(format!("x{}", std::process::id()));
        fs::create_dir(&path).context(|| format!("making `{}`", path.display()))?;
        Ok(Self(Some(path)))
    }

    /// What tells a program of it.
    pub(super) fn variable(&self) -> Option<(&'static str, &Path)> {
        self.0.as_deref().map(|path| ("TMPDIR", path))
    }

    /// What tests left there.
    pub(super) fn left(&self) -> Vec<String> {
        self.0.iter().flat_map(hythe_host_leaks::names).filter(|name| leaks::is_of_a_test(name)).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What tests left there was told.
            let _ = fs::remove_dir_all(path);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn scratch_directory_shows_what_a_test_left_and_is_removed() {
        let place = std::env::temp_dir().join(format!("xtask-scratch-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        let scratch = Scratch::at(&place, 0).unwrap();
        let (_, path) = scratch.variable().unwrap();
        fs::create_dir(path.join("hythe-left")).unwrap();
        fs::create_dir(path.join("of-somebody-else")).unwrap();
        assert_eq!(scratch.left(), ["hythe-left"]);
        drop(scratch);
        assert!(hythe_host_leaks::names(&place).is_empty());
        assert!(Scratch::at(&place, u64::MAX).unwrap().variable().is_none());
        fs::remove_dir(place).unwrap();
    }
}

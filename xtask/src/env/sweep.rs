//! The last part of `down`: whatever engines left of an environment, found by its directory, addresses and marks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};

use super::session::Session;
use super::{firewall, links, process};
use crate::failure::{Context, Failure, Result};

const GRACE: Duration = Duration::from_secs(2);

/// Removes processes, mounts, bridges, firewall rules and files; an error names what would not go.
pub(crate) fn everything(session: &Session) -> Result<()> {
    let root = session.layout.root();
    for (process, _) in process::belonging_to(root) {
        process.end(GRACE)?;
    }
    for mount in mounts(root).iter().rev() {
        let _ = unmount(mount, UnmountFlags::DETACH);
    }
    links::sweep(session.state.pool);
    firewall::sweep(&session.layout.id(), session.state.pool);
    if let Some(mount) = mounts(root).first() {
        return Err(Failure::new(format!("`{}` is still mounted", mount.display())));
    }
    fs::remove_dir_all(root).context(|| format!("removing `{}`", root.display()))?;
    session.state.before.restore();
    Ok(())
}

/// Mount points below the directory, in the order they were made.
pub(crate) fn mounts(root: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(root))
        .collect()
}

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
    end_all(root)?;
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

/// All at once: an engine may leave dozens that each take their grace.
fn end_all(root: &Path) -> Result<()> {
    std::thread::scope(|scope| {
        let belonging = process::belonging_to(root).into_iter();
        let ends: Vec<_> = belonging.map(|(process, _)| scope.spawn(move || process.end(GRACE))).collect();
        ends.into_iter()
            .try_for_each(|end| end.join().unwrap_or_else(|_| Err(Failure::new("ending a process panicked"))))
    })
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

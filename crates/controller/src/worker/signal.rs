//! The step that sends a signal, and whether it would be of use.
//!
//! A file that is mounted by itself is one file for good: one that was put in its place on the host, as editors and `mv` do, is
//! never seen by an instance that runs. The kernel says of each mount of a process whether its file is still there.

use std::path::Path;

use hythe_runtime::Error;
use hythe_spec::{Component, MountSource};
use hythe_store::{DesiredRecord, InstanceRecord};

use super::Worker;
use crate::lifecycle::{Outcome, Reload};

/// What the kernel appends to the name of a file that is gone.
const GONE: &str = "//deleted";

impl Worker {
    pub(super) async fn signal_current(&self, desired: &DesiredRecord) -> Result<Outcome, Error> {
        let (current, runtime) = self.current()?;
        let Some(reload) = Reload::of(desired, self.controller.now()) else { return Ok(Outcome::Done) };
        if let Some(path) = unseen(current) {
            return Ok(Outcome::Unseen(path));
        }
        let id = self.identify(&runtime, current).await?;
        runtime.signal(&self.context(), &id, reload.signal).await?;
        Ok(Outcome::Sent(reload))
    }
}

/// A mounted file that the instance cannot see. Where the kernel does not say, as of a process of another host, it is taken for seen.
fn unseen(current: &InstanceRecord) -> Option<String> {
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", current.pid?)).ok()?;
    let mut files = files(&current.spec.component);
    files.find(|(path, target)| is_other(&mounts, path, target)).map(|(path, _)| path.to_owned())
}

/// Files that are compared at a deploy, with where they are mounted.
fn files(component: &Component) -> impl Iterator<Item = (&str, &str)> {
    let mounts = component.mounts.iter().chain(&component.permissions.mounts);
    mounts.filter_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } => {
            component.file_digests.contains_key(path).then_some((path.as_str(), mount.target.as_str()))
        }
        MountSource::Volume { .. } | MountSource::Tmpfs { .. } => None,
    })
}

/// Whether what is mounted at the target is another file than that of the host's path.
fn is_other(mounts: &str, path: &str, target: &str) -> bool {
    let mounted = mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (unescaped(place) == target).then(|| unescaped(root))
    });
    let Some(root) = mounted else { return false };
    let real = std::fs::canonicalize(path);
    let name = real.as_deref().ok().and_then(Path::file_name);
    root.ends_with(GONE) || name.is_some_and(|name| Path::new(&root).file_name() != Some(name))
}

/// A field of the kernel's table: white space and backslashes are octal numbers there.
fn unescaped(field: &str) -> String {
    let known = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    known.iter().fold(field.to_owned(), |text, (octal, plain)| text.replace(octal, plain))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const MOUNTS: &str = "701 690 254:1 /srv/my\\040app/app.conf /etc/app.conf ro,relatime - ext4 /dev/vda1 rw\n\
        702 690 254:1 /srv/old.conf//deleted /etc/old.conf ro,relatime - ext4 /dev/vda1 rw\n\
        703 690 0:50 / /data rw - tmpfs tmpfs rw\n";

    #[test]
    fn file_that_was_replaced_is_another() {
        assert!(!is_other(MOUNTS, "/no/such/place/app.conf", "/etc/app.conf"));
        assert!(is_other(MOUNTS, "/srv/old.conf", "/etc/old.conf"));
        assert!(!is_other(MOUNTS, "/srv/x", "/etc/absent"), "what is not mounted is not judged");
    }

    #[test]
    fn file_that_was_moved_away_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.conf");
        std::fs::write(&path, "x").unwrap();
        let path = path.display().to_string();
        assert!(!is_other(MOUNTS, &path, "/etc/app.conf"));
        let moved = MOUNTS.replace("app.conf /etc", "app.conf~ /etc");
        assert!(is_other(&moved, &path, "/etc/app.conf"));
    }
}

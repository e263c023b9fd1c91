//! Files that components mount, by digest, so that a deploy sees that one has another content.
//!
//! Only regular files that are bind-mounted by themselves, of at most [`LARGEST`] bytes, are read, at each deploy, by
//! the agent: the paths are of its host.
//! What it cannot read, larger files and directories are not compared. Not for: watching files between deploys.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use hythe_spec::{Component, MountSource};

/// Bytes of the largest file that is read.
pub(crate) const LARGEST: u64 = 1 << 20;

/// Each mounted file of a component that can be read, with its content.
pub(crate) fn read(component: &Component) -> Vec<(String, Vec<u8>)> {
    paths(component).filter_map(|path| content(path).map(|content| (path.clone(), content))).collect()
}

/// Paths of the host that a component mounts.
pub(crate) fn paths(component: &Component) -> impl Iterator<Item = &String> {
    let mounts = component.mounts.iter().chain(&component.permissions.mounts);
    mounts.filter_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } => Some(path),
        MountSource::Volume { .. } | MountSource::Tmpfs { .. } => None,
    })
}

/// Never waits: what is no regular file, such as a pipe, is opened without being read.
fn content(path: &str) -> Option<Vec<u8>> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > LARGEST {
        return None;
    }
    let mut content = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= LARGEST).then_some(content)
}

//! Devices of the host that a container is granted. They are looked at when it starts: numbers change with the host's boots.
//!
//! ```text
//! root           nodes of the container's own, with the host's owner and mode; the device filter lets exactly these be opened
//! rootless       the host's nodes, bound; what this user may not open stays closed
//! ```

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Doing, ShimError};
use crate::record::Granted;

/// Nodes in one directory and below.
const MOST: usize = 1024;
/// Directories below that one.
const DEEPEST: usize = 4;

/// One node.
#[derive(Debug)]
struct Node {
    path: PathBuf,
    target: PathBuf,
    about: Metadata,
}

/// Has the document say what is granted.
///
/// # Errors
/// `Invalid` where the host has no such device.
pub(crate) fn grant(spec: &mut Value, granted: &[Granted], rootless: bool) -> Result<(), ShimError> {
    for one in granted {
        for node in nodes(one)? {
            if rootless {
                bind(spec, &node);
            } else {
                make(spec, &node, &one.access);
            }
        }
    }
    Ok(())
}

fn nodes(granted: &Granted) -> Result<Vec<Node>, ShimError> {
    let path = &granted.path;
    let about = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ShimError::invalid(format!("the host has no device `{path}`")),
        _ => ShimError::invalid(format!("the device `{path}` of the host cannot be looked at: {error}")),
    })?;
    let mut found = Vec::new();
    collect(Path::new(path), Path::new(&granted.target), about, 0, &mut found)?;
    match found.len() {
        0 => Err(ShimError::invalid(format!("`{path}` of the host is no device, nor a directory of devices"))),
        1..=MOST => Ok(found),
        _ => Err(ShimError::invalid(format!("`{path}` of the host has more than {MOST} devices"))),
    }
}

/// Links in a directory are left out: what they lead to may be granted to nobody.
fn collect(path: &Path, target: &Path, about: Metadata, depth: usize, found: &mut Vec<Node>) -> Result<(), ShimError> {
    let kind = about.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        found.push(Node { path: path.to_owned(), target: target.to_owned(), about });
    } else if kind.is_dir() && depth <= DEEPEST && found.len() <= MOST {
        let told = || format!("list the devices of `{}`", path.display());
        for entry in fs::read_dir(path).doing(told())? {
            let name = entry.doing(told())?.file_name();
            // One that is gone meanwhile is no device any more.
            let Ok(about) = fs::symlink_metadata(path.join(&name)) else { continue };
            collect(&path.join(&name), &target.join(&name), about, depth + 1, found)?;
        }
    }
    Ok(())
}

fn make(spec: &mut Value, node: &Node, access: &str) {
    let kind = if node.about.file_type().is_block_device() { "b" } else { "c" };
    let device = node.about.rdev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let (mode, uid, gid) = (node.about.mode() & 0o777, node.about.uid(), node.about.gid());
    let made = json!({
        "path": node.target, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": uid, "gid": gid,
    });
    let opened = json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
    push(&mut spec["linux"]["devices"], made);
    push(&mut spec["linux"]["resources"]["devices"], opened);
}

fn bind(spec: &mut Value, node: &Node) {
    let options = ["bind", "rprivate", "nosuid", "noexec"];
    let (source, target) = (&node.path, &node.target);
    push(&mut spec["mounts"], json!({ "destination": target, "type": "bind", "source": source, "options": options }));
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn granted(path: &str) -> Granted {
        Granted { path: path.to_owned(), target: "/dev/granted".to_owned(), access: "r".to_owned() }
    }

    #[test]
    fn a_device_is_made_with_the_hosts_number_and_allowed_as_asked() {
        let mut spec = json!({ "mounts": [], "linux": { "resources": { "devices": [{ "allow": false }] } } });
        grant(&mut spec, &[granted("/dev/zero")], false).unwrap();
        let made = &spec["linux"]["devices"][0];
        assert_eq!((&made["path"], &made["type"]), (&json!("/dev/granted"), &json!("c")));
        assert_eq!((&made["major"], &made["minor"]), (&json!(1), &json!(5)));
        let expected = json!({ "allow": true, "type": "c", "major": 1, "minor": 5, "access": "r" });
        assert_eq!(spec["linux"]["resources"]["devices"], json!([{ "allow": false }, expected]));
    }

    #[test]
    fn a_device_of_an_unprivileged_user_is_bound() {
        let mut spec = json!({ "mounts": [], "linux": {} });
        grant(&mut spec, &[granted("/dev/zero")], true).unwrap();
        assert_eq!(spec["mounts"][0]["source"], json!("/dev/zero"));
        assert_eq!(spec["linux"], json!({}));
    }

    #[test]
    fn what_is_no_device_is_invalid() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join("zero")).unwrap();
        for path in ["/no/such/device", "/etc/passwd", directory.path().to_str().unwrap()] {
            let fault = grant(&mut json!({}), &[granted(path)], false).unwrap_err();
            assert_eq!(fault.kind, crate::ShimErrorKind::Invalid, "{path}");
        }
    }
}

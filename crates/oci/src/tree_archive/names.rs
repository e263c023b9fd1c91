//! Names in archives: relative, without `..`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::ErrorKind;
use crate::Error;

/// A relative path, empty for the root; a leading `/` is dropped as every tar does.
///
/// # Errors
/// `Invalid` for `..` and for a zero byte.
pub(super) fn clean(raw: &[u8]) -> Result<PathBuf, Error> {
    let mut path = PathBuf::new();
    let refused = |why: &str| {
        let shown = String::from_utf8_lossy(raw);
        Error::new(ErrorKind::Invalid, format!("the archive has an entry `{}` {why}", shown.escape_debug()))
    };
    if raw.contains(&0) {
        return Err(refused("with a zero byte"));
    }
    for component in Path::new(OsStr::from_bytes(raw)).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return Err(refused("that escapes its directory")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(path)
}

/// As it stands in an archive: `./` in front, and `.` for the root.
pub(super) fn written(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { Path::new(".").join(path) }
}

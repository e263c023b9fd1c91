//! Processes that a dead shim of an unprivileged user left: without control groups they are known by what nobody else has.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::directory::Directory;

/// Those in a container: one that is still being made has the words its shim was started with, one that is made has the instance's files mounted. What makes
/// it dies with the shim, and who is in it with its first process.
pub(crate) fn of(directory: &Directory) -> io::Result<Vec<i32>> {
    let path = directory.path().as_os_str().as_bytes();
    let words = [b"\0shim\0start\0", path, b"\0"].concat();
    let name = directory.path().file_name().unwrap_or_default().as_bytes();
    let place = [b"/instances/", name, b"/"].concat();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // What cannot be read is somebody else's, or gone.
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let has = |file: &str, part: &[u8]| read(file).windows(part.len()).any(|found| found == part);
        if is_inside(&read("status")) && (has("cmdline", &words) || has("mountinfo", &place)) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// It has another pid in a pid namespace below ours.
fn is_inside(status: &[u8]) -> bool {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"));
    line.is_some_and(|pids| String::from_utf8_lossy(pids).split_whitespace().count() > 1)
}

//! Files that are replaced whole, and one kind that is not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hythe_runtime::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::error::file;

/// What temporary files are called.
const TEMPORARY: &str = ".new-";

pub(super) fn read_document<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file("read networks", path, error)),
    };
    let document = serde_json::from_slice(&bytes);
    document.map(Some).map_err(|error| {
        Error::new(ErrorKind::Internal, "read networks", format!("`{}`: {error}", path.display())).source(error)
    })
}

/// Replaces a file; with `durable` it is on the disk afterwards.
pub(super) fn write_document(path: &Path, document: &impl Serialize, durable: bool) -> Result<()> {
    let replace = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?;
        serde_json::to_writer(io::BufWriter::new(&mut new), document)?;
        persist(new, path, durable)?;
        if durable { File::open(directory)?.sync_all() } else { Ok(()) }
    };
    replace().map_err(|error| file("write networks", path, error))
}

fn persist(new: NamedTempFile, path: &Path, durable: bool) -> io::Result<()> {
    if durable {
        new.as_file().sync_all()?;
    }
    new.persist(path)?;
    Ok(())
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove network", path, error)),
        _ => Ok(()),
    }
}

/// Changes a file that is mounted somewhere: the same inode, and where only lines are added a reader never sees less than before.
/// What the file says now is not believed, since whoever mounts it may write to it.
pub(super) fn rewrite(path: &Path, text: &str, make: bool) -> io::Result<()> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(make)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    let mut file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !make => return Ok(()),
        opened => opened?,
    };
    if make {
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    let mut before = Vec::new();
    file.by_ref().take(text.len() as u64 + 1).read_to_end(&mut before)?;
    if before == text.as_bytes() {
        return Ok(());
    }
    let kept = if text.as_bytes().starts_with(&before) { before.len() } else { 0 };
    file.write_all_at(&text.as_bytes()[kept..], kept as u64)?;
    file.set_len(text.len() as u64)
}

/// Waits for one byte of a file, which need not be there; the lock goes with the file.
pub(super) fn lock_byte(path: &Path, place: i64) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: place,
        l_len: 1,
        l_pid: 0,
    };
    loop {
        match fcntl(&file, FcntlArg::F_OFD_SETLKW(&range)) {
            Err(Errno::EINTR) => {}
            locked => return locked.map(|_| file).map_err(io::Error::from),
        }
    }
}

/// Removes what a killed writer left.
pub(super) fn sweep(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let left = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY));
    left.map(|entry| entry.path()).try_for_each(|path| remove(&path))
}

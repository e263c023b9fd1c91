//! Files that are whole or not there, and programs by their names.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a file by renaming a whole one into place; `durable`: it is on the disk when this returns.
///
/// # Errors
/// The disk; then the old file is as it was.
pub fn replace(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let next = beside(path);
    let mut file = File::create(&next)?;
    file.write_all(content)?;
    if durable {
        file.sync_data()?;
    }
    fs::rename(&next, path)?;
    if durable { sync_parent(path) } else { Ok(()) }
}

/// [`replace`] with a document.
///
/// # Errors
/// As [`replace`].
pub fn replace_json(path: &Path, document: &impl Serialize, durable: bool) -> io::Result<()> {
    replace(path, &serde_json::to_vec(document)?, durable)
}

/// Reads a document.
///
/// # Errors
/// Absent, unreadable, or not such a document (`InvalidData`).
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A program that this user may run, in the directories of a `PATH`; a relative one leads everywhere and counts for none.
pub(crate) fn program(path: &OsStr, name: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| file.is_absolute() && file.is_file() && access(file, Access::EXEC_OK).is_ok();
    std::env::split_paths(path).map(|directory| directory.join(name)).find(is_program)
}

/// Brings the entries of a file's directory onto the disk.
///
/// # Errors
/// The disk.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Each writer has a name of its own, so that two never write into one file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{:?}", std::process::id(), std::thread::current().id()).replace(['(', ')'], ""));
    path.with_file_name(name)
}

/// Room on the disk for a document that must be written however full the disk is by then.
#[derive(Debug)]
pub struct Reserve {
    file: File,
    path: PathBuf,
    size: usize,
}

impl Reserve {
    /// So many bytes at a path of its own.
    ///
    /// # Errors
    /// The disk.
    pub fn new(path: PathBuf, size: usize) -> io::Result<Self> {
        let mut file = File::create(&path)?;
        file.write_all(&vec![b' '; size])?;
        file.sync_data()?;
        Ok(Self { file, path, size })
    }

    /// Writes the document in place of the blanks and renames it to `path`; needs no more room than there is.
    ///
    /// # Errors
    /// The disk.
    pub fn become_json(self, path: &Path, document: &impl Serialize) -> io::Result<()> {
        let mut content = serde_json::to_vec(document)?;
        content.resize(content.len().max(self.size), b' ');
        self.file.write_all_at(&content, 0)?;
        self.file.sync_data()?;
        fs::rename(&self.path, path)?;
        sync_parent(path)
    }
}

//! What happens, in one order for all instances: a directory of numbered segments that shims and drivers append to.
//!
//! A line is a document. Only who holds the lock appends, and only to the last segment, so that a reader at the end of a segment that has a
//! successor has read all of it. Room is taken ahead, so that a full disk does not silence anybody for a while.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::ExitStatus;

/// Bytes after which a new segment begins.
const SEGMENT: u64 = 1 << 20;
/// Segments that are kept.
const KEPT: u64 = 4;
const LOCK: &str = "lock";

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// To which instance (or image).
    pub id: String,
    /// What its config says of it.
    #[serde(rename = "about")]
    pub metadata: Value,
    /// What.
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each name says it")]
pub enum Kind {
    Created,
    Started,
    Stopped(ExitStatus),
    Signalled(String),
    Paused,
    Unpaused,
    OutOfMemory,
    Updated(String),
    Removed,
    Image(String),
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes into it.
    pub offset: u64,
}

/// Appends what happened to an instance now.
///
/// # Errors
/// The disk.
pub fn append(directory: &Path, id: &str, metadata: &Value, kind: Kind) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let lock = File::create(directory.join(LOCK))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let entry = Entry { time: hythe_host::now(), id: id.to_owned(), metadata: metadata.clone(), kind };
    let mut line = serde_json::to_vec(&entry)?;
    line.push(b'\n');
    let (mut file, whole) = last(directory)?;
    // What a writer that was killed halfway left is cut off.
    file.set_len(whole)?;
    file.write_all(&line)
}

/// The segment to append to, and how much of it is whole lines.
fn last(directory: &Path) -> io::Result<(File, u64)> {
    let number = numbers(directory)?.last().copied();
    if let Some(number) = number {
        let file = File::options().read(true).append(true).open(segment(directory, number))?;
        let whole = whole_lines(&file)?;
        if whole < SEGMENT {
            return Ok((file, whole));
        }
    }
    let next = number.unwrap_or(0) + 1;
    let file = File::options().create_new(true).read(true).append(true).open(segment(directory, next))?;
    // Not every file system can; then a full disk may lose an event.
    let _ = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, SEGMENT);
    for old in numbers(directory)?.into_iter().filter(|old| old + KEPT <= next) {
        fs::remove_file(segment(directory, old))?;
    }
    Ok((file, 0))
}

fn whole_lines(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let length = file.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.read_exact_at(&mut byte, end - 1)?;
        if byte[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    Ok(end)
}

/// Numbers of the segments, ascending.
///
/// # Errors
/// The disk.
pub fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// File of a segment.
pub fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:08}"))
}

/// The end of the journal now.
///
/// # Errors
/// The disk.
pub fn end(directory: &Path) -> io::Result<Place> {
    match numbers(directory)?.last() {
        None => Ok(Place { segment: 1, offset: 0 }),
        Some(number) => {
            let file = File::open(segment(directory, *number))?;
            Ok(Place { segment: *number, offset: whole_lines(&file)? })
        }
    }
}

//! The content of regular files, holes included.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Mode, OFlags};

use super::tar_entry::{Member, Members};
use super::*;
use crate::store::Space;

pub(super) const BUFFER: usize = 256 << 10;

pub(super) fn write<R: Read>(
    member: &Member,
    source: &mut Members<R>,
    place: &Place<'_>,
    path: &Path,
    limit: u64,
    (buffer, space): (&mut [u8], &mut Space),
) -> Result<File, Failure> {
    let system = |errno: Errno| Failure::System(path.to_owned(), errno);
    let local = |error: io::Error| system(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    let size = member.map.as_ref().map_or(member.stored, |map| map.size);
    if size > limit {
        return Err(Failure::TooLarge(path.to_owned(), size));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&*place.parent, place.name, flags, Mode::from_raw_mode(0o600)).map_err(system)?;
    let file = File::from(file);
    let whole = [(0, size)];
    let pieces = member.map.as_ref().map_or(whole.as_slice(), |map| &map.pieces);
    for &(offset, length) in pieces {
        copy(source, &file, (offset, length), &local, (&mut *buffer, &mut *space))?;
    }
    let end = pieces.iter().rev().find(|(_, length)| *length > 0).map_or(0, |(offset, length)| offset + length);
    // Ends with a hole, or is one.
    if end < size {
        file.set_len(size).map_err(local)?;
    }
    Ok(file)
}

fn copy(
    source: &mut dyn Read,
    file: &File,
    (mut offset, mut left): (u64, u64),
    local: &dyn Fn(io::Error) -> Failure,
    (buffer, space): (&mut [u8], &mut Space),
) -> Result<(), Failure> {
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = source.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(Failure::Stream(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file is shorter than it says",
            )));
        }
        space.take(length as u64).map_err(local)?;
        file.write_all_at(&buffer[..length], offset).map_err(local)?;
        offset += length as u64;
        left -= length as u64;
    }
    Ok(())
}

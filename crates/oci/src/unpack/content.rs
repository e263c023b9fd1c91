//! The content of regular files, holes included.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{Mode, OFlags};

use super::*;

pub(super) const BUFFER: usize = 256 << 10;
const BLOCK: usize = 4096;
/// A map of a sparse file is read line by line; lines are numbers.
const LONGEST_NUMBER: usize = 20;
/// More pieces than this are no honest file.
const PIECES: u64 = 1 << 20;
const TAR_BLOCK: u64 = 512;

/// The name of an entry; of a sparse file in the POSIX format the one that its extended header tells.
pub(super) fn name<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, Failure> {
    let sparse = extension(entry, "GNU.sparse.name")?;
    Ok(sparse.unwrap_or_else(|| entry.path_bytes().into_owned()))
}

fn extension<R: Read>(entry: &mut tar::Entry<'_, R>, key: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(None);
    };
    let found = extensions.filter_map(Result::ok).find(|extension| extension.key_bytes() == key.as_bytes());
    Ok(found.map(|extension| extension.value_bytes().to_vec()))
}

/// Where data is in a sparse file, and how large the file is.
struct Map {
    size: u64,
    pieces: Vec<(u64, u64)>,
}

pub(super) fn write<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    place: &Place<'_>,
    path: &Path,
    limit: u64,
    buffer: &mut [u8],
) -> Result<(), Failure> {
    let system = |errno: Errno| Failure::System(path.to_owned(), errno);
    let map = sparse_map(entry, path, limit)?;
    let size = map.as_ref().map_or_else(|| entry.size(), |map| map.size);
    if size > limit {
        return Err(Failure::TooLarge(path.to_owned(), size));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&*place.parent, place.name, flags, Mode::from_raw_mode(0o600)).map_err(system)?;
    let file = File::from(file);
    let io = |error: io::Error| system(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    let holes = entry.header().entry_type().is_gnu_sparse();
    let pieces = map.map_or_else(|| vec![(0, size)], |map| map.pieces);
    for (offset, length) in pieces {
        copy(entry, &file, (offset, length), holes, buffer).map_err(|error| match error {
            Copy::Read(error) => Failure::Stream(error),
            Copy::Write(error) => io(error),
        })?;
    }
    // Ends with a hole, or is one.
    if file.metadata().map_err(io)?.len() < size {
        file.set_len(size).map_err(io)?;
    }
    Ok(())
}

enum Copy {
    Read(io::Error),
    Write(io::Error),
}

/// Copies one piece; blocks of zeros are left out where `holes` are wanted.
fn copy(
    source: &mut dyn Read,
    file: &File,
    (mut offset, mut left): (u64, u64),
    holes: bool,
    buffer: &mut [u8],
) -> Result<(), Copy> {
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = source.read(&mut buffer[..most]).map_err(Copy::Read)?;
        if length == 0 {
            return Err(Copy::Read(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends inside a file")));
        }
        let data = &buffer[..length];
        if !holes {
            file.write_all_at(data, offset).map_err(Copy::Write)?;
        } else {
            write_solid(file, data, offset).map_err(Copy::Write)?;
        }
        offset += length as u64;
        left -= length as u64;
    }
    Ok(())
}

fn write_solid(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    for (at, block) in data.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, offset + (at * BLOCK) as u64)?;
        }
    }
    Ok(())
}

/// The map of a sparse file in one of the POSIX formats; the older GNU format is the archive reader's own.
fn sparse_map<R: Read>(entry: &mut tar::Entry<'_, R>, path: &Path, limit: u64) -> Result<Option<Map>, Failure> {
    let bad = |why: &str| Failure::Entry(path.to_owned(), format!("its map of holes {why}"));
    let mut field = |key: &str| -> Result<Option<u64>, Failure> {
        let value = extension(entry, key)?;
        value.map(|value| number(&value).ok_or_else(|| bad("has no numbers"))).transpose()
    };
    let size = field("GNU.sparse.realsize")?.or(field("GNU.sparse.size")?);
    let inside = field("GNU.sparse.major")? == Some(1);
    let Some(size) = size else {
        return Ok(None);
    };
    if size > limit {
        return Err(Failure::TooLarge(path.to_owned(), size));
    }
    let numbers = if inside { read_map(entry, &bad)? } else { listed(entry, &bad)? };
    let mut pieces = Vec::with_capacity(numbers.len() / 2);
    let mut end = 0;
    for pair in numbers.chunks(2) {
        let &[offset, length] = pair else { return Err(bad("is uneven")) };
        let next = offset.checked_add(length).filter(|next| offset >= end && *next <= size);
        end = next.ok_or_else(|| bad("is out of order"))?;
        pieces.push((offset, length));
    }
    Ok(Some(Map { size, pieces }))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Formats 0.0 and 0.1: the map is in the extended header.
fn listed<R: Read>(entry: &mut tar::Entry<'_, R>, bad: &dyn Fn(&str) -> Failure) -> Result<Vec<u64>, Failure> {
    let mut numbers = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            match extension.key_bytes() {
                b"GNU.sparse.map" => numbers.extend(extension.value_bytes().split(|byte| *byte == b',').map(number)),
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => numbers.push(number(extension.value_bytes())),
                _ => {}
            }
        }
    }
    numbers.into_iter().collect::<Option<_>>().ok_or_else(|| bad("has no numbers"))
}

/// Format 1.0: the map stands before the data, filled up to a block.
fn read_map(source: &mut dyn Read, bad: &dyn Fn(&str) -> Failure) -> Result<Vec<u64>, Failure> {
    let mut read = 0;
    let mut next = || -> Result<u64, Failure> {
        let mut digits = Vec::new();
        loop {
            let mut byte = [0];
            source.read_exact(&mut byte)?;
            read += 1;
            match byte[0] {
                b'\n' => return number(&digits).ok_or_else(|| bad("has no numbers")),
                _ if digits.len() == LONGEST_NUMBER => return Err(bad("has no numbers")),
                digit => digits.push(digit),
            }
        }
    };
    let count = next()?;
    if count > PIECES {
        return Err(bad("is too long"));
    }
    let mut numbers = Vec::new();
    for _ in 0..count * 2 {
        numbers.push(next()?);
    }
    let fill = (TAR_BLOCK - read % TAR_BLOCK) % TAR_BLOCK;
    io::copy(&mut source.take(fill), &mut io::sink())?;
    Ok(numbers)
}

//! The end of an exported archive: a checksum of all before it, where every tar passes over it.
//!
//! ```text
//! entries        as of every archive
//! 512 bytes      header of a global extended header (POSIX.1-2001, type `g`)
//! 512 bytes      its record: `comment=hythe-data sha256:<digest of all bytes before the header>`
//! 1024 bytes     zeros, the end of an archive
//! ```

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

const BLOCK: usize = 512;
/// What an archive ends with.
const END: usize = 2 * BLOCK;
/// The checksum and the end.
pub(crate) const TAIL: usize = 2 * BLOCK + END;
const COMMENT: &str = "comment=hythe-data sha256:";

/// What was written or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Of the whole file, as `sha256sum` has it.
    pub(crate) sha256: String,
    /// Bytes of the whole file.
    pub(crate) bytes: u64,
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The two blocks that say the digest.
fn blocks(digest: &str) -> Vec<u8> {
    let record = format!("{COMMENT}{digest}\n");
    // The length counts itself.
    let length = (record.len()..).find(|length| *length == record.len() + 1 + length.to_string().len());
    let record = format!("{} {record}", length.unwrap_or_default());
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "pax_global_header");
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", record.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "g");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut blocks = header.to_vec();
    blocks.extend_from_slice(record.as_bytes());
    blocks.resize(2 * BLOCK, 0);
    blocks
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Copies an archive and puts its checksum before its end.
pub(crate) fn add(mut from: impl Read, mut to: impl Write) -> io::Result<Sum> {
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let held = copy_but_last(&mut from, END, |piece| {
        hash.update(piece);
        bytes += piece.len() as u64;
        to.write_all(piece)
    })?;
    if held.len() != END || held.iter().any(|byte| *byte != 0) {
        return Err(damaged("the archive has no end"));
    }
    let mut tail = blocks(&hex(hash.clone()));
    tail.extend_from_slice(&held);
    hash.update(&tail);
    to.write_all(&tail)?;
    to.flush()?;
    Ok(Sum { sha256: hex(hash), bytes: bytes + tail.len() as u64 })
}

/// Copies an exported archive without its checksum, which must be right. An error comes after the bytes before it.
pub(crate) fn check(mut from: impl Read, mut to: impl Write) -> io::Result<Sum> {
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    let held = copy_but_last(&mut from, TAIL, |piece| {
        hash.update(piece);
        bytes += piece.len() as u64;
        to.write_all(piece)
    })?;
    let expected = blocks(&hex(hash.clone()));
    if held.len() != TAIL || held[2 * BLOCK..].iter().any(|byte| *byte != 0) || held[156] != b'g' {
        return Err(damaged("it has no checksum at its end: it is truncated, or not of `hythe data export`"));
    }
    if held[..2 * BLOCK] != expected {
        return Err(damaged("its checksum is wrong: it is damaged"));
    }
    to.write_all(&held[2 * BLOCK..])?;
    to.flush()?;
    hash.update(&held);
    Ok(Sum { sha256: hex(hash), bytes: bytes + held.len() as u64 })
}

/// Gives all but the last bytes, of which there may be fewer; those are the answer.
fn copy_but_last(
    from: &mut impl Read,
    last: usize,
    mut give: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut held = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(held),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        held.extend_from_slice(&buffer[..length]);
        if let Some(ready) = held.len().checked_sub(last).filter(|ready| *ready > 0) {
            give(&held[..ready])?;
            held.drain(..ready);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn exported() -> (Vec<u8>, Vec<u8>) {
        let mut archive = vec![7; 3 * BLOCK];
        archive.resize(3 * BLOCK + END, 0);
        let mut file = Vec::new();
        let sum = add(archive.as_slice(), &mut file).unwrap();
        assert_eq!(sum.bytes, file.len() as u64);
        (archive, file)
    }

    #[test]
    fn check_of_what_was_exported_gives_the_archive() {
        let (archive, file) = exported();
        let mut out = Vec::new();
        check(file.as_slice(), &mut out).unwrap();
        assert_eq!(out, archive);
        assert_eq!(file.len(), archive.len() + 2 * BLOCK);
    }

    #[test]
    fn check_of_truncated_or_changed_file_fails_at_any_length() {
        let (archive, file) = exported();
        for length in (0..file.len()).step_by(97).chain([file.len() - 1]) {
            assert!(check(&file[..length], io::sink()).is_err(), "{length}");
        }
        let mut changed = file.clone();
        changed[700] ^= 1;
        assert!(check(changed.as_slice(), io::sink()).is_err());
        assert!(check(archive.as_slice(), io::sink()).is_err(), "it has no checksum");
    }
}

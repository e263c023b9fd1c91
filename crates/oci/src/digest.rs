//! Digests of content, and hashing while reading and writing.

use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::response::hex;
use crate::{Error, Kind};

const PREFIX: &str = "sha256:";
const HEX_LENGTH: usize = 64;

/// A sha256 digest, known to be well formed: it may name a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest {
    text: String,
}

impl Digest {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == HEX_LENGTH && digits.bytes().all(lower_hex) {
            return Ok(Self { text: text.to_owned() });
        }
        Err(Error::new(Kind::Invalid, format!("`{text}` is not a sha256 digest, the only kind the image store keeps")))
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::new_with_prefix(bytes))
    }

    pub(crate) fn from_hash(hash: Sha256) -> Self {
        Self { text: format!("{PREFIX}{}", hex(&hash.finalize())) }
    }

    /// Whole: `sha256:…`.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The digits alone, a safe file name.
    pub(crate) fn digits(&self) -> &str {
        &self.text[PREFIX.len()..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Chain ids, lowest first: what names a layer on top of its lower ones.
pub(crate) fn chain(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let next = match chain.last() {
            Some(below) => Digest::of(format!("{below} {diff}").as_bytes()),
            None => diff.clone(),
        };
        chain.push(next);
    }
    chain
}

/// Passes bytes through, in either direction, and hashes and counts them.
pub(crate) struct Hashing<T> {
    inner: T,
    hash: Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }

    pub(crate) fn finish(self) -> (T, Digest, u64) {
        (self.inner, Digest::from_hash(self.hash), self.length)
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.take_in(&buffer[..length]);
        Ok(length)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.take_in(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

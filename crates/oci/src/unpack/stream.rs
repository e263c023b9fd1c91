//! The bytes of a layer: inflated, hashed, bounded.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

const BUFFER: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last byte of the magic number of a zstd frame that holds no content; its first is any of 16.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The plain archive in `source`; how it is compressed is told by its first bytes, not by what its descriptor claims.
pub(crate) fn inflate<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let mut head = Vec::with_capacity(ZSTD.len());
    (&mut source).take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let is_zstd = head == ZSTD || head.get(1..) == Some(&ZSTD_SKIPPABLE);
    let is_gzip = head.starts_with(&GZIP);
    let whole = Cursor::new(head).chain(source);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(unzstd(whole)?),
        _ => Box::new(whole),
    })
}

fn unzstd<R: BufRead>(source: R) -> io::Result<impl Read> {
    zstd::stream::read::Decoder::with_buffer(source)
}

/// The archive as it is read: hashed for its diff id, stopped where it is larger than it may be.
pub(crate) struct Metered<R> {
    inner: R,
    hash: Sha256,
    left: u64,
    budget: Budget,
    exceeded: Rc<Cell<bool>>,
}

/// Bytes of plain archives that the layers of one image may have between them, however they are spread.
#[derive(Clone)]
pub(crate) struct Budget {
    left: Arc<AtomicU64>,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(bytes)) }
    }

    fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl<R: Read> Metered<R> {
    /// `exceeded` tells afterwards whether the bound was the reason for an error.
    pub(crate) fn new(inner: R, limit: u64, budget: Budget, exceeded: Rc<Cell<bool>>) -> Self {
        Self { inner, hash: Sha256::new(), left: limit, budget, exceeded }
    }

    /// Reads what follows the end of the archive, which belongs to its digest.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_hash(self.hash))
    }

    fn at_the_end(&mut self) -> io::Result<usize> {
        if self.inner.read(&mut [0])? == 0 {
            return Ok(0);
        }
        self.exceeded.set(true);
        Err(io::Error::other("it is larger than its bounds"))
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.at_the_end();
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let length = self.inner.read(&mut buffer[..most])?;
        self.hash.update(&buffer[..length]);
        self.left -= length as u64;
        if !self.budget.take(length as u64) {
            self.exceeded.set(true);
            return Err(io::Error::other("its image is larger than its bounds"));
        }
        Ok(length)
    }
}

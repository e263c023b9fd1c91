//! The bytes of a layer: inflated, hashed, bounded.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::Limits;
use crate::digest::Digest;

const BUFFER: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last byte of the magic number of a zstd frame that holds no content; its first is any of 16.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// What headers, long names and attributes of one entry may take.
const HEADERS: u64 = 4 << 20;

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

/// What was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The archive as a whole.
    Bytes,
    /// The headers of one entry.
    Headers,
}

/// How much may still be read; shared with the reader that the archive parser owns.
#[derive(Clone)]
pub(crate) struct Allowance {
    headers: Rc<Cell<Option<u64>>>,
    total: Rc<Cell<u64>>,
    excess: Rc<Cell<Option<Excess>>>,
}

impl Allowance {
    pub(crate) fn new(limits: &Limits) -> Self {
        let headers = Rc::new(Cell::new(Some(HEADERS)));
        Self { headers, total: Rc::new(Cell::new(limits.bytes)), excess: Rc::default() }
    }

    /// Headers come next, which the parser keeps in memory: they are bounded.
    pub(crate) fn expect_headers(&self) {
        self.headers.set(Some(HEADERS));
    }

    /// Content comes next.
    pub(crate) fn expect_content(&self) {
        self.headers.set(None);
    }

    pub(crate) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    fn left(&self) -> u64 {
        self.total.get().min(self.headers.get().unwrap_or(u64::MAX))
    }

    fn spend(&self, length: u64) {
        self.total.set(self.total.get() - length);
        self.headers.set(self.headers.get().map(|left| left - length));
    }

    fn exceeded(&self) -> io::Error {
        let excess = if self.total.get() == 0 { Excess::Bytes } else { Excess::Headers };
        self.excess.set(Some(excess));
        io::Error::other("the archive is larger than its bounds")
    }
}

/// The archive as it is read: hashed for its diff id, stopped where it exceeds its bounds.
pub(crate) struct Metered<R> {
    inner: R,
    hash: Sha256,
    allowance: Allowance,
}

impl<R: Read> Metered<R> {
    pub(crate) fn new(inner: R, allowance: Allowance) -> Self {
        Self { inner, hash: Sha256::new(), allowance }
    }

    /// Reads what follows the end of the archive, which belongs to its digest.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        self.allowance.expect_content();
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_hash(self.hash))
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.left();
        if left == 0 {
            // The very end is within bounds.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(self.allowance.exceeded()),
            };
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = self.inner.read(&mut buffer[..most])?;
        self.hash.update(&buffer[..length]);
        self.allowance.spend(length as u64);
        Ok(length)
    }
}

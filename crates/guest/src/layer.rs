//! A layer of an image: where its archive comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 128 << 10;

type Open = dyn Fn() -> io::Result<Box<dyn Read>> + Send + Sync;

/// One layer of an image, lowest first in a list of them. It is read twice: for its headers, then for its files.
pub struct Layer {
    name: String,
    open: Box<Open>,
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Layer {
    /// A layer whose plain tar archive `open` gives, the same each time. `name` is for messages, mostly its digest.
    pub fn new(name: impl Into<String>, open: impl Fn() -> io::Result<Box<dyn Read>> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), open: Box::new(open) }
    }

    /// A layer as a file of an image store has it: plain, or compressed with gzip or zstd. The first bytes say which.
    #[must_use]
    pub fn of_blob(name: impl Into<String>, path: &Path) -> Self {
        let path = path.to_owned();
        Self::new(name, move || inflate(File::open(&path)?))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        (self.open)()
    }
}

fn inflate(file: File) -> io::Result<Box<dyn Read>> {
    let mut source = BufReader::with_capacity(BUFFER, file);
    let mut head = Vec::new();
    (&mut source).take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let (is_gzip, is_zstd) = (head.starts_with(GZIP), head == ZSTD);
    let whole = Cursor::new(head).chain(source);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        _ => Box::new(whole),
    })
}

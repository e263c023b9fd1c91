//! Empty disks for named volumes.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use mkext4::{FsBuilder, Options, RegionSink};

use crate::GuestError;
use crate::error::at;

/// ext4 has blocks of this size.
pub(crate) const BLOCK: u64 = 4096;
/// The smallest disk that holds a journal.
const SMALLEST: u64 = 8 << 20;
/// Time of creation in every file system: the same input makes the same bytes.
pub(crate) const EPOCH: i64 = 1_700_000_000;

/// Creates an empty ext4 file system of `size` bytes in a sparse file.
///
/// # Errors
/// `Invalid` for a size below 8 MiB or a label of more than 16 bytes; `Io` where the file cannot be written, also where
/// it exists.
pub fn volume_disk(path: &Path, size: u64, label: &str) -> Result<(), GuestError> {
    if size < SMALLEST {
        return Err(GuestError::Invalid(format!("a volume of {size} bytes is smaller than {SMALLEST} bytes")));
    }
    let mut options = Options::new(size / BLOCK * BLOCK, crate::base::uuid(&format!("{label}{size}")), EPOCH);
    options.label = Some(label.to_owned());
    options.reserved_percent = 0;
    let invalid = |error: mkext4::Error| GuestError::Invalid(format!("a volume cannot be made: {error}"));
    let layout = FsBuilder::new(options).and_then(FsBuilder::seal).map_err(invalid)?;
    let mut sink = Sparse::create(path, size)?;
    let written = layout.writer(&mut sink).and_then(|writer| writer.finish());
    written.map(drop).map_err(|error| match error {
        mkext4::Error::Io(source) => at(path)(source),
        other => invalid(other),
    })
}

/// A file whose zeros take no space.
#[derive(Debug)]
pub(crate) struct Sparse {
    file: std::fs::File,
}

impl Sparse {
    /// A new file of `size` zeros.
    pub(crate) fn create(path: &Path, size: u64) -> Result<Self, GuestError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(at(path))?;
        file.set_len(size).map_err(at(path))?;
        Ok(Self { file })
    }

    /// An open file, which becomes `size` zeros.
    pub(crate) fn over(file: std::fs::File, size: u64) -> io::Result<Self> {
        file.set_len(size)?;
        Ok(Self { file })
    }
}

impl RegionSink for Sparse {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { self.file.write_all_at(bytes, offset) }
    }

    fn zeros(&mut self, _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

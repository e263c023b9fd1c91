//! The bytes of a module's file, which a distribution may have compressed.

use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::GuestError;
use crate::error::at;

/// No module is larger.
const LARGEST: u64 = 256 << 20;

/// Reads a module. The name says how it is compressed: the kernel itself decompresses nothing.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, GuestError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let damaged = |why: String| GuestError::Damaged { path: path.to_owned(), why };
    let mut plain = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => {
            lzma_rs::xz_decompress(&mut BufReader::new(&bytes[..]), &mut plain)
                .map_err(|error| damaged(error.to_string()))?;
        }
        Some("zst") => {
            let decoder = zstd::stream::read::Decoder::new(&bytes[..]).map_err(at(path))?;
            decoder.take(LARGEST).read_to_end(&mut plain).map_err(|error| damaged(error.to_string()))?;
        }
        Some("gz") => {
            let decoder = flate2::read::GzDecoder::new(&bytes[..]);
            decoder.take(LARGEST).read_to_end(&mut plain).map_err(|error| damaged(error.to_string()))?;
        }
        _ => return Ok(bytes),
    }
    Ok(plain)
}

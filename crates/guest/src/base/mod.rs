//! The disk that an image becomes: its layers flattened into one ext4 file system.
//!
//! An image is hostile. Its paths are resolved in memory, inside the layer; nothing of it is created on the host but the
//! bytes of the disk. Layers are merged as overlayfs merges them.

mod archive;
mod entry;
mod merge;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::at;
use crate::volume::BLOCK;
use crate::{GuestError, Layer};

/// Changes where the same image becomes another disk.
const FORMAT: &str = "1";
/// What digests and labels are made into identifiers of file systems with.
const NAMESPACE: &str = "hythe guest disk";

/// The raw ext4 disk of an image, sparse, `size` bytes large.
///
/// `layers` are lowest first. The disk is kept in the directory `cache` under the image's digest and the size; where it
/// is already there, no layer is opened. Nothing may change a disk in the cache: instances write to an overlay.
///
/// Owners, modes, times, extended attributes, hard links, device nodes and whiteouts are honoured.
///
/// # Errors
/// `Layer` for a damaged or hostile archive, with the entry; `TooSmall` where the files do not fit; `Invalid` for a
/// digest that is none; `Io` for the disk.
pub fn base_disk(cache: &Path, digest: &str, layers: Vec<Layer>, size: u64) -> Result<PathBuf, GuestError> {
    let size = size / BLOCK * BLOCK;
    let path = cache.join(format!("base-{}-{size}-{FORMAT}.ext4", file_name(digest)?));
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(cache).map_err(at(cache))?;
    let tree = merge::flatten(&layers)?;
    let file = tempfile::NamedTempFile::new_in(cache).map_err(at(cache))?;
    write::disk(file.reopen().map_err(at(file.path()))?, &path, &tree, &layers, (digest, size))?;
    file.persist(&path).map_err(|error| at(&path)(error.error))?;
    Ok(path)
}

/// `sha256:…` as a part of a file's name.
fn file_name(digest: &str) -> Result<&str, GuestError> {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    let is_digest = digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(digits).ok_or_else(|| GuestError::Invalid(format!("`{digest}` is not a digest")))
}

/// An identifier of a file system, the same for the same text.
pub(crate) fn uuid(text: &str) -> [u8; 16] {
    let hash = Sha256::new().chain_update(NAMESPACE).chain_update(text).finalize();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash[..16]);
    // Version 8: of our own making.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// A layer's error.
fn bad(layer: &Layer, why: impl Into<String>) -> GuestError {
    GuestError::Layer { layer: layer.name().to_owned(), why: why.into() }
}

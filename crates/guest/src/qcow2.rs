//! Overlays: empty qcow2 files in front of a raw disk.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::GuestError;
use crate::error::at;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const HEADER: u32 = 104;
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// The longest name that the format takes.
const LONGEST_NAME: usize = 1023;

/// Creates a qcow2 version 3 file of `size` bytes over the raw disk `base`.
///
/// The overlay names its base by absolute path, so the base must stay where it is.
///
/// # Errors
/// `Invalid` where the base's path is too long or `size` is smaller than the base; `Io` where a file cannot be read or
/// written, also where `path` exists.
pub fn overlay(path: &Path, base: &Path, size: u64) -> Result<(), GuestError> {
    let base = fs::canonicalize(base).map_err(at(base))?;
    let below = fs::metadata(&base).map_err(at(&base))?.len();
    let name = base.as_os_str().as_bytes();
    if name.len() > LONGEST_NAME {
        return Err(GuestError::Invalid(format!("the path `{}` is too long for an overlay", base.display())));
    }
    if size < below {
        return Err(GuestError::Invalid(format!("an overlay of {size} bytes is smaller than its base of {below}")));
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(at(path))?;
    file.write_all(&image(name, size)).map_err(at(path))
}

/// Header, table of reference counts, one block of them, table of clusters.
fn image(base: &[u8], size: u64) -> Vec<u8> {
    // One table of clusters refers to this many bytes.
    let reach = CLUSTER * (CLUSTER / 8);
    let entries = size.div_ceil(reach);
    let table_clusters = (entries * 8).div_ceil(CLUSTER).max(1);
    let clusters = 3 + table_clusters;
    let name_at = u64::from(HEADER) + 8 + 8 + 8;
    let mut bytes = Vec::new();
    bytes.extend(*b"QFI\xfb");
    bytes.extend(3_u32.to_be_bytes());
    bytes.extend(name_at.to_be_bytes());
    bytes.extend(u32::try_from(base.len()).unwrap_or(0).to_be_bytes());
    bytes.extend(CLUSTER_BITS.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend((3 * CLUSTER).to_be_bytes());
    bytes.extend(CLUSTER.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    // No snapshots, no features.
    bytes.extend([0; 4 + 8 + 8 * 3]);
    // Reference counts of 16 bits.
    bytes.extend(4_u32.to_be_bytes());
    bytes.extend(HEADER.to_be_bytes());
    bytes.extend(BACKING_FORMAT.to_be_bytes());
    bytes.extend(3_u32.to_be_bytes());
    bytes.extend(*b"raw\0\0\0\0\0");
    bytes.extend([0; 8]);
    bytes.extend(base);
    bytes.resize(CLUSTER as usize, 0);
    bytes.extend((2 * CLUSTER).to_be_bytes());
    bytes.resize(2 * CLUSTER as usize, 0);
    bytes.extend((0..clusters).flat_map(|_| 1_u16.to_be_bytes()));
    bytes.resize((clusters * CLUSTER) as usize, 0);
    bytes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn overlay_over_a_disk_has_the_layout_of_version_3() {
        let bytes = image(b"/base", 10 << 30);
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((word(4), word(16), word(20), word(36)), (3, 5, 16, 20));
        assert_eq!((long(24), long(40), long(48), word(100)), (10 << 30, 3 << 16, 1 << 16, 104));
        let name = usize::try_from(long(8)).unwrap();
        assert_eq!(&bytes[name..name + 5], b"/base");
        assert_eq!(long(1 << 16), 2 << 16, "the table of reference counts leads to their block");
        assert_eq!(&bytes[2 << 16..(2 << 16) + 10], [0, 1, 0, 1, 0, 1, 0, 1, 0, 0], "four clusters are in use");
        assert_eq!(bytes.len(), 4 << 16);
    }

    #[test]
    fn overlay_smaller_than_its_base_is_invalid() {
        let folder = tempfile::tempdir().unwrap();
        let (base, path) = (folder.path().join("base"), folder.path().join("overlay"));
        fs::write(&base, [0; 8192]).unwrap();
        assert!(matches!(overlay(&path, &base, 4096), Err(GuestError::Invalid(_))));
        assert!(!path.exists());
        overlay(&path, &base, 8192).unwrap();
        assert!(matches!(overlay(&path, &base, 8192), Err(GuestError::Io { .. })), "an overlay is never replaced");
    }
}

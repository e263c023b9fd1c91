//! The first file system of a guest: the init and the modules that it loads.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cpio::Archive;
use crate::error::at;
use crate::modules::{Loaded, read, resolve};
use crate::{GuestError, Kernel};

/// The init; empty where it cannot be built.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// The initrd for a kernel: the init and the modules that a guest needs.
///
/// It is kept in the directory `cache` under a hash of the kernel's release, the modules and the init, and made again
/// only when one of them changes.
///
/// # Errors
/// `NoModule` where the kernel lacks what every guest needs; `Damaged` for a file of a module; `Io` for the disk;
/// `UnsupportedPlatform` on a host that is not x86_64.
pub fn initrd(cache: &Path, kernel: &Kernel) -> Result<PathBuf, GuestError> {
    if INIT.is_empty() {
        return Err(GuestError::UnsupportedPlatform);
    }
    let groups = resolve(kernel)?;
    let path = cache.join(format!("initrd-{}.cpio", key(kernel, &groups)?));
    if path.is_file() {
        return Ok(path);
    }
    publish(&path, &pack(&groups)?)?;
    Ok(path)
}

/// Files of modules are recognised by size and time: hashing megabytes on every start would take longer than it saves.
fn key(kernel: &Kernel, groups: &[Loaded]) -> Result<String, GuestError> {
    let mut hash = Sha256::new();
    hash.update(&kernel.release);
    hash.update(INIT);
    for (_, path) in groups.iter().flat_map(|group| &group.modules) {
        let found = fs::metadata(path).map_err(at(path))?;
        let modified = found.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(found.len().to_le_bytes());
        hash.update(modified.unwrap_or_default().as_nanos().to_le_bytes());
    }
    Ok(hex(&hash.finalize()[..8]))
}

fn pack(groups: &[Loaded]) -> Result<Vec<u8>, GuestError> {
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "root", "modules"] {
        archive.directory(folder);
    }
    // The kernel opens it as standard output of the init, before the init can mount anything.
    archive.device("dev/console", (5, 1));
    archive.file("init", 0o755, INIT);
    for group in groups {
        archive.directory(&format!("modules/{}", group.group));
        for (number, (name, path)) in group.modules.iter().enumerate() {
            archive.file(&format!("modules/{}/{number:02}-{name}.ko", group.group), 0o644, &read(path)?);
        }
    }
    Ok(archive.finish())
}

/// Writes a file that others see whole or not at all.
fn publish(path: &Path, bytes: &[u8]) -> Result<(), GuestError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(at(folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(folder))?;
    file.write_all(bytes).map_err(at(path))?;
    file.persist(path).map_err(|error| at(path)(error.error))?;
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

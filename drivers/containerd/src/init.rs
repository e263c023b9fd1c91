//! The program that becomes pid 1 where a plan asks for an init: one of the host's, since the engine brings none.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where it is in a container: in `/dev`, which is no part of the image.
pub(crate) const TARGET: &str = "/dev/init";
/// Programs that take their child's command line after `--`, by the places that distributions and engines give them.
const PLACES: [&str; 8] = [
    "/usr/bin/catatonit",
    "/usr/libexec/podman/catatonit",
    "/usr/lib/podman/catatonit",
    "/usr/bin/docker-init",
    "/usr/libexec/docker/docker-init",
    "/usr/bin/tini-static",
    "/sbin/tini-static",
    "/usr/bin/tini",
];
/// Why there is none.
pub(crate) const MISSING: &str = "the host has no statically linked init for containers; install `catatonit`";

/// The first that runs in any image.
pub(crate) fn find() -> Option<PathBuf> {
    PLACES.into_iter().map(PathBuf::from).find(|path| is_static(path).unwrap_or(false))
}

/// Whether it is a program of ELF (64 bit, of this byte order) that needs no interpreter, which an image may lack.
fn is_static(path: &Path) -> std::io::Result<bool> {
    const HEAD: usize = 64;
    /// `PT_INTERP`
    const INTERPRETER: u32 = 3;
    let mut file = File::open(path)?;
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    let is_elf = head.starts_with(b"\x7fELF\x02");
    let short = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
    let mut offset = [0; 8];
    offset.copy_from_slice(&head[32..40]);
    let (size, count) = (usize::from(short(54)), usize::from(short(56)));
    file.seek(SeekFrom::Start(u64::from_ne_bytes(offset)))?;
    let mut table = vec![0; size * count];
    file.read_exact(&mut table)?;
    let kinds =
        table.chunks_exact(size.max(4)).map(|entry| u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]));
    Ok(is_elf && count > 0 && kinds.into_iter().all(|kind| kind != INTERPRETER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_static_of_a_program_with_an_interpreter_is_false() {
        // What runs this test is linked dynamically, unless the target says otherwise.
        let own = is_static(Path::new("/proc/self/exe")).expect("readable");
        assert_eq!(own, cfg!(target_feature = "crt-static"));
        assert!(!is_static(Path::new("/etc/passwd")).unwrap_or(false));
    }
}

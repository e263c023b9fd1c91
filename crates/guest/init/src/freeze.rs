//! Disks that nothing writes to, while the host copies them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;

/// File systems that are frozen.
#[derive(Debug, Default)]
pub(crate) struct Frozen(Vec<File>);

impl Frozen {
    /// Writes and freezes the file systems at these paths: all of them, or none.
    pub(crate) fn freeze(&mut self, paths: &[String]) -> Result<(), String> {
        for path in paths {
            let frozen = File::open(path).and_then(|file| request(&file, FIFREEZE).map(|()| file));
            match frozen {
                Ok(file) => self.0.push(file),
                Err(error) => {
                    self.thaw();
                    return Err(format!("`{path}` cannot be frozen: {error}"));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn thaw(&mut self) {
        for file in self.0.drain(..) {
            request(&file, FITHAW).ok();
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        !self.0.is_empty()
    }
}

fn request(file: &File, request: libc::c_ulong) -> io::Result<()> {
    // SAFETY: neither request reads or writes memory; the descriptor is open.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

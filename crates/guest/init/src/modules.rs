//! Loading the modules of the initrd.

use std::fs::{self, File};

use rustix::io::Errno;

use crate::context;

/// Loads a group in the order of its files. What is there already is no error.
pub(crate) fn load(group: &str) -> Result<(), String> {
    let folder = format!("/modules/{group}");
    let entries = fs::read_dir(&folder).map_err(context(&folder))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let file = File::open(&path).map_err(context(path.display()))?;
        match rustix::system::finit_module(&file, c"", 0) {
            // Hardware that is not there is not used.
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => {}
            Err(error) => return Err(format!("module `{}`: {error}", path.display())),
        }
    }
    Ok(())
}

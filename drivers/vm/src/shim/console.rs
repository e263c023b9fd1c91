//! The guest's console, kept to a bounded size: a hostile guest must not fill the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of a file; there are two of them.
const MOST: u64 = 1 << 20;

/// Writes what the console shows.
#[derive(Debug)]
pub(super) struct Console {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Console {
    /// A new file: each start has its own.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::create(path)?, length: 0 })
    }

    /// What a full disk does not take is lost.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.length + bytes.len() as u64 > MOST {
            // Where it cannot be renamed, the old one is written over.
            let _ = fs::rename(&self.path, self.path.with_extension("log.1"));
            if let Ok(file) = File::create(&self.path) {
                (self.file, self.length) = (file, 0);
            }
        }
        if self.file.write_all(bytes).is_ok() {
            self.length += bytes.len() as u64;
        }
    }

    /// The last line that says something.
    pub(super) fn last_line(&self) -> String {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
        line.chars().filter(|letter| !letter.is_control()).take(300).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_console_that_says_much_keeps_the_end_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut console = Console::open(&path).unwrap();
        for _ in 0..40 {
            console.write(&vec![b'x'; 100_000]);
        }
        console.write(b"\r\nthe end\r\n\n");
        assert_eq!(console.last_line(), "the end");
        let kept = fs::metadata(&path).unwrap().len() + fs::metadata(path.with_extension("log.1")).unwrap().len();
        assert!(kept <= 2 * MOST, "{kept} bytes are kept");
    }
}

//! Logs: numbered segments of lines `<time> <stream> <F|P> <bytes>`.
//!
//! `o` is stdout, `e` stderr; `F`: a line feed followed these bytes, `P`: it did not, and the next line of the same stream goes on. Bytes are as they were
//! written. A full disk loses output, never the container: what is written is cut back to its last whole line, and counted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::record::LogBounds;

/// Writes the log of one instance.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    bounds: LogBounds,
    number: u64,
    file: File,
    length: u64,
    last: Timestamp,
    buffer: Vec<u8>,
    /// Bytes of output that could not be written.
    pub lost: u64,
}

impl Writer {
    /// Goes on where an earlier run ended.
    ///
    /// # Errors
    /// The disk.
    pub fn open(directory: &Path, bounds: LogBounds) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let number = crate::journal::numbers(directory)?.last().copied().unwrap_or(1);
        let file = File::options().create(true).append(true).open(crate::journal::segment(directory, number))?;
        let length = file.metadata()?.len();
        let (last, buffer) = (Timestamp::UNIX_EPOCH, Vec::new());
        Ok(Self { directory: directory.to_owned(), bounds, number, file, length, last, buffer, lost: 0 })
    }

    /// Writes a piece of output; what cannot be written is lost and counted.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.last = self.last.max(hythe_host::now());
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut raw = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.length + buffer.len() as u64 >= self.bounds.segment {
                self.flush(&buffer, std::mem::take(&mut raw));
                buffer.clear();
                self.rotate();
            }
            let (text, end) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, 'F'),
                None => (piece, 'P'),
            };
            // Writing to memory cannot fail.
            let _ = write!(buffer, "{:.9} {} {end} ", self.last, stream.letter());
            buffer.extend_from_slice(text);
            buffer.push(b'\n');
            raw += piece.len() as u64;
        }
        self.flush(&buffer, raw);
        self.buffer = buffer;
    }

    /// Writes lines made of so many bytes of output.
    fn flush(&mut self, lines: &[u8], raw: u64) {
        match self.file.write_all(lines) {
            Ok(()) => self.length += lines.len() as u64,
            Err(_) => {
                self.lost += raw;
                // A log that cannot even be cut ends with a torn line, which readers take for a short one.
                let _ = self.file.set_len(self.length);
            }
        }
    }

    /// A new segment; where there is no room for one, the old one grows on.
    fn rotate(&mut self) {
        let next = self.number + 1;
        let path = crate::journal::segment(&self.directory, next);
        let Ok(file) = File::options().create(true).append(true).open(path) else { return };
        (self.number, self.file, self.length) = (next, file, 0);
        if let Some(old) = next.checked_sub(self.bounds.segments) {
            // One that cannot be removed now is not worth stopping for.
            let _ = fs::remove_file(crate::journal::segment(&self.directory, old));
        }
    }
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    const fn letter(self) -> char {
        match self {
            Self::Stdout => 'o',
            Self::Stderr => 'e',
        }
    }
}

/// One line of a segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When it was read from the process.
    pub time: Timestamp,
    /// Where it was written to.
    pub stream: Stream,
    /// The line goes on in the next piece of this stream.
    pub partial: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Reads a line of a segment, without its line feed; `None`: it is no such line.
pub fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    let rest = &line[space + 1..];
    let stream = match rest.first()? {
        b'o' => Stream::Stdout,
        b'e' => Stream::Stderr,
        _ => return None,
    };
    let partial = match rest.get(1..4)? {
        b" F " => false,
        b" P " => true,
        _ => return None,
    };
    Some(Piece { time, stream, partial, bytes: &rest[4..] })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn written(directory: &Path) -> Vec<(Stream, bool, Vec<u8>)> {
        let numbers = crate::journal::numbers(directory).unwrap();
        let mut pieces = Vec::new();
        for number in numbers {
            let content = fs::read(crate::journal::segment(directory, number)).unwrap();
            for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let piece = parse(line).unwrap();
                pieces.push((piece.stream, piece.partial, piece.bytes.to_vec()));
            }
        }
        pieces
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), LogBounds { segment: 1 << 20, segments: 2 }).unwrap();
        writer.write(Stream::Stdout, b"a\0b\r\n\nhalf");
        writer.write(Stream::Stderr, b"\xff\n");
        writer.write(Stream::Stdout, b" rest\n");
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        let wanted: [(Stream, bool, &[u8]); 5] = [
            (out, false, b"a\0b\r"),
            (out, false, b""),
            (out, true, b"half"),
            (err, false, b"\xff"),
            (out, false, b" rest"),
        ];
        assert_eq!(written(directory.path()), wanted.map(|(stream, partial, bytes)| (stream, partial, bytes.to_vec())));
    }

    #[test]
    fn old_segments_go_and_the_newest_lines_stay() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), LogBounds { segment: 200, segments: 2 }).unwrap();
        for number in 0..100 {
            writer.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert_eq!(crate::journal::numbers(directory.path()).unwrap().len(), 2);
        assert_eq!(written(directory.path()).last().unwrap().2, b"line 99");
    }

    #[test]
    fn much_output_at_once_is_held_to_the_bounds_too() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), LogBounds { segment: 200, segments: 2 }).unwrap();
        let lines: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        writer.write(Stream::Stdout, lines.as_bytes());
        let kept = written(directory.path());
        assert!(kept.len() < 20, "{} lines are left", kept.len());
        assert_eq!(kept.last().unwrap().2, b"line 999");
        assert_eq!(writer.lost, 0);
    }

    #[test]
    fn a_full_disk_loses_output_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), LogBounds { segment: 1 << 20, segments: 2 }).unwrap();
        writer.write(Stream::Stdout, b"before\n");
        let good = std::mem::replace(&mut writer.file, File::options().write(true).open("/dev/full").unwrap());
        writer.write(Stream::Stdout, b"lost\n");
        writer.file = good;
        writer.write(Stream::Stdout, b"after\n");
        assert_eq!(writer.lost, 5);
        let lines: Vec<Vec<u8>> = written(directory.path()).into_iter().map(|(_, _, bytes)| bytes).collect();
        assert_eq!(lines, [b"before".to_vec(), b"after".to_vec()]);
    }
}

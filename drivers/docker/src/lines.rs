//! Lines put together again from what the engine kept of them.
//!
//! Both engines keep long lines in pieces (dockerd 16 KiB, Podman 8 KiB), each with a time in front when times are asked for,
//! and only the last piece ends in a line feed. dockerd gives all pieces of a line the time of the first; Podman gives whole seconds.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use hythe_runtime::{LogLine, StdStream};
use jiff::Timestamp;

/// Length of dockerd's pieces.
const PIECE: usize = 16 << 10;

/// How the engine writes its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One frame per piece, each with its time; pieces of a line have one time (dockerd).
    Framed {
        /// Pieces with different times are different lines.
        one_time: bool,
    },
    /// No frames, a time in front of every piece (dockerd with a terminal).
    RawTimed,
    /// No frames, no times (Podman with a terminal: its pieces could not be told from output).
    RawBare,
}

/// Puts lines together; fed frame by frame.
#[derive(Debug)]
pub(crate) struct Lines {
    format: Format,
    pending: [Option<Pending>; 2],
    raw: BytesMut,
    ready: VecDeque<LogLine>,
}

/// A line whose end has not come.
#[derive(Debug)]
struct Pending {
    /// Its time as written.
    stamp: Bytes,
    bytes: BytesMut,
}

impl Lines {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, pending: [None, None], raw: BytesMut::new(), ready: VecDeque::new() }
    }

    /// Takes a frame (or, without frames, some bytes).
    pub(crate) fn push(&mut self, stream: StdStream, bytes: &Bytes) {
        match self.format {
            Format::Framed { one_time } => self.frame(stream, bytes, one_time),
            Format::RawTimed | Format::RawBare => {
                self.raw.extend_from_slice(bytes);
                while let Some(at) = self.raw.iter().position(|byte| *byte == b'\n') {
                    let line = self.raw.split_to(at + 1).freeze();
                    self.raw_line(&line);
                }
            }
        }
    }

    /// The next finished line.
    pub(crate) fn next(&mut self) -> Option<LogLine> {
        self.ready.pop_front()
    }

    /// What is left once the log has ended: lines without a line feed.
    pub(crate) fn finish(&mut self) {
        let rest = self.raw.split().freeze();
        if !rest.is_empty() {
            self.raw_line(&rest);
        }
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            self.cut(stream);
        }
    }

    fn frame(&mut self, stream: StdStream, frame: &Bytes, one_time: bool) {
        let (stamp, piece) = split_time(frame);
        if one_time && self.pending[slot(stream)].as_ref().is_some_and(|pending| pending.stamp != stamp) {
            self.cut(stream);
        }
        let pending = self.pending[slot(stream)].get_or_insert_with(|| Pending { stamp, bytes: BytesMut::new() });
        match piece.strip_suffix(b"\n") {
            Some(last) => {
                pending.bytes.extend_from_slice(last);
                self.emit(stream, true);
            }
            None => pending.bytes.extend_from_slice(&piece),
        }
    }

    /// Ends a line that no line feed ended.
    fn cut(&mut self, stream: StdStream) {
        if self.pending[slot(stream)].as_ref().is_some_and(|pending| !pending.bytes.is_empty()) {
            self.emit(stream, false);
        }
        self.pending[slot(stream)] = None;
    }

    fn emit(&mut self, stream: StdStream, terminated: bool) {
        if let Some(Pending { stamp, bytes }) = self.pending[slot(stream)].take() {
            self.ready.push_back(LogLine { stream, time: time(&stamp), line: bytes.freeze(), terminated });
        }
    }

    fn raw_line(&mut self, line: &Bytes) {
        let (line, terminated) = match line.strip_suffix(b"\n") {
            Some(text) => (line.slice(..text.len()), true),
            None => (line.clone(), false),
        };
        let (stamp, line) = if self.format == Format::RawTimed { rejoin(&line) } else { (Bytes::new(), line) };
        self.ready.push_back(LogLine { stream: StdStream::Stdout, time: time(&stamp), line, terminated });
    }
}

const fn slot(stream: StdStream) -> usize {
    match stream {
        StdStream::Stdout => 0,
        StdStream::Stderr => 1,
    }
}

/// `2026-11-22T10:12:31.257767365Z text`
fn split_time(frame: &Bytes) -> (Bytes, Bytes) {
    match frame.iter().position(|byte| *byte == b' ') {
        Some(at) => (frame.slice(..at), frame.slice(at + 1..)),
        None => (Bytes::new(), frame.clone()),
    }
}

fn time(stamp: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(stamp).ok()?.parse().ok()
}

/// Takes the repeated time out of a line that was kept in pieces.
fn rejoin(line: &Bytes) -> (Bytes, Bytes) {
    let (stamp, text) = split_time(line);
    let separator = [&stamp[..], b" "].concat();
    let repeats = |rest: &[u8]| rest.len() >= PIECE + separator.len() && rest[PIECE..].starts_with(&separator);
    if !repeats(&text) {
        return (stamp, text);
    }
    let (mut joined, mut rest) = (BytesMut::with_capacity(text.len()), &text[..]);
    while repeats(rest) {
        joined.extend_from_slice(&rest[..PIECE]);
        rest = &rest[PIECE + separator.len()..];
    }
    joined.extend_from_slice(rest);
    (stamp, joined.freeze())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const T1: &str = "2026-11-22T10:12:31.257767365Z";
    const T2: &str = "2026-11-22T10:12:32.000000001Z";

    fn read(format: Format, frames: &[(StdStream, String)]) -> Vec<(String, bool)> {
        let mut lines = Lines::new(format);
        for (stream, frame) in frames {
            lines.push(*stream, &Bytes::from(frame.clone()));
        }
        lines.finish();
        std::iter::from_fn(|| lines.next())
            .map(|line| (String::from_utf8(line.line.to_vec()).unwrap(), line.terminated))
            .collect()
    }

    #[test]
    fn pieces_of_one_time_are_one_line() {
        let out = StdStream::Stdout;
        let frames = [
            (out, format!("{T1} aa")),
            (StdStream::Stderr, format!("{T1} e\n")),
            (out, format!("{T1} bb\n")),
            (out, format!("{T2} c")),
        ];
        let lines = read(Format::Framed { one_time: true }, &frames);
        assert_eq!(lines, [("e".to_owned(), true), ("aabb".to_owned(), true), ("c".to_owned(), false)]);
    }

    #[test]
    fn an_unterminated_end_does_not_swallow_the_next_run() {
        let out = StdStream::Stdout;
        let lines =
            read(Format::Framed { one_time: true }, &[(out, format!("{T1} end")), (out, format!("{T2} start\n"))]);
        assert_eq!(lines, [("end".to_owned(), false), ("start".to_owned(), true)]);
    }

    #[test]
    fn raw_pieces_lose_their_repeated_time() {
        let long = "x".repeat(PIECE);
        let text = format!("{T1} {long}{T1} {long}{T1} yy\r\n{T2} z");
        let lines = read(Format::RawTimed, &[(StdStream::Stdout, text)]);
        assert_eq!(lines, [(format!("{long}{long}yy\r"), true), ("z".to_owned(), false)]);
    }

    #[test]
    fn an_empty_line_is_a_line() {
        assert_eq!(
            read(Format::Framed { one_time: true }, &[(StdStream::Stdout, format!("{T1} \n"))]),
            [(String::new(), true)]
        );
    }
}

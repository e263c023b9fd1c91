//! Lines put together again from what the engine kept of them.
//!
//! Both engines keep long lines in pieces (dockerd 16 KiB, Podman 8 KiB), each with a time in front when times are asked for,
//! and only the last piece ends in a line feed. dockerd gives all pieces of a line the time of the first; Podman gives whole seconds.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use hythe_runtime::{LogLine, OpenLine, StdStream};
use jiff::Timestamp;

/// Length of dockerd's pieces.
const PIECE: usize = 16 << 10;
/// No time that an engine writes is longer.
const LONGEST_STAMP: usize = 64;

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
pub(crate) struct PartialLines {
    format: Format,
    pending: [Pending; 2],
    raw: RawLine,
    ready: VecDeque<LogLine>,
}

/// A line whose end has not come.
#[derive(Debug, Default)]
struct Pending {
    /// Its time as written.
    stamp: Bytes,
    line: OpenLine,
}

impl PartialLines {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, pending: Default::default(), raw: RawLine::default(), ready: VecDeque::new() }
    }

    /// Takes a frame (or, without frames, some bytes).
    pub(crate) fn push(&mut self, stream: StdStream, bytes: &Bytes) {
        match self.format {
            Format::Framed { one_time } => self.frame(stream, bytes, one_time),
            Format::RawTimed | Format::RawBare => {
                self.raw.bytes.extend_from_slice(bytes);
                self.raw.take(self.format == Format::RawTimed, false, &mut self.ready);
            }
        }
    }

    /// The next finished line.
    pub(crate) fn next(&mut self) -> Option<LogLine> {
        self.ready.pop_front()
    }

    /// What is left once the log has ended: lines without a line feed.
    pub(crate) fn finish(&mut self) {
        self.raw.take(self.format == Format::RawTimed, true, &mut self.ready);
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            self.cut(stream);
        }
    }

    fn frame(&mut self, stream: StdStream, frame: &Bytes, one_time: bool) {
        let (stamp, piece) = split_time(frame);
        let pending = &self.pending[slot(stream)];
        if one_time && pending.line.is_open() && pending.stamp != stamp {
            self.cut(stream);
        }
        let pending = &mut self.pending[slot(stream)];
        if !pending.line.is_open() {
            pending.stamp = stamp;
        }
        let text = piece.strip_suffix(b"\n");
        let begun = time(&pending.stamp);
        pending.line.push(stream, begun, text.unwrap_or(&piece), &mut self.ready);
        if text.is_some() {
            pending.line.end(stream, true, &mut self.ready);
        }
    }

    /// Ends a line that no line feed ended; one without bytes was none.
    fn cut(&mut self, stream: StdStream) {
        let mut last = Vec::new();
        self.pending[slot(stream)].line.end(stream, false, &mut last);
        self.ready.extend(last.into_iter().filter(|line| !line.line.is_empty()));
    }
}

/// A line of output without frames, taken as its bytes come.
#[derive(Debug, Default)]
struct RawLine {
    bytes: BytesMut,
    /// Its time as written, once that has come.
    stamp: Option<Bytes>,
    /// No more of its pieces have a time in front.
    plain: bool,
    line: OpenLine,
}

impl RawLine {
    /// Takes what can be taken; all of it at the end.
    fn take(&mut self, timed: bool, at_end: bool, ready: &mut VecDeque<LogLine>) {
        while !self.bytes.is_empty() && self.step(timed, at_end, ready) {}
        if at_end {
            self.line.end(StdStream::Stdout, false, ready);
        }
    }

    /// Takes one piece; `false`: more bytes are needed to know what it is.
    fn step(&mut self, timed: bool, at_end: bool, ready: &mut VecDeque<LogLine>) -> bool {
        let feed = self.bytes.iter().position(|byte| *byte == b'\n');
        let Some(stamp) = self.stamp.clone() else {
            if timed && feed.is_none() && self.bytes.len() < LONGEST_STAMP && !at_end {
                return false;
            }
            self.begin(timed, feed);
            return true;
        };
        let separator = [&stamp[..], b" "].concat();
        if !self.plain && feed.is_none_or(|feed| feed >= PIECE) {
            if self.bytes.len() < PIECE + separator.len() && feed.is_none() && !at_end {
                return false;
            }
            if self.bytes.get(PIECE..).is_some_and(|rest| rest.starts_with(&separator)) {
                let piece = self.bytes.split_to(PIECE);
                self.bytes.advance(separator.len());
                self.line.push(StdStream::Stdout, time(&stamp), &piece, ready);
                return true;
            }
            self.plain = true;
        }
        let text = self.bytes.split_to(feed.unwrap_or(self.bytes.len()));
        self.line.push(StdStream::Stdout, time(&stamp), &text, ready);
        if feed.is_some() {
            self.bytes.advance(1);
            self.line.end(StdStream::Stdout, true, ready);
            (self.stamp, self.plain) = (None, false);
        }
        true
    }

    fn begin(&mut self, timed: bool, feed: Option<usize>) {
        let space = self.bytes[..feed.unwrap_or(self.bytes.len())].iter().position(|byte| *byte == b' ');
        let space = space.filter(|space| timed && *space < LONGEST_STAMP);
        self.plain = space.is_none();
        self.stamp = Some(space.map_or_else(Bytes::new, |space| {
            let stamp = self.bytes.split_to(space).freeze();
            self.bytes.advance(1);
            stamp
        }));
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const T1: &str = "2026-11-22T10:12:31.257767365Z";
    const T2: &str = "2026-11-22T10:12:32.000000001Z";

    fn read(format: Format, frames: &[(StdStream, String)]) -> Vec<(String, bool)> {
        let mut lines = PartialLines::new(format);
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
    fn raw_bytes_may_come_in_any_pieces() {
        let (long, more) = ("x".repeat(PIECE), "y".repeat(PIECE + 7));
        let text = format!("{T1} {long}{T1} {more}\n{T2} \n{T2} {long}\nno time\n{T1} z");
        let joined = format!("{long}{more}");
        let expected = [(joined.as_str(), true), ("", true), (&long, true), ("time", true), ("z", false)];
        for step in [1, 61, 5000, PIECE] {
            let frames: Vec<_> = text.as_bytes().chunks(step).map(Bytes::copy_from_slice).collect();
            let mut lines = PartialLines::new(Format::RawTimed);
            frames.iter().for_each(|frame| lines.push(StdStream::Stdout, frame));
            lines.finish();
            let got: Vec<_> = std::iter::from_fn(|| lines.next()).collect();
            let got: Vec<_> =
                got.iter().map(|line| (std::str::from_utf8(&line.line).unwrap(), line.terminated)).collect();
            assert_eq!(got, expected, "pieces of {step}");
        }
    }

    #[test]
    fn long_line_is_never_kept_whole() {
        let frame = Bytes::from(format!("{T1} {}", "x".repeat(PIECE)));
        for format in [Format::Framed { one_time: true }, Format::RawTimed, Format::RawBare] {
            let (mut lines, mut longest, mut total) = (PartialLines::new(format), 0, 0);
            let mut drain = |lines: &mut PartialLines| {
                for line in std::iter::from_fn(|| lines.next()) {
                    longest = longest.max(line.line.len());
                    total += line.line.len();
                }
            };
            for _ in 0..640 {
                lines.push(StdStream::Stdout, &frame);
                drain(&mut lines);
            }
            lines.finish();
            drain(&mut lines);
            let kept = if format == Format::RawBare { frame.len() } else { PIECE };
            assert_eq!((longest, total), (hythe_runtime::MAX_LOG_LINE, 640 * kept), "{format:?}");
        }
    }

    #[test]
    fn an_empty_line_is_a_line() {
        assert_eq!(
            read(Format::Framed { one_time: true }, &[(StdStream::Stdout, format!("{T1} \n"))]),
            [(String::new(), true)]
        );
    }
}

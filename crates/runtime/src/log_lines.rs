//! Log lines of bounded size: a long line is split into parts, and a tail holds a bounded number of bytes.
//!
//! For: drivers, which read lines of any length and may keep none of them whole. Not for: any engine's log format.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use crate::{LogLine, StdStream};

/// The most bytes of one [`LogLine`]. A longer line is delivered in parts.
pub const MAX_LOG_LINE: usize = 1 << 20;

/// The most bytes that a tail holds. What is older is left out.
pub const MAX_LOG_TAIL: usize = 32 << 20;

/// A line whose line feed has not come yet.
#[derive(Debug, Clone, Default)]
pub struct OpenLine {
    time: Option<Timestamp>,
    bytes: BytesMut,
    open: bool,
}

impl OpenLine {
    /// Whether a line was begun.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// When the line was begun.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// Adds bytes, which contain no line feed. Parts that are full go to `out`. The line has the time of its first bytes.
    pub fn push(
        &mut self,
        stream: StdStream,
        time: Option<Timestamp>,
        mut bytes: &[u8],
        out: &mut impl Extend<LogLine>,
    ) {
        if !self.open {
            (self.open, self.time) = (true, time);
        }
        while self.bytes.len() + bytes.len() > MAX_LOG_LINE {
            let (now, later) = bytes.split_at(MAX_LOG_LINE - self.bytes.len());
            self.bytes.extend_from_slice(now);
            bytes = later;
            let rest = self.bytes.split_off(whole_characters(&self.bytes));
            let part = std::mem::replace(&mut self.bytes, rest);
            out.extend([self.line(stream, part.freeze(), false, true)]);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends the line. One that was never begun gives nothing.
    pub fn end(&mut self, stream: StdStream, terminated: bool, out: &mut impl Extend<LogLine>) {
        if std::mem::take(&mut self.open) {
            let last = std::mem::take(&mut self.bytes).freeze();
            out.extend([self.line(stream, last, terminated, false)]);
        }
        self.time = None;
    }

    fn line(&self, stream: StdStream, line: Bytes, terminated: bool, partial: bool) -> LogLine {
        LogLine { stream, time: self.time, line, terminated, partial, after_gap: false }
    }
}

/// The length without a character at the end that is not complete: a part of a text is a text.
fn whole_characters(bytes: &[u8]) -> usize {
    let last = bytes[bytes.len().saturating_sub(4)..].utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let incomplete = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if incomplete { bytes.len() - last.len() } else { bytes.len() }
}

/// Whether a line is of this time: `since` and after, before `until`. One without a time is.
pub fn in_time(line: &LogLine, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
    line.time.is_none_or(|time| since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until))
}

/// The last so many lines. It holds [`MAX_LOG_TAIL`] bytes at most.
#[derive(Debug)]
pub struct LogTail {
    wanted: u64,
    ended: u64,
    bytes: usize,
    held: VecDeque<LogLine>,
}

impl LogTail {
    /// A tail of so many lines.
    pub fn new(wanted: u64) -> Self {
        Self { wanted, ended: 0, bytes: 0, held: VecDeque::new() }
    }

    /// Holds one more; gives what is held no more, oldest first. The parts of a line count as one line.
    pub fn push(&mut self, line: LogLine) -> Vec<LogLine> {
        self.bytes += line.line.len();
        self.ended += u64::from(!line.partial);
        self.held.push_back(line);
        let mut dropped = Vec::new();
        while self.ended > self.wanted {
            self.drop_first_line(&mut dropped);
        }
        while self.bytes > MAX_LOG_TAIL || (self.wanted == 0 && !self.held.is_empty()) {
            self.remove(0, &mut dropped);
        }
        dropped
    }

    /// The line that ended first, with its parts, between which parts of the other stream may stand.
    fn drop_first_line(&mut self, dropped: &mut Vec<LogLine>) {
        let Some(end) = self.held.iter().position(|line| !line.partial) else { return };
        let (stream, mut at) = (self.held[end].stream, 0);
        for _ in 0..=end {
            if self.held[at].stream == stream { self.remove(at, dropped) } else { at += 1 }
        }
    }

    fn remove(&mut self, at: usize, dropped: &mut Vec<LogLine>) {
        if let Some(line) = self.held.remove(at) {
            self.bytes -= line.line.len();
            self.ended -= u64::from(!line.partial);
            dropped.push(line);
        }
    }

    /// What is held, oldest first.
    pub fn into_lines(self) -> VecDeque<LogLine> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: StdStream = StdStream::Stdout;

    fn split(pieces: &[&[u8]]) -> Vec<LogLine> {
        let (mut line, mut out) = (OpenLine::default(), Vec::new());
        pieces.iter().for_each(|piece| line.push(OUT, Some(Timestamp::UNIX_EPOCH), piece, &mut out));
        line.end(OUT, true, &mut out);
        out
    }

    #[test]
    fn long_line_is_split_into_bounded_parts_of_one_time() {
        let long = vec![b'x'; 3 * MAX_LOG_LINE + 5];
        for pieces in [vec![&long[..]], long.chunks(8192).collect(), long.chunks(300_001).collect()] {
            let parts = split(&pieces);
            let marks: Vec<_> = parts.iter().map(|part| (part.line.len(), part.partial, part.terminated)).collect();
            let full = (MAX_LOG_LINE, true, false);
            assert_eq!(marks, [full, full, full, (5, false, true)]);
            assert!(parts.iter().all(|part| part.time == Some(Timestamp::UNIX_EPOCH)));
        }
    }

    #[test]
    fn line_of_the_longest_length_is_whole_and_an_empty_one_is_a_line() {
        assert_eq!(split(&[&vec![b'x'; MAX_LOG_LINE]]).len(), 1);
        assert_eq!(split(&[b""]).len(), 1);
        let (mut line, mut out) = (OpenLine::default(), Vec::new());
        line.end(OUT, false, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn part_of_a_text_is_a_text_and_bytes_come_back() {
        let text = "x".to_owned() + &"\u{1f6a2}".repeat(MAX_LOG_LINE / 4 + 9);
        let parts = split(&[text.as_bytes()]);
        assert!(parts.iter().all(|part| std::str::from_utf8(&part.line).is_ok()));
        assert_eq!(parts.concat_lines(), text.as_bytes());
        let binary: Vec<u8> = (0..2 * MAX_LOG_LINE + 7).map(|at| (at % 251) as u8 | 0x80).collect();
        let parts = split(&[&binary]);
        assert!(parts.iter().all(|part| part.line.len() <= MAX_LOG_LINE));
        assert_eq!(parts.concat_lines(), binary);
    }

    trait Concat {
        fn concat_lines(&self) -> Vec<u8>;
    }

    impl Concat for Vec<LogLine> {
        fn concat_lines(&self) -> Vec<u8> {
            self.iter().flat_map(|part| part.line.to_vec()).collect()
        }
    }

    fn line(stream: StdStream, text: &'static str, partial: bool) -> LogLine {
        LogLine {
            stream,
            time: None,
            line: Bytes::from_static(text.as_bytes()),
            terminated: !partial,
            partial,
            after_gap: false,
        }
    }

    fn tail(wanted: u64, lines: Vec<LogLine>) -> Vec<String> {
        let mut tail = LogTail::new(wanted);
        for line in lines {
            tail.push(line);
        }
        tail.into_lines().into_iter().map(|line| String::from_utf8_lossy(&line.line).into_owned()).collect()
    }

    #[test]
    fn tail_counts_the_parts_of_a_line_as_one() {
        let lines = || vec![line(OUT, "a", false), line(OUT, "b1", true), line(OUT, "b2", false)];
        assert_eq!(tail(1, lines()), ["b1", "b2"]);
        assert_eq!(tail(2, lines()), ["a", "b1", "b2"]);
        assert!(tail(0, lines()).is_empty());
        let mixed = vec![
            line(OUT, "a1", true),
            line(StdStream::Stderr, "e", false),
            line(OUT, "a2", false),
            line(OUT, "z", false),
        ];
        assert_eq!(tail(2, mixed), ["a1", "a2", "z"]);
    }

    #[test]
    fn tail_holds_a_bounded_number_of_bytes() {
        let mut tail = LogTail::new(1_000_000);
        let part = Bytes::from(vec![b'x'; MAX_LOG_LINE]);
        for _ in 0..100 {
            tail.push(LogLine { line: part.clone(), ..line(OUT, "", true) });
        }
        let held: usize = tail.into_lines().iter().map(|line| line.line.len()).sum();
        assert_eq!(held, MAX_LOG_TAIL);
    }
}

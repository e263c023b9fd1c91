//! The file format that conmon writes, `<time> <stream> <P|F> <bytes>`, put together into lines. Pure.
//!
//! `F` ends a line, `P` is a part of one: a long line comes in parts of 8 KiB, and an unterminated last one is a lone `P`.

use std::mem;

use bytes::{Bytes, BytesMut};
use hythe_runtime::{LogLine, MAX_LOG_LINE, OpenLine, StdStream};
use jiff::Timestamp;

/// Puts records together into lines, each stream on its own.
#[derive(Debug, Default)]
pub(crate) struct LogParser {
    /// Bytes after the last line feed of the file.
    rest: Vec<u8>,
    stdout: OpenLine,
    stderr: OpenLine,
    /// A line left open before this moment belongs to an earlier run.
    started: Option<Timestamp>,
}

struct Record<'a> {
    time: Timestamp,
    stream: StdStream,
    ends: bool,
    bytes: &'a [u8],
}

impl LogParser {
    /// A parser for an instance whose last run wrote nothing before that moment, and earlier ones nothing after it.
    pub(crate) fn new(started: Option<Timestamp>) -> Self {
        Self { started, ..Self::default() }
    }

    /// Takes the next bytes of the file and hands over the lines that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], lines: &mut Vec<LogLine>) {
        self.rest.extend_from_slice(bytes);
        let whole = whole_records(&mut self.rest);
        for record in whole.split(|byte| *byte == b'\n').filter_map(record) {
            self.take(record, lines);
        }
    }

    /// Whether the last line of a stream is not ended yet.
    pub(crate) fn is_open(&self) -> bool {
        !self.rest.is_empty() || [&self.stdout, &self.stderr].into_iter().any(OpenLine::is_open)
    }

    /// The lines that were never ended, in the order in which they were begun.
    pub(crate) fn finish(&mut self, lines: &mut Vec<LogLine>) {
        let mut open = Vec::new();
        for stream in [StdStream::Stdout, StdStream::Stderr] {
            self.part(stream).end(stream, false, &mut open);
        }
        open.retain(|line| !line.line.is_empty());
        open.sort_by_key(|line| line.time);
        lines.extend(open);
    }

    fn take(&mut self, record: Record<'_>, lines: &mut Vec<LogLine>) {
        let started = self.started;
        let earlier_run = |begun: Timestamp| started.is_some_and(|started| begun < started && record.time >= started);
        let part = self.part(record.stream);
        if part.time().is_some_and(earlier_run) {
            part.end(record.stream, false, lines);
        }
        part.push(record.stream, Some(record.time), record.bytes, lines);
        if record.ends {
            part.end(record.stream, true, lines);
        }
    }

    fn part(&mut self, stream: StdStream) -> &mut OpenLine {
        match stream {
            StdStream::Stdout => &mut self.stdout,
            StdStream::Stderr => &mut self.stderr,
        }
    }
}

/// Takes out the records that are complete.
fn whole_records(rest: &mut Vec<u8>) -> Vec<u8> {
    let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
        // No record is that long: this is no log of conmon's.
        if rest.len() > MAX_LOG_LINE {
            rest.clear();
        }
        return Vec::new();
    };
    let tail = rest.split_off(end + 1);
    mem::replace(rest, tail)
}

/// Gives back what a process wrote, byte by byte, whether its lines have ended or not.
#[derive(Debug, Default)]
pub(crate) struct RawParser {
    /// Bytes after the last line feed of the file.
    rest: Vec<u8>,
}

impl RawParser {
    /// Takes the next bytes of the file and gives what the process wrote, by stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<(StdStream, Bytes)> {
        self.rest.extend_from_slice(bytes);
        let mut written: Vec<(StdStream, BytesMut)> = Vec::new();
        for record in whole_records(&mut self.rest).split(|byte| *byte == b'\n').filter_map(record) {
            if written.last().is_none_or(|(stream, _)| *stream != record.stream) {
                written.push((record.stream, BytesMut::new()));
            }
            let Some((_, last)) = written.last_mut() else { continue };
            last.extend_from_slice(record.bytes);
            last.extend_from_slice(if record.ends { b"\n" } else { b"" });
        }
        written.into_iter().map(|(stream, bytes)| (stream, bytes.freeze())).collect()
    }
}

fn record(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let mut word = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let time = word()?.parse().ok()?;
    let stream = match word()? {
        "stdout" => StdStream::Stdout,
        "stderr" => StdStream::Stderr,
        _ => return None,
    };
    let ends = word()? == "F";
    Some(Record { time, stream, ends, bytes: fields.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-22T09:57:36.533723958+00:00";

    fn lines(file: &str, started: Option<Timestamp>, step: usize) -> Vec<(String, bool)> {
        let mut parser = LogParser::new(started);
        let mut lines = Vec::new();
        file.as_bytes().chunks(step).for_each(|chunk| parser.feed(chunk, &mut lines));
        parser.finish(&mut lines);
        lines.into_iter().map(|line| (String::from_utf8_lossy(&line.line).into_owned(), line.terminated)).collect()
    }

    #[test]
    fn parts_of_both_streams_are_kept_apart() {
        let file = format!("{AT} stdout P a\n{AT} stderr F x\n{AT} stdout F b\n{AT} stdout F \n{AT} stdout P tail\n");
        for step in [1, 7, 4096] {
            let lines = lines(&file, None, step);
            let expected = [("x", true), ("ab", true), ("", true), ("tail", false)];
            assert_eq!(lines, expected.map(|(line, ended)| (line.to_owned(), ended)));
        }
    }

    #[test]
    fn raw_output_is_what_was_written() {
        let file = format!("{AT} stdout P > \n{AT} stderr F x\n{AT} stdout F b\n{AT} stdout F \n{AT} stdout P tail\n");
        for step in [1, 7, 4096] {
            let (mut parser, mut out, mut err) = (RawParser::default(), Vec::new(), Vec::new());
            for (stream, bytes) in file.as_bytes().chunks(step).flat_map(|chunk| parser.feed(chunk)) {
                if stream == StdStream::Stdout { out.extend(bytes) } else { err.extend(bytes) }
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"> b\n\ntail"[..], &b"x\n"[..]), "{step}");
        }
    }

    #[test]
    fn a_part_leaves_the_line_open() {
        let (mut parser, mut lines) = (LogParser::default(), Vec::new());
        let mut open_after = |bytes: String| {
            parser.feed(bytes.as_bytes(), &mut lines);
            parser.is_open()
        };
        assert!(!open_after(String::new()));
        assert!(open_after(format!("{AT} stdout P a\n")));
        assert!(!open_after(format!("{AT} stdout F b\n")));
        assert!(open_after(format!("{AT} stdout F half a rec")));
    }

    #[test]
    fn an_open_line_of_an_earlier_run_stays_its_own() {
        let file = "2026-01-01T00:00:00Z stdout P old\n2026-01-02T00:00:01Z stdout F new\n";
        let lines = lines(file, "2026-01-02T00:00:00Z".parse().ok(), 4096);
        assert_eq!(lines, [("old".to_owned(), false), ("new".to_owned(), true)]);
    }
}

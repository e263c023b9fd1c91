//! Lines on their way out: bytes untouched unless a terminal shows them, names in front where there are several, streams kept apart.

use std::io::{self, BufWriter, Write};

use anstyle::{AnsiColor, Style};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hythe_api::{LogLine, StdStream};
use serde::Serialize;

use crate::escape;

const HUES: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Red];

/// RFC 3339 in UTC, always as wide.
const TIME: &str = "%Y-%m-%dT%H:%M:%S.%9fZ";

/// How lines are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) timestamps: bool,
    pub(super) json: bool,
    pub(super) stdout: Shown,
    pub(super) stderr: Shown,
}

/// How one of the two ways out shows lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    /// It is a terminal: control characters are escaped.
    pub(super) escaped: bool,
    pub(super) color: bool,
}

/// One of the two ways out, and whose line is not complete there.
struct Way {
    out: Box<dyn Write>,
    open: Option<usize>,
    shown: Shown,
}

/// Writes lines of several workloads.
pub(super) struct Writer {
    names: Vec<String>,
    prefixes: Vec<String>,
    look: Look,
    stdout: Way,
    stderr: Way,
}

#[derive(Debug, Serialize)]
struct Item<'a> {
    workload: &'a str,
    #[serde(flatten)]
    line: &'a LogLine,
}

impl Writer {
    pub(super) fn new(names: Vec<String>, look: Look) -> Self {
        Self::onto(names, look, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    fn onto(names: Vec<String>, look: Look, stdout: Box<dyn Write>, stderr: Box<dyn Write>) -> Self {
        let way = |out, shown| Way { out: Box::new(BufWriter::new(out)), open: None, shown };
        Self {
            prefixes: prefixes(&names, look.stdout.color),
            names,
            look,
            stdout: way(stdout, look.stdout),
            stderr: way(stderr, look.stderr),
        }
    }

    /// The workload of a source.
    pub(super) fn name(&self, source: usize) -> &str {
        &self.names[source]
    }

    pub(super) fn write(&mut self, source: usize, line: &LogLine) -> io::Result<()> {
        if self.look.json {
            let item = serde_json::to_string(&Item { workload: &self.names[source], line })?;
            return writeln!(self.stdout.out, "{}", escape::json(&item));
        }
        let way = match line.stream {
            StdStream::Stdout => &mut self.stdout,
            StdStream::Stderr => &mut self.stderr,
        };
        if way.open != Some(source) {
            if way.open.is_some() {
                way.out.write_all(b"\n")?;
            }
            way.out.write_all(self.prefixes[source].as_bytes())?;
            if let Some(time) = line.time.filter(|_| self.look.timestamps) {
                write!(way.out, "{} ", time.strftime(TIME))?;
            }
        }
        way.write(bytes(line), line.terminated)?;
        if line.terminated {
            way.out.write_all(b"\n")?;
        }
        way.open = (!line.terminated).then_some(source);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.stdout.out.flush()?;
        self.stderr.out.flush()
    }
}

impl Way {
    fn write(&mut self, mut bytes: Vec<u8>, terminated: bool) -> io::Result<()> {
        if !self.shown.escaped {
            return self.out.write_all(&bytes);
        }
        // A program with a terminal of its own ends its lines with both.
        if terminated && bytes.ends_with(b"\r") {
            bytes.pop();
        }
        self.out.write_all(&escape::log_line(&bytes, self.shown.color))
    }
}

/// The line's bytes without a line feed.
pub(super) fn bytes(line: &LogLine) -> Vec<u8> {
    match (&line.text, &line.base64) {
        (Some(text), _) => text.clone().into_bytes(),
        // What is no base64 is shown rather than lost.
        (None, Some(coded)) => STANDARD.decode(coded).unwrap_or_else(|_| coded.clone().into_bytes()),
        (None, None) => Vec::new(),
    }
}

/// Names of one width, in colours of their own; nothing where there is only one.
fn prefixes(names: &[String], color: bool) -> Vec<String> {
    if let [_] = names {
        return vec![String::new()];
    }
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let prefix = |(name, hue): (&String, AnsiColor)| {
        let style = if color { Style::new().fg_color(Some(hue.into())) } else { Style::new() };
        format!("{style}{name:width$} |{style:#} ")
    };
    names.iter().zip(HUES.into_iter().cycle()).map(prefix).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(stream: StdStream, bytes: &[u8], terminated: bool) -> LogLine {
        let text = String::from_utf8(bytes.to_vec()).ok();
        let base64 = text.is_none().then(|| STANDARD.encode(bytes));
        LogLine { stream, time: None, text, base64, terminated, partial: false, after_gap: false }
    }

    fn written(names: &[&str], look: Look, lines: &[(usize, LogLine)]) -> [Vec<u8>; 2] {
        let (out, err) = (Shared::default(), Shared::default());
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let mut writer = Writer::onto(names, look, Box::new(out.clone()), Box::new(err.clone()));
        for (source, line) in lines {
            writer.write(*source, line).unwrap();
        }
        writer.flush().unwrap();
        [out, err].map(|shared| shared.0.lock().unwrap().clone())
    }

    #[test]
    fn bytes_arrive_as_they_were_written_each_stream_on_its_own() {
        let lines = [
            (0, line(StdStream::Stdout, b"a\xff\x00b", true)),
            (0, line(StdStream::Stderr, b"oops", true)),
            (0, line(StdStream::Stdout, b"no end", false)),
        ];
        let [out, err] = written(&["web"], Look::default(), &lines);
        assert_eq!(out, b"a\xff\x00b\nno end");
        assert_eq!(err, b"oops\n");
    }

    #[test]
    fn terminal_is_shown_control_characters_escaped_and_a_file_is_not() {
        let lines = [(0, line(StdStream::Stdout, b"\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07\r", true))];
        let look = Look { stdout: Shown { escaped: true, color: true }, ..Look::default() };
        let [out, _] = written(&["web"], look, &lines);
        assert_eq!(out, b"\x1b[31mred\x1b[0m \\x1b]52;c;aGk=\\x07\x1b[0m\n");
        let [out, _] = written(&["web"], Look::default(), &lines);
        assert_eq!(out, b"\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07\r\n");
    }

    #[test]
    fn several_workloads_are_named_and_a_broken_line_goes_on() {
        let lines = [
            (0, line(StdStream::Stdout, b"one ", false)),
            (0, line(StdStream::Stdout, b"line", true)),
            (0, line(StdStream::Stdout, b"cut", false)),
            (1, line(StdStream::Stdout, b"other", true)),
        ];
        let [out, _] = written(&["web", "queue"], Look::default(), &lines);
        assert_eq!(String::from_utf8(out).unwrap(), "web   | one line\nweb   | cut\nqueue | other\n");
    }

    #[test]
    fn times_are_all_as_wide() {
        let look = Look { timestamps: true, ..Look::default() };
        let mut stamped = line(StdStream::Stdout, b"x", true);
        stamped.time = Some(jiff::Timestamp::UNIX_EPOCH);
        let [out, _] = written(&["web"], look, &[(0, stamped)]);
        assert_eq!(out, b"1970-01-01T00:00:00.000000000Z x\n");
    }

    #[test]
    fn json_is_one_document_a_line_and_goes_to_stdout() {
        let look = Look { json: true, ..Look::default() };
        let [out, err] = written(&["web"], look, &[(0, line(StdStream::Stderr, b"oops", true))]);
        let expected = "{\"workload\":\"web\",\"stream\":\"stderr\",\"text\":\"oops\",\"terminated\":true}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(err.is_empty());
    }
}

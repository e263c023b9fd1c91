//! The last log lines of an instance that failed: few, and each of bounded length, since they are kept and shown.

use futures_util::StreamExt;
use hythe_runtime::{LogStream, StdStream};

/// Log lines kept with an end.
pub(super) const LAST_LINES: u64 = 50;
/// Bytes kept of a line.
const LONGEST: usize = 4 << 10;

/// The lines of a log. A longer one is cut, with a mark that says how much is missing.
pub(super) async fn collect(mut log: LogStream) -> Vec<String> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open: [Option<usize>; 2] = [None, None];
    while let Some(next) = log.next().await {
        let Ok(part) = next else { continue };
        let open = &mut open[usize::from(part.stream == StdStream::Stderr)];
        let at = open.take().unwrap_or_else(|| {
            lines.push(Line::default());
            lines.len() - 1
        });
        lines[at].push(&part.line);
        *open = part.partial.then_some(at);
    }
    lines.into_iter().map(Line::text).collect()
}

#[derive(Debug, Default)]
struct Line {
    kept: Vec<u8>,
    length: usize,
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let room = LONGEST - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len();
    }

    fn text(self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        match self.length - self.kept.len() {
            0 => text.into_owned(),
            more => format!("{}… ({more} bytes more)", text.trim_end_matches('\u{fffd}')),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use hythe_runtime::LogLine;

    use super::*;

    #[tokio::test]
    async fn long_line_is_cut_with_a_mark_and_counts_once() {
        let line = |stream, length: usize, partial: bool| {
            let line = vec![b'x'; length].into();
            Ok(LogLine { stream, time: None, line, terminated: !partial, partial, after_gap: false })
        };
        let (out, err) = (StdStream::Stdout, StdStream::Stderr);
        let parts = [line(out, 1 << 20, true), line(err, 2, false), line(out, 1 << 20, true), line(out, 1, false)];
        let lines = collect(stream::iter(parts).boxed()).await;
        let marked = format!("{}… ({} bytes more)", "x".repeat(LONGEST), (2 << 20) + 1 - LONGEST);
        assert_eq!(lines, [marked, "xx".to_owned()]);
    }
}

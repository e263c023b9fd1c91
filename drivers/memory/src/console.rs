//! What an instance wrote: kept as lines, and handed on as it comes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hythe_runtime::{LogLine, OpenLine, StdStream, watched};
use jiff::Timestamp;
use tokio::sync::mpsc;

type Output = (StdStream, Bytes);

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<LogLine>,
    /// Begun lines, without their line feed yet.
    open: [OpenLine; 2],
    listeners: Vec<mpsc::UnboundedSender<Output>>,
    last: Timestamp,
}

/// The log of one instance, over all its starts.
#[derive(Debug, Default)]
pub(crate) struct Console {
    kept: Mutex<Kept>,
    grown: watched::Sender<u64>,
}

impl Console {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, stream: StdStream, bytes: &Bytes) {
        self.kept().write(stream, bytes);
        self.grown.send_modify(|times| *times += 1);
    }

    /// The process ended: what is open becomes an unterminated line, and listeners are done.
    pub(crate) fn close(&self) {
        let mut kept = self.kept();
        kept.end_all();
        kept.listeners.clear();
        drop(kept);
        self.grown.send_modify(|times| *times += 1);
    }

    /// Output from now on.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Output> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.kept().listeners.push(sender);
        receiver
    }

    pub(crate) fn growth(&self) -> watched::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Complete lines from the given one on.
    pub(crate) fn lines_from(&self, at: usize) -> Vec<LogLine> {
        self.kept().lines.get(at..).unwrap_or_default().to_vec()
    }

    /// Everything, begun lines too.
    pub(crate) fn snapshot(&self) -> Vec<LogLine> {
        let kept = self.kept();
        let mut lines = kept.lines.clone();
        in_order(kept.open.clone(), &mut lines);
        lines
    }
}

impl Kept {
    fn write(&mut self, stream: StdStream, bytes: &Bytes) {
        self.last = Timestamp::now().max(self.last);
        self.listeners.retain(|listener| listener.send((stream, bytes.clone())).is_ok());
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let terminated = pieces.peek().is_some();
            if terminated || !piece.is_empty() {
                self.extend(stream, piece, terminated);
            }
        }
    }

    fn extend(&mut self, stream: StdStream, piece: &[u8], terminated: bool) {
        let open = &mut self.open[usize::from(stream == StdStream::Stderr)];
        open.push(stream, Some(self.last), piece, &mut self.lines);
        if terminated {
            open.end(stream, true, &mut self.lines);
        }
    }

    fn end_all(&mut self) {
        in_order(std::mem::take(&mut self.open), &mut self.lines);
    }
}

/// Begun lines without their line feed, the first begun first.
fn in_order(mut open: [OpenLine; 2], lines: &mut Vec<LogLine>) {
    let stderr_first = open[1].is_open() && open[1].time() < open[0].time();
    for at in if stderr_first { [1, 0] } else { [0, 1] } {
        let stream = if at == 0 { StdStream::Stdout } else { StdStream::Stderr };
        open[at].end(stream, false, lines);
    }
}

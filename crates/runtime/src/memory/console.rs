//! What an instance wrote: kept as lines, and handed on as it comes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::{LogLine, StdStream};

type Output = (StdStream, Bytes);

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<LogLine>,
    /// Begun lines, without their line feed yet.
    open: Vec<(StdStream, Timestamp, Vec<u8>)>,
    listeners: Vec<mpsc::UnboundedSender<Output>>,
    last: Timestamp,
}

/// The log of one instance, over all its starts.
#[derive(Debug, Default)]
pub(super) struct Console {
    kept: Mutex<Kept>,
    grown: watch::Sender<u64>,
}

impl Console {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, stream: StdStream, bytes: &Bytes) {
        self.kept().write(stream, bytes);
        self.grown.send_modify(|times| *times += 1);
    }

    /// The process ended: what is open becomes an unterminated line, and listeners are done.
    pub(super) fn close(&self) {
        let mut kept = self.kept();
        for (stream, time, line) in std::mem::take(&mut kept.open) {
            kept.lines.push(LogLine { stream, time: Some(time), line: line.into(), terminated: false });
        }
        kept.listeners.clear();
        drop(kept);
        self.grown.send_modify(|times| *times += 1);
    }

    /// Output from now on.
    pub(super) fn listen(&self) -> mpsc::UnboundedReceiver<Output> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.kept().listeners.push(sender);
        receiver
    }

    pub(super) fn growth(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Complete lines from the given one on.
    pub(super) fn lines_from(&self, at: usize) -> Vec<LogLine> {
        self.kept().lines.get(at..).unwrap_or_default().to_vec()
    }

    /// Everything, begun lines too.
    pub(super) fn snapshot(&self) -> Vec<LogLine> {
        let kept = self.kept();
        let open = kept.open.iter().map(|(stream, time, line)| LogLine {
            stream: *stream,
            time: Some(*time),
            line: Bytes::copy_from_slice(line),
            terminated: false,
        });
        kept.lines.iter().cloned().chain(open).collect()
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
        let now = self.last;
        let at = self.open.iter().position(|(open, _, _)| *open == stream).unwrap_or_else(|| {
            self.open.push((stream, now, Vec::new()));
            self.open.len() - 1
        });
        self.open[at].2.extend_from_slice(piece);
        if terminated {
            let (stream, _, line) = self.open.remove(at);
            self.lines.push(LogLine { stream, time: Some(now), line: line.into(), terminated: true });
        }
    }
}

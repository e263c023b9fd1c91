//! Reading a file while it is still being written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How far a file has come; one writes, one reads.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// Begun anew or given up: what was read is worth nothing.
    Broken,
}

impl Tail {
    pub(crate) fn reader(self: &Arc<Self>, path: &Path) -> io::Result<TailReader> {
        Ok(TailReader { file: File::open(path)?, at: 0, tail: Arc::clone(self) })
    }

    pub(crate) fn advance(&self, written: u64) {
        self.change(|state| state.written = written);
    }

    pub(crate) fn finish(&self) {
        self.change(|state| state.end = state.end.or(Some(End::Whole)));
    }

    pub(crate) fn give_up(&self) {
        self.change(|state| state.end = state.end.or(Some(End::Broken)));
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.lock().end == Some(End::Broken)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far can be read now; waits where that is no further than `at`. The same as `at` at the end.
    fn wait(&self, at: u64) -> io::Result<u64> {
        let waits = |state: &mut State| state.end.is_none() && state.written <= at;
        let state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        match state.end {
            Some(End::Broken) => Err(io::Error::other("the download was given up")),
            _ => Ok(state.written),
        }
    }
}

/// Blocks until there is more, the file is whole, or it was given up.
pub(crate) struct TailReader {
    file: File,
    at: u64,
    tail: Arc<Tail>,
}

impl Read for TailReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.tail.wait(self.at)?.saturating_sub(self.at);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

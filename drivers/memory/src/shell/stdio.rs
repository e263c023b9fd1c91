//! Where a process reads and writes.

use std::sync::Arc;

use bytes::Bytes;
use hythe_runtime::{Result, StdStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Mutex, mpsc};

use crate::console::Console;
use crate::files::{FileError, View};

/// Room in a pipe.
const PIPE: usize = 64 * 1024;

/// A stdin; processes that share it take turns.
#[derive(Clone)]
pub(crate) struct Input(Arc<Mutex<Box<dyn AsyncRead + Send + Unpin>>>);

impl Input {
    pub(crate) fn new(reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Arc::new(Mutex::new(Box::new(reader))))
    }

    /// Nothing to read.
    pub(crate) fn empty() -> Self {
        Self::new(tokio::io::empty())
    }

    /// Up to so many bytes; none at the end.
    pub(super) async fn read(&self, most: usize) -> Bytes {
        let mut buffer = vec![0; most.min(PIPE)];
        let read = self.0.lock().await.read(&mut buffer).await.unwrap_or(0);
        buffer.truncate(read);
        buffer.into()
    }

    pub(super) async fn read_all(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let bytes = self.read(PIPE).await;
            if bytes.is_empty() {
                return all;
            }
            all.extend_from_slice(&bytes);
        }
    }

    /// One line without its line feed; `None` at the end.
    pub(super) async fn read_line(&self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let byte = self.read(1).await;
            match byte.first() {
                None if line.is_empty() => return None,
                None | Some(b'\n') => return Some(String::from_utf8_lossy(&line).into_owned()),
                Some(byte) => line.push(*byte),
            }
        }
    }
}

/// A stdout or stderr.
#[derive(Clone)]
pub(crate) enum Sink {
    Null,
    Console(Arc<Console>, StdStream),
    Session { sender: mpsc::Sender<Result<(StdStream, Bytes)>>, stream: StdStream, terminal: bool },
    Buffer(Arc<std::sync::Mutex<Vec<u8>>>),
    Pipe(Arc<Mutex<DuplexStream>>),
    File(View, String),
}

impl Sink {
    /// A pipe and its reading end.
    pub(super) fn pipe() -> (Self, Input) {
        let (write, read) = tokio::io::duplex(PIPE);
        (Self::Pipe(Arc::new(Mutex::new(write))), Input::new(read))
    }

    pub(super) async fn write(&self, bytes: impl Into<Bytes>) -> std::result::Result<(), FileError> {
        let bytes = bytes.into();
        match self {
            Self::Null => {}
            Self::Console(console, stream) => console.write(*stream, &bytes),
            Self::Session { sender, stream, terminal } => {
                let bytes = if *terminal { with_returns(&bytes) } else { bytes };
                sender.send(Ok((*stream, bytes))).await.map_err(|_| FileError::Other)?;
            }
            Self::Buffer(buffer) => {
                buffer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(&bytes);
            }
            Self::Pipe(pipe) => pipe.lock().await.write_all(&bytes).await?,
            Self::File(view, path) => view.write(path, &bytes, true)?,
        }
        Ok(())
    }
}

/// What a terminal makes of line feeds.
fn with_returns(bytes: &Bytes) -> Bytes {
    let mut all = Vec::with_capacity(bytes.len() + 8);
    for byte in bytes {
        if *byte == b'\n' {
            all.push(b'\r');
        }
        all.push(*byte);
    }
    all.into()
}

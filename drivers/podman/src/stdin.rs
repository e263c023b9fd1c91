//! Stdin of a session: shutting it down is the end of file, also for a pipe, which knows no such thing.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

type Pipe = Pin<Box<dyn AsyncWrite + Send>>;

/// The writing end. It is closed when shut down, or when its last clone is dropped: who holds one keeps it open.
#[derive(Clone)]
pub(crate) struct Stdin(Arc<Mutex<Option<Pipe>>>);

impl Stdin {
    pub(crate) fn new(pipe: impl AsyncWrite + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(pipe)))))
    }

    fn with_pipe<T>(
        &self,
        act: impl FnOnce(Pin<&mut (dyn AsyncWrite + Send)>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(pipe) => act(pipe.as_mut()),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with_pipe(|pipe| pipe.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_pipe(|pipe| pipe.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.with_pipe(|pipe| pipe.poll_flush(cx)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Poll::Ready(flushed.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        }))
    }
}

//! Serving connections: each in bounded time up to its request, and only so many at once.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::listen::Listener;

/// Time from the beginning of a connection, or the end of the request before, to the end of a request's head. It does not concern answers: streams
/// and sessions last as long as they last.
const HEAD: Duration = Duration::from_secs(10);
/// Before trying again where no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(200);
/// Most connections of each kind at once, whatever the limit of open files.
const MOST_TCP: usize = 512;
const MOST_UNIX: usize = 4096;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// By the Unix socket, whose permissions say who may.
    Unix,
    /// Over TCP, where anybody may connect.
    Tcp,
}

impl Entrance {
    /// Connections that are served at once. Together they leave half of the files that may be open to the agent's own work, and those over TCP
    /// leave the Unix socket twice as many as they have.
    fn most(self) -> usize {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
        match self {
            Self::Unix => MOST_UNIX.min(files / 3),
            Self::Tcp => MOST_TCP.min(files / 6),
        }
        .max(1)
    }
}

/// The connection a request came by, for those that must be able to end it from this side.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    entrance: Entrance,
    cut: CancellationToken,
}

impl Peer {
    pub(crate) fn new(entrance: Entrance) -> Self {
        Self { entrance, cut: CancellationToken::new() }
    }

    pub(crate) const fn entrance(&self) -> Entrance {
        self.entrance
    }

    /// Ends the connection, whatever its other side does.
    pub(crate) fn close(&self) {
        self.cut.cancel();
    }
}

/// Serves a listener until `closing`, then waits for the requests that are in flight.
pub(crate) async fn serve(listener: Listener, router: Router, closing: CancellationToken) {
    let entrance = listener.entrance();
    let mut places = Places::new(entrance);
    let connections = TaskTracker::new();
    let accepting = async {
        loop {
            let place = places.take().await;
            match listener.accept().await {
                Ok(stream) => {
                    let stream = Stream { stream, _place: place };
                    connections.spawn(connection(stream, router.clone(), Peer::new(entrance), closing.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, ?entrance, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    closing.run_until_cancelled(accepting).await;
    connections.close();
    connections.wait().await;
}

/// Places for connections; where all are taken, others wait in the kernel's queue.
struct Places {
    free: Arc<Semaphore>,
    entrance: Entrance,
    was_full: bool,
}

impl Places {
    fn new(entrance: Entrance) -> Self {
        Self { free: Arc::new(Semaphore::new(entrance.most())), entrance, was_full: false }
    }

    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            self.was_full = false;
            return Some(place);
        }
        if !std::mem::replace(&mut self.was_full, true) {
            let entrance = self.entrance;
            tracing::warn!(?entrance, most = entrance.most(), "as many connections as are served at once; others wait");
        }
        // The semaphore is never closed.
        self.free.clone().acquire_owned().await.ok()
    }
}

async fn connection(stream: Stream, router: Router, peer: Peer, closing: CancellationToken) {
    let cut = peer.cut.clone();
    let answer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer.clone()));
        router.clone().call(request.map(Body::new))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), answer).with_upgrades());
    let mut is_closing = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            () = closing.cancelled(), if !is_closing => {
                is_closing = true;
                served.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
        }
    }
}

/// A connection, which holds its place for as long as it is open, also as a WebSocket.
struct Stream {
    stream: Either<UnixStream, TcpStream>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

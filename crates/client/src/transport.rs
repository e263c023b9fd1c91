//! One connection per request, made in bounded time.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::{ClientError, Endpoint, ProtocolError};

const CONNECT: Duration = Duration::from_secs(2);
/// Listing the images of a slow engine takes long; a hung agent must not hang its callers for ever.
const ANSWER: Duration = Duration::from_secs(120);

/// Sends a request and waits for the head of the answer.
pub(crate) async fn send(
    endpoint: &Endpoint,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, ClientError> {
    let response = match endpoint {
        Endpoint::Unix(path) => exchange(connect(endpoint, UnixStream::connect(path)).await?, request).await,
        Endpoint::Tcp(address) => exchange(connect(endpoint, TcpStream::connect(address)).await?, request).await,
    };
    Ok(response?)
}

async fn connect<S>(endpoint: &Endpoint, connecting: impl Future<Output = io::Result<S>>) -> Result<S, ClientError> {
    let unreachable = |source| ClientError::Unreachable { endpoint: endpoint.clone(), source };
    timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ProtocolError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its errors reach the request or the body that is being read.
    tokio::spawn(connection.with_upgrades());
    match timeout(ANSWER, sender.send_request(request)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ProtocolError::NoAnswer(ANSWER)),
    }
}

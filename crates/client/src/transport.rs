//! One connection per request, made in bounded time.
//!
//! An answer may take long where an engine is slow. What tells a slow engine from an agent that is stopped is a second, small request, which an
//! agent that works answers at once.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::target::Target;
use crate::{ClientError, Endpoint, ProtocolError};

const CONNECT: Duration = Duration::from_secs(2);
/// Time without a word after which it is asked whether the agent is still there.
const QUIET: Duration = Duration::from_secs(5);
/// Time that a working agent may take to say so.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Listing the images of a slow engine takes long; a hung agent must not hang its callers for ever.
const ANSWER: Duration = Duration::from_secs(120);

/// Sends a request and waits for the head of the answer.
pub(crate) async fn send(target: &Target, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
    let mut sender = open(&target.endpoint).await?;
    watched(target, QUIET, sender.send_request(request)).await
}

/// The whole body of an answer.
pub(crate) async fn collect(target: &Target, response: Response<Incoming>) -> Result<Bytes, ClientError> {
    Ok(watched(target, QUIET, response.into_body().collect()).await?.to_bytes())
}

/// Waits for something from the agent as long as the agent gives signs of life.
async fn watched<T>(
    target: &Target,
    quiet: Duration,
    waiting: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, ClientError> {
    let mut waiting = pin!(waiting);
    let patiently = async {
        loop {
            match timeout(quiet, &mut waiting).await {
                Ok(done) => return Ok(done?),
                Err(_) => is_there(target, quiet).await?,
            }
        }
    };
    timeout(ANSWER, patiently).await.unwrap_or_else(|_| Err(ProtocolError::NoAnswer(ANSWER).into()))
}

/// Whatever it answers, it works. One that has gone ends the connection that is being waited on.
async fn is_there(target: &Target, quiet: Duration) -> Result<(), ClientError> {
    let asked = async {
        let mut request = Request::get("/healthz").body(Full::default())?;
        target.address(&mut request)?;
        open(&target.endpoint).await?.send_request(request).await?;
        Ok::<_, ClientError>(())
    };
    let silent = |_| ClientError::Silent { endpoint: target.endpoint.clone(), after: quiet + SIGN_OF_LIFE.min(quiet) };
    timeout(SIGN_OF_LIFE.min(quiet), asked).await.map_err(silent).map(drop)
}

async fn open(endpoint: &Endpoint) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    match endpoint {
        Endpoint::Unix(path) => begin(connect(endpoint, UnixStream::connect(path)).await?).await,
        Endpoint::Tcp(address) => begin(connect(endpoint, TcpStream::connect(address)).await?).await,
    }
}

async fn connect<S>(endpoint: &Endpoint, connecting: impl Future<Output = io::Result<S>>) -> Result<S, ClientError> {
    let unreachable = |source| ClientError::Unreachable { endpoint: endpoint.clone(), source };
    timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)
}

async fn begin<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its errors reach the request or the body that is being read.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    fn listen() -> (tempfile::TempDir, UnixListener, Target) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        (directory, listener, Target { endpoint: Endpoint::Unix(path), token: None })
    }

    #[tokio::test]
    async fn waiting_for_a_stopped_agent_ends() {
        let (_directory, _listener, target) = listen();
        let error = watched(&target, SHORT, std::future::pending::<Result<(), hyper::Error>>()).await.unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn waiting_for_a_slow_engine_goes_on_while_the_agent_lives() {
        let (_directory, listener, target) = listen();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                stream.write_all(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        let slow = async {
            tokio::time::sleep(SHORT * 5).await;
            Ok(7)
        };
        assert_eq!(watched(&target, SHORT, slow).await.unwrap(), 7);
    }
}

//! An HTTP GET. Redirects are not followed; of an answer no more is read than is needed.

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hythe_spec::HttpProbe;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::reason::Reason;

/// Bytes of a body in which the expected text is looked for.
const BODY: usize = 64 << 10;
/// Bytes that the head of an answer may have.
const HEAD: usize = 64 << 10;

pub(super) async fn get<S>(stream: S, host: &str, probe: &HttpProbe) -> Result<(), Reason>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Reason::broken(&error);
    let mut builder = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = builder.max_buf_size(HEAD).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _driving = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = http::Request::get(&probe.path);
    let own = [(HOST, host), (USER_AGENT, concat!("hythe/", env!("CARGO_PKG_VERSION")))];
    for (name, value) in own.iter().filter(|(name, _)| !probe.headers.contains_key(name.as_str())) {
        request = request.header(name, *value);
    }
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Reason::broken(&error))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    let expected = match probe.status.as_slice() {
        [] => (200..=399).contains(&status),
        expected => expected.iter().any(|statuses| statuses.contains(status)),
    };
    if !expected {
        return Err(Reason::Status(status, probe.status.clone()));
    }
    match &probe.body {
        Some(text) if !has(response.into_body(), text.as_bytes()).await? => Err(Reason::Body(status, text.clone())),
        _ => Ok(()),
    }
}

/// Whether the text is within the first bytes of the body.
async fn has(mut body: Incoming, text: &[u8]) -> Result<bool, Reason> {
    let mut read = Vec::new();
    while read.len() < BODY {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| Reason::broken(&error))?;
        let Some(bytes) = frame.data_ref() else { continue };
        // What was looked through before is not looked through again, however small the parts are.
        let from = read.len().saturating_sub(text.len());
        read.extend_from_slice(&bytes[..bytes.len().min(BODY - read.len())]);
        if read[from..].windows(text.len().max(1)).any(|window| window == text) {
            return Ok(true);
        }
    }
    Ok(false)
}

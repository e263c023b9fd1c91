//! Exec and attach: a WebSocket with one process at the other end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use futures_util::stream::{SplitSink, SplitStream, Stream, StreamExt};
use http::StatusCode;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hythe_api::{SessionEnd, Size, channel};
use serde::Serialize;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::call::Call;
use crate::target::Target;
use crate::{ClientError, ProtocolError};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A conversation with a process; both halves are used independently, so that neither direction can block the other.
#[derive(Debug)]
pub struct Session {
    /// To the process.
    pub input: SessionInput,
    /// From the process.
    pub output: SessionOutput,
}

/// The way to the process.
#[derive(Debug)]
pub struct SessionInput {
    sink: SplitSink<Socket, Message>,
}

/// The way from the process: a stream that ends after [`Output::End`].
#[derive(Debug)]
pub struct SessionOutput {
    stream: SplitStream<Socket>,
    path: String,
    ended: bool,
}

/// What a process said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes on its stdout, or on its terminal.
    Stdout(Bytes),
    /// Bytes on its stderr.
    Stderr(Bytes),
    /// It ended; the last item.
    End(SessionEnd),
}

impl Session {
    pub(crate) async fn open(target: &Target, path: String, start: &impl Serialize) -> Result<Self, ClientError> {
        let socket = upgrade(target, &path).await?;
        let (mut sink, stream) = socket.split();
        let unfit = |source| ProtocolError::Json { path: path.clone(), source };
        let start = serde_json::to_string(start).map_err(unfit)?;
        sink.send(Message::text(start)).await?;
        Ok(Self { input: SessionInput { sink }, output: SessionOutput { stream, path, ended: false } })
    }
}

/// By hyper and not by the WebSocket library: a refusal is then a problem document like any other.
async fn upgrade(target: &Target, path: &str) -> Result<Socket, ClientError> {
    let key = generate_key();
    let call = Call::get(path)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key);
    let response = call.send(target).await?;
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(http::HeaderValue::as_bytes);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS
        || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err(ProtocolError::Upgrade.into());
    }
    let stream = hyper::upgrade::on(response).await?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await)
}

impl SessionInput {
    /// Bytes for the process's stdin; waits while the process does not read.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.send(channel::STDIN, bytes).await
    }

    /// End of stdin.
    pub async fn end(&mut self) -> Result<(), ClientError> {
        self.send(channel::STDIN_EOF, &[]).await
    }

    /// A new size of the terminal.
    pub async fn resize(&mut self, size: Size) -> Result<(), ClientError> {
        let unfit = |source| ProtocolError::Json { path: "resize".to_owned(), source };
        let size = serde_json::to_vec(&size).map_err(unfit)?;
        self.send(channel::RESIZE, &size).await
    }

    async fn send(&mut self, channel: u8, payload: &[u8]) -> Result<(), ClientError> {
        let mut message = BytesMut::with_capacity(payload.len() + 1);
        message.put_u8(channel);
        message.put_slice(payload);
        Ok(self.sink.send(Message::binary(message.freeze())).await?)
    }
}

impl Stream for SessionOutput {
    type Item = Result<Output, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            let item = match ready!(self.stream.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(bytes))) => output(bytes, &self.path),
                Some(Ok(Message::Close(_))) | None => Err(self.truncated()),
                Some(Ok(_)) => continue,
                Some(Err(error)) => Err(error.into()),
            };
            self.ended = !matches!(item, Ok(Output::Stdout(_) | Output::Stderr(_)));
            return Poll::Ready(Some(item));
        }
        Poll::Ready(None)
    }
}

impl SessionOutput {
    fn truncated(&self) -> ClientError {
        ProtocolError::Truncated { path: self.path.clone() }.into()
    }
}

fn output(mut bytes: Bytes, path: &str) -> Result<Output, ClientError> {
    let payload = bytes.split_off(bytes.len().min(1));
    match bytes.first() {
        Some(&channel::STDOUT) => Ok(Output::Stdout(payload)),
        Some(&channel::STDERR) => Ok(Output::Stderr(payload)),
        Some(&channel::END) => match serde_json::from_slice(&payload) {
            Ok(end) => Ok(Output::End(end)),
            Err(source) => Err(ProtocolError::Json { path: path.to_owned(), source }.into()),
        },
        Some(&unknown) => Err(ProtocolError::Channel(unknown).into()),
        None => Err(ProtocolError::Truncated { path: path.to_owned() }.into()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_first_byte_names_the_channel() {
        let parse = |bytes: &'static [u8]| output(Bytes::from_static(bytes), "/v1/x");
        assert_eq!(parse(b"\x01out").unwrap(), Output::Stdout(Bytes::from_static(b"out")));
        assert_eq!(parse(b"\x02").unwrap(), Output::Stderr(Bytes::new()));
        let end = SessionEnd { exit: Some(3), problem: None };
        assert_eq!(parse(b"\x03{\"exit\":3,\"problem\":null}").unwrap(), Output::End(end));
    }

    #[test]
    fn odd_messages_are_errors() {
        for bytes in [&b"\x09x"[..], b"", b"\x03not json"] {
            assert!(output(Bytes::from_static(bytes), "/v1/x").is_err(), "{bytes:?}");
        }
    }
}

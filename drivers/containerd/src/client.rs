//! containerd's gRPC API over its Unix socket: one HTTP/2 connection, made again when it was lost.
//!
//! A call is a request of HTTP/2 with framed messages, whose outcome is in the trailers. That is little enough to do here, over
//! the `h2` that the agent has anyway.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use hythe_runtime::{Error, ErrorKind, Result};
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::error::{lost, refused};

/// Length of what stands before every message.
const HEAD: usize = 5;
/// No answer is longer.
const LONGEST: usize = 64 << 20;
const CONNECT: Duration = Duration::from_secs(5);
const WINDOW: u32 = 4 << 20;

/// See the module.
pub(crate) struct Client {
    socket: PathBuf,
    namespace: String,
    connection: Mutex<Option<SendRequest<Bytes>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.socket)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(socket: &Path, namespace: &str) -> Self {
        Self { socket: socket.to_owned(), namespace: namespace.to_owned(), connection: Mutex::default() }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Asks and hears one answer. `method` is `containers.v1.Containers/List`, below `containerd.services`.
    pub(crate) async fn call<A: Message + Default>(
        &self,
        operation: &'static str,
        method: &str,
        request: &impl Message,
    ) -> Result<A> {
        self.call_leased(operation, method, request, None).await
    }

    /// As [`Client::call`]; what is made belongs to a lease.
    pub(crate) async fn call_leased<A: Message + Default>(
        &self,
        operation: &'static str,
        method: &str,
        request: &impl Message,
        lease: Option<&str>,
    ) -> Result<A> {
        let mut answers = self.stream(operation, method, request, lease).await?;
        let answer = answers.next::<A>().await?;
        // The outcome is in the trailers, after the answer.
        let more = answers.next::<A>().await?;
        match (answer, more) {
            (Some(answer), None) => Ok(answer),
            _ => Err(lost(operation, &"containerd gave no answer where one was due")),
        }
    }

    /// Asks and hears any number of answers.
    pub(crate) async fn stream(
        &self,
        operation: &'static str,
        method: &str,
        request: &impl Message,
        lease: Option<&str>,
    ) -> Result<Answers> {
        let mut exchange = self.exchange(operation, method, lease).await?;
        exchange.send(request, true).await?;
        Ok(exchange.answers)
    }

    /// Begins a call in which both sides may say many things.
    pub(crate) async fn exchange(
        &self,
        operation: &'static str,
        method: &str,
        lease: Option<&str>,
    ) -> Result<Exchange> {
        let uri = format!("http://localhost/containerd.services.{method}");
        let mut request = Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("containerd-namespace", &self.namespace);
        if let Some(lease) = lease {
            request = request.header("containerd-lease", lease);
        }
        let request = request.body(()).map_err(|error| lost(operation, &error))?;
        let mut connection = self.connection(operation).await?;
        let (response, sending) = connection.send_request(request, false).map_err(|error| lost(operation, &error))?;
        let answers = Answers { operation, state: Receiving::Awaited(response), buffer: BytesMut::new() };
        Ok(Exchange { operation, sending, answers })
    }

    async fn connection(&self, operation: &'static str) -> Result<SendRequest<Bytes>> {
        let mut held = self.connection.lock().await;
        if let Some(ready) = held.take()
            && let Ok(ready) = ready.ready().await
        {
            *held = Some(ready.clone());
            return Ok(ready);
        }
        let connect = async {
            let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
                let message = format!("cannot reach containerd at `{}`: {error}", self.socket.display());
                Error::new(ErrorKind::Unavailable, operation, message)
                    .hint("start containerd, or set `socket` to where it listens")
                    .source(error)
            })?;
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(WINDOW).initial_connection_window_size(4 * WINDOW);
            builder.handshake(stream).await.map_err(|error| lost(operation, &error))
        };
        let outcome = tokio::time::timeout(CONNECT, connect).await;
        let (sender, connection) = outcome.unwrap_or_else(|_| Err(lost(operation, &"containerd does not answer")))?;
        // How it ends is told by every call that is under way.
        tokio::spawn(async move { drop(connection.await) });
        let ready = sender.ready().await.map_err(|error| lost(operation, &error))?;
        *held = Some(ready.clone());
        Ok(ready)
    }
}

/// A call in which both sides may say many things.
pub(crate) struct Exchange {
    operation: &'static str,
    sending: SendStream<Bytes>,
    pub(crate) answers: Answers,
}

impl Exchange {
    /// Says one thing, once there is room for it.
    pub(crate) async fn send(&mut self, message: &impl Message, last: bool) -> Result<()> {
        let length = message.encoded_len();
        let mut framed = BytesMut::with_capacity(HEAD + length);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(length).map_err(|error| lost(self.operation, &error))?);
        message.encode(&mut framed).map_err(|error| lost(self.operation, &error))?;
        let mut rest = framed.freeze();
        while !rest.is_empty() {
            self.sending.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|cx| self.sending.poll_capacity(cx)).await;
            let room = match room {
                Some(Ok(room)) => room,
                // It was refused already; the answer says why.
                Some(Err(_)) | None => return Ok(()),
            };
            let piece = rest.split_to(room.min(rest.len()));
            let is_end = last && rest.is_empty();
            if self.sending.send_data(piece, is_end).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

enum Receiving {
    Awaited(h2::client::ResponseFuture),
    Body(RecvStream),
    Over,
}

/// What containerd answers.
pub(crate) struct Answers {
    operation: &'static str,
    state: Receiving,
    buffer: BytesMut,
}

impl Answers {
    /// The next answer; `None`: the call ended well.
    pub(crate) async fn next<A: Message + Default>(&mut self) -> Result<Option<A>> {
        let operation = self.operation;
        loop {
            if let Some(message) = self.take()? {
                return A::decode(message).map(Some).map_err(|error| lost(operation, &error));
            }
            match &mut self.state {
                Receiving::Awaited(response) => {
                    let response: Response<RecvStream> = response.await.map_err(|error| lost(operation, &error))?;
                    let (head, body) = response.into_parts();
                    if head.headers.contains_key("grpc-status") {
                        self.state = Receiving::Over;
                        outcome(operation, &head.headers)?;
                        return Ok(None);
                    }
                    self.state = Receiving::Body(body);
                }
                Receiving::Body(body) => match body.data().await {
                    Some(piece) => {
                        let piece = piece.map_err(|error| lost(operation, &error))?;
                        // The other side may send as much again.
                        let _ = body.flow_control().release_capacity(piece.len());
                        self.buffer.extend_from_slice(&piece);
                    }
                    None => {
                        let trailers = body.trailers().await.map_err(|error| lost(operation, &error))?;
                        self.state = Receiving::Over;
                        outcome(operation, &trailers.unwrap_or_default())?;
                        return Ok(None);
                    }
                },
                Receiving::Over => return Ok(None),
            }
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>> {
        let Some(mut head) = self.buffer.get(..HEAD) else { return Ok(None) };
        head.advance(1);
        let length = head.get_u32() as usize;
        if length > LONGEST {
            return Err(lost(self.operation, &format!("an answer of {length} bytes is longer than {LONGEST}")));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn outcome(operation: &'static str, trailers: &HeaderMap) -> Result<()> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status").parse() {
        Ok(0) => Ok(()),
        Ok(code) => Err(refused(operation, code, &decoded(text("grpc-message")))),
        Err(_) => Err(lost(operation, &"the answer has no outcome")),
    }
}

/// Of what gRPC writes with percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let number = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn decoded_of_percent_signs_is_the_text() {
        assert_eq!(decoded("a%20\"b%22%zz%"), "a \"b\"%zz%");
    }
}

//! Server-sent events: bytes into messages, messages into typed items.
//!
//! Decoding is linear in the bytes, however many lines one chunk holds: logs of many megabytes pass here.

use std::str::Utf8Error;

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http::header::ACCEPT;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hythe_api::Problem;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::target::Target;
use crate::{ClientError, ProtocolError};

/// One event as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) event: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// Messages with the path they came from.
pub(crate) struct Messages {
    path: String,
    stream: BoxStream<'static, Result<Message, ClientError>>,
}

/// What a message means to its stream.
pub(crate) enum Step<T> {
    Item(T),
    Last(T),
    Skip,
    End,
}

/// Asks for a stream; a refusal is an error here, before any message.
pub(crate) async fn open(call: Call, target: &Target) -> Result<Messages, ClientError> {
    let path = call.path.clone();
    let response = call.header(ACCEPT, "text/event-stream").send(target).await?;
    Ok(Messages { path, stream: messages(response.into_body()).boxed() })
}

fn messages(body: Incoming) -> impl Stream<Item = Result<Message, ClientError>> {
    stream::try_unfold((body, Decoder::default()), |(mut body, mut decoder)| async move {
        loop {
            if let Some(message) = decoder.next()? {
                return Ok(Some((message, (body, decoder))));
            }
            match body.frame().await.transpose()? {
                Some(frame) => decoder.push(frame.data_ref().map_or(&[], |data| data)),
                None => return Ok(None),
            }
        }
    })
}

impl Messages {
    pub(crate) async fn next(&mut self) -> Option<Result<Message, ClientError>> {
        self.stream.next().await
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, message: &Message) -> Result<T, ClientError> {
        let wrong = |source| ProtocolError::Json { path: self.path.clone(), source };
        Ok(serde_json::from_str(&message.data).map_err(wrong)?)
    }

    async fn step<T>(&mut self, read: Reader<T>) -> Result<Step<T>, ClientError> {
        let truncated = || ProtocolError::Truncated { path: self.path.clone() };
        let message = self.stream.next().await.ok_or_else(truncated)??;
        match message.event.as_str() {
            "problem" => Err(self.parse::<Problem>(&message)?.into()),
            _ => read(self, &message),
        }
    }
}

pub(crate) type Reader<T> = fn(&Messages, &Message) -> Result<Step<T>, ClientError>;

/// Items until the stream says that it is complete; a `problem` is an error, and so is an end without a word.
pub(crate) fn items<T>(messages: Messages, read: Reader<T>) -> impl Stream<Item = Result<T, ClientError>> {
    stream::try_unfold(Some(messages), move |state| async move {
        let Some(mut messages) = state else {
            return Ok(None);
        };
        loop {
            match messages.step(read).await? {
                Step::Item(item) => return Ok(Some((item, Some(messages)))),
                Step::Last(item) => return Ok(Some((item, None))),
                Step::Skip => {}
                Step::End => return Ok(None),
            }
        }
    })
}

/// Bytes to messages. Lines end with LF or CR LF; comments and unknown fields are passed over.
#[derive(Debug, Default)]
struct Decoder {
    buffer: Vec<u8>,
    consumed: usize,
    searched: usize,
    message: Message,
    has_data: bool,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.searched -= self.consumed;
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message; `None`: more bytes are needed.
    fn next(&mut self) -> Result<Option<Message>, Utf8Error> {
        while let Some(line) = self.line() {
            let line = std::str::from_utf8(&self.buffer[line])?;
            if !line.is_empty() {
                field(&mut self.message, &mut self.has_data, line);
                continue;
            }
            let message = std::mem::take(&mut self.message);
            if std::mem::take(&mut self.has_data) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Range of the next complete line without its end.
    fn line(&mut self) -> Option<std::ops::Range<usize>> {
        let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let (start, feed) = (self.consumed, self.searched + length);
        self.consumed = feed + 1;
        self.searched = self.consumed;
        let carriage_return = feed > start && self.buffer[feed - 1] == b'\r';
        Some(start..feed - usize::from(carriage_return))
    }
}

/// Decodes a stream at once and in pieces, for fuzzers; both must come to the same.
#[doc(hidden)]
pub fn fuzz_events(bytes: &[u8]) -> usize {
    let decode = |size: usize| {
        let (mut decoder, mut messages) = (Decoder::default(), Vec::new());
        for chunk in bytes.chunks(size) {
            decoder.push(chunk);
            loop {
                match decoder.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return messages,
                }
            }
        }
        messages
    };
    let whole = decode(bytes.len().max(1));
    assert_eq!(whole, decode(7), "messages depend on how they arrive");
    whole.len()
}

fn field(message: &mut Message, has_data: &mut bool, line: &str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "event" => value.clone_into(&mut message.event),
        "id" => message.id = Some(value.to_owned()),
        "data" => {
            if std::mem::replace(has_data, true) {
                message.data.push('\n');
            }
            message.data.push_str(value);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Message> {
        let mut decoder = Decoder::default();
        let mut all = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(message) = decoder.next().unwrap() {
                all.push(message);
            }
        }
        all
    }

    #[test]
    fn a_message_has_event_id_and_data() {
        let messages = decode(&[b"event: line\nid: 7\ndata: {\"a\":1}\n\n"]);
        let expected = Message { event: "line".into(), id: Some("7".into()), data: "{\"a\":1}".into() };
        assert_eq!(messages, [expected]);
    }

    #[test]
    fn chunks_may_break_anywhere_even_in_a_character() {
        let text = "data: é\r\ndata: b\r\n\r\n:comment\n\ndata:c\n\n".as_bytes();
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            let data: Vec<_> = decode(&[first, second]).into_iter().map(|message| message.data).collect();
            assert_eq!(data, ["é\nb", "c"], "cut at {cut}");
        }
    }

    #[test]
    fn comments_and_blocks_without_data_are_no_messages() {
        assert_eq!(decode(&[b": keep-alive\n\n", b"event: x\n\n", b"retry: 5\n\n"]), []);
    }

    #[test]
    fn bytes_that_are_not_text_are_an_error() {
        let mut decoder = Decoder::default();
        decoder.push(b"data: \xff\n\n");
        assert!(decoder.next().is_err());
    }

    fn scripted(messages: &[(&str, &str)]) -> Messages {
        let all: Vec<_> = messages
            .iter()
            .map(|(event, data)| Ok(Message { event: (*event).into(), id: None, data: (*data).into() }))
            .collect();
        Messages { path: "/v1/x".into(), stream: stream::iter(all).boxed() }
    }

    fn number(messages: &Messages, message: &Message) -> Result<Step<u32>, ClientError> {
        Ok(match message.event.as_str() {
            "end" => Step::End,
            "number" => Step::Item(messages.parse(message)?),
            _ => Step::Skip,
        })
    }

    async fn collect(messages: &[(&str, &str)]) -> Vec<Result<u32, String>> {
        let items = items(scripted(messages), number);
        items.map(|item| item.map_err(|error| format!("{error:?}"))).collect().await
    }

    #[tokio::test]
    async fn a_stream_is_complete_only_when_it_says_so() {
        assert_eq!(collect(&[("number", "1"), ("other", ""), ("end", "{}")]).await, [Ok(1)]);
        let broken = collect(&[("number", "1")]).await;
        assert_eq!(broken[0], Ok(1));
        assert!(broken[1].as_ref().unwrap_err().contains("Truncated"));
    }

    #[tokio::test]
    async fn a_problem_in_the_stream_is_an_error_and_the_last_item() {
        let problem = r#"{"kind":"unavailable","title":"t","status":503,"detail":"gone"}"#;
        let items = collect(&[("problem", problem), ("number", "1")]).await;
        assert_eq!(items.len(), 1);
        assert!(items[0].as_ref().unwrap_err().contains("gone"));
    }
}

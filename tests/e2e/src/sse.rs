//! A reader of the event stream that can do what no good client does: stop reading.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

/// A stream that gives nothing for so long is as good as dead.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One connection, read line by line.
pub(crate) struct Reader {
    lines: BufReader<UnixStream>,
}

/// A message of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) kind: String,
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

impl Reader {
    /// Follows the events on this socket after a cursor, given as a browser gives it where `resumes`.
    pub(crate) fn follow(socket: &str, after: u64, resumes: bool) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let (query, header) = if resumes {
            (String::new(), format!("Last-Event-ID: {after}\r\n"))
        } else {
            (format!("&after={after}"), String::new())
        };
        let request = format!("GET /v1/events?follow=true{query} HTTP/1.1\r\nHost: a\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self { lines: BufReader::new(stream) }
    }

    /// The next message; `None` when the agent ended the stream or the connection.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let mut message = Message { kind: String::new(), id: None, data: Value::Null };
        loop {
            let mut line = String::new();
            match self.lines.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the stream gave nothing: {error}"),
            }
            // Sizes of chunks and heads are no fields of a message.
            match line.trim_end().split_once(": ") {
                Some(("event", kind)) => kind.clone_into(&mut message.kind),
                Some(("id", id)) => message.id = id.parse().ok(),
                Some(("data", data)) => message.data = serde_json::from_str(data).unwrap(),
                _ if line.trim_end().is_empty() && !message.data.is_null() => return Some(message),
                _ => {}
            }
        }
    }

    /// Messages until this cursor was given or the stream ended.
    pub(crate) fn until(&mut self, cursor: u64) -> Vec<Message> {
        let mut all = Vec::new();
        while all.last().is_none_or(|last: &Message| last.id < Some(cursor)) {
            match self.next() {
                Some(message) => all.push(message),
                None => break,
            }
        }
        all
    }
}

//! Requests byte by byte, as no good client writes them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// An agent that says nothing for so long has not answered.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What came back until the agent closed the connection or said nothing more.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
}

impl Answer {
    /// The status of the first answer on the connection; 0 where there is none.
    pub(crate) fn status(&self) -> u16 {
        self.text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// Answers on the connection.
    pub(crate) fn count(&self) -> usize {
        self.text.matches("HTTP/1.1 ").count()
    }

    /// A refusal that every client can read.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16) {
        assert_eq!(self.status(), status, "{}", self.text);
        assert!(self.text.contains("content-type: application/problem+json"), "{}", self.text);
        let body = self.text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(problem["status"], status, "{problem:#}");
    }
}

/// Sends these bytes over TCP; the request must say that the connection is closed after it.
pub(crate) fn tcp(port: u16, request: &str) -> Answer {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    exchange(stream, request)
}

/// The same on a Unix socket.
pub(crate) fn unix(socket: &str, request: &str) -> Answer {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    exchange(stream, request)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    // An agent may refuse before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection stayed open: {error}: {}", String::from_utf8_lossy(&bytes)),
        }
        // What follows an upgrade is no HTTP.
        if bytes.starts_with(b"HTTP/1.1 101") {
            break;
        }
    }
    Answer { text: String::from_utf8_lossy(&bytes).into_owned() }
}

//! Just enough HTTP to ask an engine or a registry: one request per connection, version 1.0, no chunks.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Loading an image into a cold engine is the slowest thing asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint<'a> {
    /// A Unix socket.
    Unix(&'a Path),
    /// `host:port`.
    Tcp(&'a str),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's value; names compare without case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

impl Endpoint<'_> {
    /// A request without body or headers.
    pub(crate) fn ask(self, method: &str, path: &str) -> io::Result<Reply> {
        self.send(method, path, &[], &[])
    }

    /// Sends one request and reads the reply to its end.
    pub(crate) fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        let mut stream = self.connect()?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.host());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        parse(reply).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP reply"))
    }

    fn connect(self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }

    fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp(address) => address,
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn parse(bytes: Vec<u8>) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, head, body: bytes[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn replies_are_taken_apart() {
        let reply = parse(b"HTTP/1.0 202 Accepted\r\nLocation: /x\r\n\r\nbody".to_vec()).unwrap();
        assert_eq!(reply.status, 202);
        assert_eq!(reply.header("location"), Some("/x"));
        assert_eq!(reply.body, b"body");
        assert!(parse(b"garbage".to_vec()).is_none());
    }
}

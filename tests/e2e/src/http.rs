//! The least that is needed to fetch a page.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A registry has only what the client says it can read.
const ACCEPT: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// The whole answer to a GET, head and body; the error in its place.
pub(crate) fn get(address: &str, path: &str) -> String {
    fetch(address, path).unwrap_or_else(|error| format!("no answer: {error}"))
}

fn fetch(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {ACCEPT}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A registry's manifest gets another name too.
pub(crate) fn copy_manifest(address: &str, from: &str, to: &str) {
    let answer = get(address, from);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("`{from}`: {answer}"));
    let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: "));
    let kind = kind.unwrap_or_else(|| panic!("`{from}` has no type: {head}"));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = body.len();
    write!(
        stream,
        "PUT {to} HTTP/1.0\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 201"), "`{to}`: {answer}");
}

/// A TCP port of the loopback address that nobody holds now, and another one each time.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
}

/// The body of what an agent answers on its socket.
pub(crate) fn get_unix_text(socket: &str, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(text)
}

/// The same as JSON.
pub(crate) fn get_unix(socket: &str, path: &str) -> serde_json::Value {
    let text = get_unix_text(socket, path);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("`{path}`: {error}: {text}"))
}

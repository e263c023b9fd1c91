//! The gRPC health checking protocol: one call of `grpc.health.v1.Health/Check`, over HTTP/2 without TLS.
//!
//! Its two messages have one field each, so they are written and read here: `HealthCheckRequest { string service = 1 }` and
//! `HealthCheckResponse { ServingStatus status = 1 }`.

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::reason::Reason;

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Bytes of an answer; a real one has seven.
const LONGEST: usize = 4 << 10;
/// Tag of the field 1 as a string, and as a number.
const SERVICE: u8 = 0x0a;
const STATUS: u64 = 0x08;
const SERVING: u64 = 1;

pub(super) async fn check(stream: TcpStream, service: &str) -> Result<(), Reason> {
    let broken = |error: h2::Error| Reason::broken(&error);
    let authority = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    let (sender, connection) = h2::client::Builder::new()
        .max_header_list_size(16 << 10)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(broken)?;
    let _driving = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("http://{authority}{CHECK}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("hythe/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| Reason::broken(&error))?;
    let mut sender = sender.ready().await.map_err(broken)?;
    let (answer, mut body) = sender.send_request(request, false).map_err(broken)?;
    body.send_data(message(service).into(), true).map_err(broken)?;
    let (head, body) = answer.await.map_err(broken)?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(Reason::Status(head.status.as_u16(), Vec::new()));
    }
    // An error without a message comes with the head alone.
    verdict(&head.headers, false)?;
    let (message, trailers) = read(body).await?;
    verdict(&trailers, true)?;
    match status(&message)? {
        SERVING => Ok(()),
        other => Err(Reason::NotServing(other)),
    }
}

/// The status of the call, which must be there at the end.
fn verdict(headers: &HeaderMap, end: bool) -> Result<(), Reason> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status").map(|status| status.parse()) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(status)) => Err(Reason::Call(status, text("grpc-message").unwrap_or_default())),
        Some(Err(_)) => Err(Reason::Broken("its gRPC status is no number".to_owned())),
        None if end => Err(Reason::Broken("it has no gRPC status".to_owned())),
        None => Ok(()),
    }
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), Reason> {
    let broken = |error: h2::Error| Reason::broken(&error);
    let mut read = Vec::new();
    while let Some(bytes) = body.data().await.transpose().map_err(broken)? {
        if read.len() + bytes.len() > LONGEST {
            return Err(Reason::Broken(format!("it is longer than {LONGEST} bytes")));
        }
        read.extend_from_slice(&bytes);
        // Within the window of a new connection.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    Ok((read, body.trailers().await.map_err(broken)?.unwrap_or_default()))
}

fn message(service: &str) -> Vec<u8> {
    let mut field = Vec::new();
    if !service.is_empty() {
        field.push(SERVICE);
        put_number(&mut field, service.len());
        field.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    [&[0], length.to_be_bytes().as_slice(), &field].concat()
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

/// The state in the one message that was sent; a message without it says 0.
fn status(bytes: &[u8]) -> Result<u64, Reason> {
    let broken = |words: &str| Reason::Broken(words.to_owned());
    let Some((prefix, mut message)) = bytes.split_at_checked(PREFIX) else {
        return Err(broken("it has no gRPC message"));
    };
    if prefix[0] != 0 {
        return Err(broken("its gRPC message is compressed, which was not asked for"));
    }
    let length = prefix[1..].iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
    if length != message.len() {
        return Err(broken("its gRPC message is not as long as it says"));
    }
    let mut found = 0;
    while !message.is_empty() {
        let tag = take_number(&mut message).ok_or_else(|| broken("its gRPC message ends in a field"))?;
        let value = match tag & 7 {
            0 => take_number(&mut message),
            1 => skip(&mut message, 8),
            2 => take_number(&mut message).and_then(|length| skip(&mut message, length)),
            5 => skip(&mut message, 4),
            _ => None,
        };
        let value = value.ok_or_else(|| broken("its gRPC message is no message"))?;
        if tag == STATUS {
            found = value;
        }
    }
    Ok(found)
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn skip(bytes: &mut &[u8], length: u64) -> Option<u64> {
    *bytes = bytes.get(usize::try_from(length).ok()?..)?;
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_a_frame_with_the_service() {
        assert_eq!(message(""), [0, 0, 0, 0, 0]);
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"x".repeat(200))[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn answer_is_read_whatever_else_it_holds() {
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), Ok(1));
        assert_eq!(status(&[0, 0, 0, 0, 0]), Ok(0));
        assert_eq!(status(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2]), Ok(2));
        for odd in [&[][..], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 8, 1], &[0, 0, 0, 0, 1, 8], &[0, 0, 0, 0, 2, 0x12, 9]] {
            assert!(matches!(status(odd), Err(Reason::Broken(_))), "{odd:?}");
        }
        assert!(status(&[0, 0, 0, 0, 12, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).is_err());
    }
}

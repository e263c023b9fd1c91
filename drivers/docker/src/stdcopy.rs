//! Output of processes as the API frames it: eight bytes of header (stream, length), then the bytes; nothing at all with a terminal.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use hythe_runtime::{Result, StdStream};

use crate::client::ByteStream;
use crate::error::{broken, said, translate};

const HEADER: usize = 8;
/// No engine writes larger ones; a longer length means that the stream is out of step.
const LARGEST_FRAME: usize = 16 << 20;

/// Whole frames of a stream; `raw`: there are none, everything is stdout.
pub(crate) fn frames(
    operation: &'static str,
    bytes: ByteStream,
    raw: bool,
) -> impl Stream<Item = Result<(StdStream, Bytes)>> + Send {
    let state = (bytes, Deframer::default(), false);
    stream::unfold(state, move |(mut bytes, mut deframer, ended)| async move {
        if ended {
            return None;
        }
        loop {
            if !raw {
                match deframer.next(operation) {
                    Ok(Some(frame)) => return Some((Ok(frame), (bytes, deframer, false))),
                    Ok(None) => {}
                    Err(error) => return Some((Err(error), (bytes, deframer, true))),
                }
            }
            match bytes.next().await {
                Some(Ok(chunk)) if raw => return Some((Ok((StdStream::Stdout, chunk)), (bytes, deframer, false))),
                Some(Ok(chunk)) => deframer.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Some((Err(translate(operation, "", error)), (bytes, deframer, true))),
                None if deframer.buffer.is_empty() => return None,
                None => {
                    return Some((Err(broken(operation, "the output ended inside a frame")), (bytes, deframer, true)));
                }
            }
        }
    })
}

#[derive(Debug, Default)]
struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    /// The next whole frame that is not empty.
    fn next(&mut self, operation: &'static str) -> Result<Option<(StdStream, Bytes)>> {
        while let Some(header) = self.buffer.first_chunk::<HEADER>() {
            let (kind, length) = (header[0], u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize);
            if kind > 3 || length > LARGEST_FRAME {
                return Err(broken(operation, "the output is not framed as expected"));
            }
            if self.buffer.len() < HEADER + length {
                return Ok(None);
            }
            self.buffer.advance(HEADER);
            let payload = self.buffer.split_to(length).freeze();
            match kind {
                _ if payload.is_empty() => {}
                2 => return Ok(Some((StdStream::Stderr, payload))),
                // The engine's own error, in place of output.
                3 => return Err(said(operation, "", &String::from_utf8_lossy(&payload), Some(500))),
                _ => return Ok(Some((StdStream::Stdout, payload))),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame
    }

    async fn read(bytes: Vec<u8>, step: usize) -> Vec<Result<(StdStream, Bytes)>> {
        let chunks: Vec<_> = bytes.chunks(step).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        frames("test", stream::iter(chunks).boxed(), false).collect().await
    }

    #[tokio::test]
    async fn frames_survive_any_cut() {
        let mut bytes = framed(1, b"out");
        bytes.extend(framed(2, b"\x01\x02err"));
        bytes.extend(framed(1, b""));
        for step in 1..bytes.len() {
            let found: Vec<_> = read(bytes.clone(), step).await.into_iter().map(Result::unwrap).collect();
            let expected = [(StdStream::Stdout, Bytes::from("out")), (StdStream::Stderr, Bytes::from("\x01\x02err"))];
            assert_eq!(found, expected, "in steps of {step}");
        }
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_an_error() {
        let mut bytes = framed(1, b"out");
        bytes.pop();
        assert!(read(bytes, 4).await.pop().unwrap().is_err());
    }
}

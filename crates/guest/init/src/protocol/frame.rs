//! Frames: a header of twelve bytes, and what follows it.
//!
//! `H`, `Y`, channel, 0, then the id of a process and the length, each a little-endian `u32`.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

const MAGIC: [u8; 2] = *b"HY";
const HEADER: usize = 12;
/// Bytes of data in one frame at most.
pub const MAX_DATA: usize = 32 << 10;
/// Bytes of any frame at most, without the header.
pub const MAX_FRAME: usize = 4 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A JSON message: [`super::Event`] or [`super::Command`].
    Message,
    /// Standard input of a process, from the host.
    Stdin,
    /// Standard output of a process of an exec.
    Stdout,
    /// Standard error of a process of an exec.
    Stderr,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub channel: Channel,
    /// Id of the process that the data is of; 0 for messages.
    pub id: u32,
    /// A message, or bytes. Empty data is the end of the stream.
    pub payload: Vec<u8>,
}

/// Why what was read is no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError(String);

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FrameError {}

impl Frame {
    /// A message.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn message(message: &impl Serialize) -> Result<Self, FrameError> {
        let payload = serde_json::to_vec(message).map_err(|error| FrameError(error.to_string()))?;
        Ok(Self { channel: Channel::Message, id: 0, payload })
    }

    /// Bytes of a stream, [`MAX_DATA`] at most; none for its end.
    #[must_use]
    pub fn data(channel: Channel, id: u32, bytes: &[u8]) -> Self {
        Self { channel, id, payload: bytes.to_vec() }
    }

    /// The message in it.
    ///
    /// # Errors
    /// Where it is data, or JSON of another form.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        match self.channel {
            Channel::Message => {
                serde_json::from_slice(&self.payload).map_err(|error| FrameError(format!("a message: {error}")))
            }
            Channel::Stdin | Channel::Stdout | Channel::Stderr => Err(FrameError("a message is expected".to_owned())),
        }
    }

    /// The bytes that are sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let channel = match self.channel {
            Channel::Message => 0,
            Channel::Stdin => 1,
            Channel::Stdout => 2,
            Channel::Stderr => 3,
        };
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend(MAGIC);
        bytes.extend([channel, 0]);
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// Frames from the bytes of a port, however they are cut.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Takes bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend(bytes);
    }

    /// Drops half a frame, whose rest cannot come any more.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// What follows is no frame. The next call goes on where one may begin.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.bytes[self.start..];
        let Some(header) = rest.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let Some((channel, id, length)) = parse(header) else {
            let skipped = 1 + rest[1..].windows(2).position(|pair| pair == MAGIC).unwrap_or(rest.len() - 2);
            self.start += skipped;
            return Err(FrameError(format!("{skipped} bytes are no frame")));
        };
        let Some(payload) = rest.get(HEADER..HEADER + length) else {
            return Ok(None);
        };
        let frame = Frame { channel, id, payload: payload.to_vec() };
        self.start += HEADER + length;
        Ok(Some(frame))
    }
}

fn parse(header: &[u8; HEADER]) -> Option<(Channel, u32, usize)> {
    let &[h, y, channel, zero, a, b, c, d, e, f, g, i] = header;
    let channel = match channel {
        0 => Channel::Message,
        1 => Channel::Stdin,
        2 => Channel::Stdout,
        3 => Channel::Stderr,
        _ => return None,
    };
    let length = u32::from_le_bytes([e, f, g, i]) as usize;
    let valid = [h, y] == MAGIC && zero == 0 && length <= MAX_FRAME;
    valid.then_some((channel, u32::from_le_bytes([a, b, c, d]), length))
}

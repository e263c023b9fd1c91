//! What is said over an instance's socket: frames of one byte for the kind, four for the length (little-endian), and so many bytes.
//!
//! A connection begins with one [`Request`] and is answered by one [`Answer`]. After `attach` follow output, stdin and sizes; after `attach`, `wait` and
//! `exec` the end of the process. The stdio of an executed process is not carried here: the descriptors come with the request, or, where there is a
//! terminal, its side of it comes with the answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ShimError;
use crate::record::Process;

/// Kinds of frames.
#[expect(missing_docs, reason = "each name says it")]
pub mod kind {
    pub const REQUEST: u8 = b'R';
    pub const ANSWER: u8 = b'A';
    pub const STDOUT: u8 = b'o';
    pub const STDERR: u8 = b'e';
    pub const STDIN: u8 = b'i';
    pub const STDIN_END: u8 = b'c';
    pub const SIZE: u8 = b'z';
    pub const END: u8 = b'x';
    pub const STATS: u8 = b's';
}

/// Length of a frame's head.
pub const HEAD: usize = 5;
/// The longest frame that is accepted.
///
/// An executed process's request carries its whole environment, of which the kernel takes 6 MiB at most.
pub const LONGEST: usize = 16 << 20;

/// What is asked of a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Sends a signal to the main process; `told`: it is an event.
    Kill {
        /// Number.
        signal: i32,
        /// Somebody else than a stop asks.
        told: bool,
    },
    /// Freezes or thaws; either ends every hold.
    Freeze(bool),
    /// Holds everything still as long as the connection lasts. Where it ends the connection, it did not hold it to the last: somebody paused, thawed or stopped it.
    Hold,
    /// Connects to the main process.
    Attach {
        /// Also to its stdin.
        stdin: bool,
    },
    /// Answers when the main process has ended.
    Wait,
    /// Asks for what a virtual machine uses, which its guest knows; a document follows the answer.
    Stats,
    /// Runs a process beside the main one.
    Exec(Box<Exec>),
}

/// A process to run beside the main one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    /// Program, user, rights.
    pub process: Process,
    /// The complete environment.
    pub env: BTreeMap<String, String>,
    /// First size of its terminal.
    pub size: Option<Size>,
    /// Milliseconds after which it is killed with its process group.
    #[serde(default)]
    pub timeout: Option<u64>,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each name says it")]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// The answer to a request.
pub type Answer = Result<(), ShimError>;

/// A frame.
pub fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + content.len());
    frame.push(kind);
    // Nothing longer than `LONGEST` is ever framed.
    frame.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

/// A frame with a document.
///
/// # Errors
/// What cannot be written as a document.
pub fn frame_json(kind: u8, document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    Ok(frame(kind, &serde_json::to_vec(document)?))
}

/// Length of the content that a head announces, with the kind; `None`: longer than accepted.
pub fn head(bytes: [u8; HEAD]) -> Option<(u8, usize)> {
    let [kind, length @ ..] = bytes;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    (length <= LONGEST).then_some((kind, length))
}

/// Takes the first whole frame out of a buffer.
///
/// # Errors
/// One that is longer than accepted; the connection is of no more use.
pub fn take(buffer: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, TooLong> {
    let Some(first) = buffer.first_chunk::<HEAD>() else { return Ok(None) };
    let (kind, length) = head(*first).ok_or(TooLong)?;
    if buffer.len() < HEAD + length {
        return Ok(None);
    }
    let rest = buffer.split_off(HEAD + length);
    let content = std::mem::replace(buffer, rest).split_off(HEAD);
    Ok(Some((kind, content)))
}

/// A frame is longer than accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_one_by_one_however_they_arrive() {
        let sent = [frame(kind::STDIN, b"one"), frame(kind::STDIN_END, b"")].concat();
        let mut buffer = Vec::new();
        let mut taken = Vec::new();
        for byte in sent {
            buffer.push(byte);
            taken.extend(take(&mut buffer).unwrap());
        }
        assert_eq!(taken, [(kind::STDIN, b"one".to_vec()), (kind::STDIN_END, Vec::new())]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_beyond_all_measure_is_refused() {
        assert_eq!(take(&mut vec![b'i', 0xff, 0xff, 0xff, 0xff]), Err(TooLong));
    }
}

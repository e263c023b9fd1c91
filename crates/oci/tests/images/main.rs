//! The image store: pulled from a registry inside the test, unpacked, and looked at on disk.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod pull;
mod support;
mod unpack;

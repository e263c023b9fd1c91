//! The image store: pulled from a registry inside the test, unpacked, and looked at on disk.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../common/server.rs"]
mod server;

mod archives;
mod commit;
mod crash;
mod pack;
mod pull;
mod push;
mod store;
mod support;
mod tricky;
mod unpack;

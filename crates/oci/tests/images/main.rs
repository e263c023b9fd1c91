//! The image store: pulled from a registry inside the test, unpacked, and looked at on disk.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops at the first surprise and says why it is skipped"
)]

#[path = "../common/server.rs"]
mod server;

mod archives;
mod bounds;
mod commit;
mod crash;
mod credentials;
mod idmap;
mod liar;
mod pack;
mod pull;
mod push;
mod store;
mod support;
mod tls;
mod tricky;
mod unpack;

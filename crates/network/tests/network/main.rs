//! Networks, proven with packets.
//!
//! Each test is in a thread with a network namespace of its own that plays the machine, so the machine's real network is never touched; other
//! threads with namespaces of their own play containers and neighbours. It needs root; without, each test says that it was skipped.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod cni;
mod crash;
mod facet;
mod fixture;
mod isolation;
mod kernel;
mod members;
mod names;
mod published;
mod scale;
mod starved;
mod support;

//! End to end: the real `hythe` program against a real agent on real engines, looked at from outside.
//!
//! For: what a user relies on, crashes included. Each trial has an agent of its own in a directory of its own; afterwards
//! nothing that carries the agent's label may be left in the engine, as the engine's own program says.
//! Not for: what one runtime must do (see `conformance`) or what can fail in a unit test.
#![expect(clippy::print_stdout, reason = "a test program talks to its terminal")]
#![expect(clippy::unwrap_used, reason = "a trial fails by panicking")]

mod agent;
mod by_hand;
mod containerd;
mod disk;
mod embedded;
mod engine;
mod environment;
mod feed;
mod files;
mod fixture;
mod foreign;
mod home;
mod http;
mod own_engine;
mod program;
mod proxy;
mod raw;
mod sse;
mod subject;
mod suite;
mod terminal;
mod trial;
mod trials;
mod wait;

pub use suite::main;

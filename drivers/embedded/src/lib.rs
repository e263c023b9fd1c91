//! The embedded runtime: containers with nothing installed.

pub mod network;

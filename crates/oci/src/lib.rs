//! Images without an engine: what a registry says about an image, and the credentials it is asked with.
//!
//! [`Registry`] resolves a reference to its digest and tells absent, refused and unreachable apart; [`auth`] reads the files that
//! `podman login` and `docker login` write. Nothing here talks to an engine, and nothing here stores or unpacks images.

mod answer;
pub mod auth;
mod error;
mod exchange;
mod helper;
mod registry;
mod token;

pub use error::{Error, Kind};
pub use registry::{Registry, RegistryConfig, Resolved};

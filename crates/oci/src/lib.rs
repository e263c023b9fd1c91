//! Images without an engine: what a registry says about an image, the credentials it is asked with, and a store of images on disk.
//!
//! [`Registry`] resolves a reference to its digest and tells absent, refused and unreachable apart; [`auth`] reads the files that
//! `podman login` and `docker login` write. [`Store`] pulls images, keeps them as an OCI image layout, and unpacks their layers for
//! overlayfs. Nothing here talks to an engine or runs anything.

mod answer;
mod archive;
pub mod auth;
mod commit;
mod configure;
mod digest;
mod error;
mod exchange;
mod helper;
mod pack;
mod pull;
mod push;
mod registry;
mod store;
mod token;
mod unpack;

pub use archive::Format;
pub use commit::Copied;
pub use error::{Error, Kind};
pub use pack::Pack;
pub use pull::{Phase, Progress};
pub use registry::{Registry, RegistryConfig, Resolved};
pub use store::{Freed, Hands, Layer, Options, Rights, Store, Stored, remove_by};
pub use unpack::{Limits, remove_tree};

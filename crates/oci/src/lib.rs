//! Images without an engine: what a registry says about an image, the credentials it is asked with, and a store of images on disk.
//!
//! [`Registry`] resolves a reference to its digest and tells absent, refused and unreachable apart; [`auth`] reads the files that
//! `podman login` and `docker login` write. [`Store`] pulls images, keeps them as an OCI image layout, and unpacks their layers for
//! overlayfs. Nothing here talks to an engine or runs anything.

mod archive;
pub mod auth;
mod commit;
mod digest;
mod document;
mod error;
mod exchange;
mod helper;
mod pack;
mod pull;
mod push;
mod registry;
mod response;
mod store;
mod token;
pub mod tree_archive;
mod trust;
mod unpack;
mod with_config;

pub use archive::{Format, check_one_unnamed};
pub use commit::Copied;
pub use error::{Error, Kind};
pub use exchange::built_here;
pub use pack::Pack;
pub use pull::{Phase, Progress};
pub use registry::{Registry, RegistryConfig, Resolved};
pub use store::{Layer, Options, OwnershipMode, Pruned, Store, Stored, UsernsFs, remove_tree_with};
pub use unpack::{Limits, remove_tree};

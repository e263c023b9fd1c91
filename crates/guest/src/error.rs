//! The error of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// Why something to boot cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// There is no kernel, or it has no modules.
    #[error("{0}")]
    NoKernel(String),
    /// A module that every guest needs is neither built into the kernel nor among its files.
    #[error("kernel `{release}` has no module `{module}`, which a guest needs")]
    NoModule {
        /// Release of the kernel.
        release: String,
        /// Name of the module.
        module: String,
    },
    /// A file of the kernel or of its modules is damaged.
    #[error("`{path}` cannot be used: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A layer of the image is damaged, hostile, or has what no disk can hold.
    #[error("layer `{layer}` cannot be used: {why}")]
    Layer {
        /// Name of the layer.
        layer: String,
        /// Why, with the entry.
        why: String,
    },
    /// The files of the image do not fit.
    #[error("the image does not fit on a disk of {size} bytes: {why}")]
    TooSmall {
        /// Size of the disk.
        size: u64,
        /// What the file system says.
        why: String,
    },
    /// Arguments that make no sense.
    #[error("{0}")]
    Invalid(String),
    /// Guests cannot run on this platform.
    #[error("virtual machines are built for x86_64 Linux hosts alone")]
    UnsupportedPlatform,
    /// The host's disk.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Adds the path to an error of a file.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> GuestError {
    move |source| GuestError::Io { path: path.to_owned(), source }
}

//! The error of this crate.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// What went wrong, in the vocabulary that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The registry itself says that the image does not exist.
    NotFound,
    /// Credentials are missing or refused.
    Unauthorized,
    /// The registry cannot be reached, broke while answering, or limits the rate: nothing is known about the image.
    Unavailable,
    /// The request, an auth file, an image, or the registry's answer makes no sense and will not by itself.
    Invalid,
    /// The disk is full, or an image is larger than its bounds.
    Exhausted,
    /// What is there forbids it: a directory in the place of a file, a read-only file system.
    Conflict,
    /// The local disk failed; the message names the path and the system's words.
    Internal,
}

impl From<Kind> for hythe_runtime::ErrorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::NotFound => Self::NotFound,
            Kind::Unauthorized => Self::Unauthorized,
            Kind::Unavailable => Self::Unavailable,
            Kind::Invalid => Self::Invalid,
            Kind::Exhausted => Self::Exhausted,
            Kind::Conflict => Self::Conflict,
            Kind::Internal => Self::Internal,
        }
    }
}

/// An error of a registry, of its credentials or of the image store; displays as its message, which holds the cause in the other side's words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    temporary: bool,
    misunderstood: bool,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// An error that is not temporary and has no hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, temporary: false, misunderstood: false, message: message.into(), hint: None }
    }

    pub(crate) fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    /// The other side may speak another protocol.
    pub(crate) fn misunderstood(mut self) -> Self {
        self.misunderstood = true;
        self
    }

    pub(crate) fn is_misunderstood(&self) -> bool {
        self.misunderstood
    }

    /// With the user's next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the same call may succeed a moment later (a rate limit lasts longer than that).
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// The user's next step.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Errors of local files, told with what was done to which path.
pub(crate) trait Local<T> {
    /// `verb` finishes "cannot": `cannot read `…`: no such file`.
    fn local(self, verb: &str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Local<T> for Result<T, E> {
    fn local(self, verb: &str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| failed(verb, &path.display(), &error.into()))
    }
}

pub(crate) const FREE_SOME: &str =
    "free some space on the disk of the image store; a twentieth of it, at most 1 GiB, is kept free for others";

/// The error for a local operation that failed.
pub(crate) fn failed(verb: &str, what: &dyn Display, error: &io::Error) -> Error {
    let message = format!("cannot {verb} `{what}`: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(Kind::Exhausted, message).hint(FREE_SOME)
        }
        _ => Error::new(Kind::Internal, message),
    }
}

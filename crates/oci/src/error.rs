//! The error of this crate.

/// What went wrong, in the vocabulary that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The registry itself says that the image does not exist.
    NotFound,
    /// Credentials are missing or refused.
    Unauthorized,
    /// The registry cannot be reached, broke while answering, or limits the rate: nothing is known about the image.
    Unavailable,
    /// The request, an auth file, or the registry's answer makes no sense and will not by itself.
    Invalid,
}

/// An error of a registry or of its credentials; displays as its message, which holds the cause in the other side's words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    temporary: bool,
    message: String,
    hint: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, temporary: false, message: message.into(), hint: None }
    }

    pub(crate) fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
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

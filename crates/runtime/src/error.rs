//! The one error that crosses the seam.
//!
//! Native errors are translated once, beside the client that produced them; the engine's own words are kept in `message`.

use std::fmt;

/// What went wrong, in the vocabulary that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The thing does not exist. Never used for an engine that does not answer.
    NotFound,
    /// A different thing has that name already.
    AlreadyExists,
    /// This runtime cannot do it.
    Unsupported,
    /// The request is wrong and stays wrong: bad value, missing file, command that cannot be executed.
    Invalid,
    /// The thing is in a state that forbids it: running, in use, a port taken.
    Conflict,
    /// Credentials are missing or refused.
    Unauthorized,
    /// The engine or registry cannot be reached, or broke while answering: the outcome is unknown.
    Unavailable,
    /// The deadline passed: the outcome is unknown.
    Timeout,
    /// A resource ran out: disk, memory, addresses, process slots.
    Exhausted,
    /// The caller withdrew the operation.
    Cancelled,
    /// Anything else, a defect in Hythe or an answer of the engine that we cannot read.
    Internal,
}

impl ErrorKind {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Result with the seam's error.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a runtime. Displays as `<operation>: <message> (key=value …)`; the source is in the chain, not in the text.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    temporary: bool,
    operation: &'static str,
    message: String,
    hint: Option<String>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of an operation; `message` names the thing in backticks and keeps the engine's words.
    /// `Unavailable`, `Timeout` and `Exhausted` start as temporary, all others as permanent.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let temporary = matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Exhausted);
        let message = message.into();
        Self(Box::new(Inner { kind, temporary, operation, message, hint: None, context: Vec::new(), source: None }))
    }

    /// The same error, said to be temporary: the same call may succeed later.
    #[must_use]
    pub fn temporary(mut self, temporary: bool) -> Self {
        self.0.temporary = temporary;
        self
    }

    /// The same error with the user's next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error with one more fact for the operator.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// As the error of a list: what vanished while the engine listed makes the list fail, which is worth another try (`NotFound` becomes `Unavailable`).
    #[must_use]
    pub fn of_listing(self) -> Self {
        if self.is_not_found() { Self::new(ErrorKind::Unavailable, self.operation(), self.message()) } else { self }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// Whether the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What a client may see.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The user's next step.
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Facts for the operator.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        for (at, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}={value}", if at == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("temporary", &self.0.temporary)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

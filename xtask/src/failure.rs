//! The one error of this tool: a sentence, its causes, and whether the words typed were wrong.

use std::error::Error;
use std::fmt;

/// What every fallible function here returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a chore did not finish; displayed together with its causes, on one line.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    usage: bool,
}

impl Failure {
    /// Something failed while working.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None, usage: false }
    }

    /// The command line asked for something that does not exist.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(message) }
    }

    /// All was printed already; only the exit code is left to say.
    pub(crate) fn already_reported() -> Self {
        Self::new("")
    }

    /// Nothing is left to print.
    pub(crate) fn is_reported(&self) -> bool {
        self.message.is_empty()
    }

    /// 2 for wrong use, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// Says what was being attempted when an error came up.
pub(crate) trait Context<T> {
    /// Wraps the error under `what`, a clause such as "writing `path`".
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Failure { source: Some(source.into()), ..Failure::new(what()) })
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        failure.to_string().into()
    }
}

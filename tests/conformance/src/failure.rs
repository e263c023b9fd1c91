//! How a trial fails, with the place.

use std::cell::RefCell;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use hythe_runtime::{Error, ErrorKind};

/// Why a trial failed.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What a trial comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let place = std::panic::Location::caller();
        Self(format!("at {place}: {error}\n  {error:?}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the words and the place of a panic for [`caught`] in place of printing them at once.
pub(crate) fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        LAST_PANIC.set(Some(panic.to_string()));
    }));
}

/// Runs a trial; a panic in it is its failure.
pub(crate) async fn caught(trial: impl Future<Output = Outcome>) -> Outcome {
    match AssertUnwindSafe(trial).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure(LAST_PANIC.take().unwrap_or_default())),
    }
}

/// The error of an operation that must fail this way.
#[track_caller]
pub(crate) fn refused<T>(outcome: Result<T, Error>, kind: ErrorKind) -> Error {
    match outcome {
        Ok(_) => panic!("succeeded, but must fail with `{}`", kind.as_str()),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error:?}");
            error
        }
    }
}

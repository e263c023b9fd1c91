//! Whose stdin a session has ended, for drivers whose engine does not say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, ErrorKind, Result};

/// Instances by id, each with the run (its start) that got the end of its input. Known as long as the agent lives.
#[derive(Debug, Clone, Default)]
pub struct EndedInputs(Arc<Mutex<HashMap<String, String>>>);

impl EndedInputs {
    /// A session has ended the input of this run.
    pub fn note(&self, id: &str, run: &str) {
        self.all().insert(id.to_owned(), run.to_owned());
    }

    /// Refuses another session that would write to it.
    ///
    /// # Errors
    /// `Conflict` where the input of this run has ended.
    pub fn check(&self, id: &str, run: &str) -> Result<()> {
        if self.all().get(id).is_some_and(|ended| ended == run) { Err(Self::refusal(id)) } else { Ok(()) }
    }

    /// What a session is told that would write to an input that has ended.
    pub fn refusal(id: &str) -> Error {
        let message = format!("the stdin of `{id}` is closed: an earlier session has ended it");
        Error::new(ErrorKind::Conflict, "attach", message).hint("attach without input, or restart it")
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

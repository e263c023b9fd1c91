//! Whether the controller can do its work, and refusing to begin what could not be written down.

use hythe_runtime::Error;
use hythe_store::{RESERVE, Transaction};

use crate::Controller;

/// Something that keeps the agent from doing its work in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DegradedReason {
    /// What it is about: `store`, or `runtime` and its name.
    pub subject: String,
    /// What is wrong.
    pub message: String,
}

impl Controller {
    /// What is wrong now; empty: nothing. A store that failed is tried again here, so that asking ends what is over. Runtimes that never
    /// answered are reported where `expected` says that all of them should.
    pub fn health(&self, expected: bool) -> Vec<DegradedReason> {
        let lost = self.runtimes.status().into_iter().filter(|status| expected || status.info.is_some());
        let lost = lost.filter_map(|status| {
            let message = format!("does not answer: {}", status.error?);
            Some(DegradedReason { subject: format!("runtime {}", status.name), message })
        });
        self.store_fault().into_iter().chain(lost).collect()
    }

    fn store_fault(&self) -> Option<DegradedReason> {
        let health = self.store.probe();
        let message = match (&health.failure, health.free) {
            (Some(failure), _) => format!("cannot be written since {}: {}", failure.since, failure.reason),
            (None, Some(free)) if health.is_low() => format!(
                "takes no new requests: {} KiB are free on its disk, of which {} KiB are kept for what runs",
                free / 1024,
                RESERVE / 1024
            ),
            _ => return None,
        };
        Some(DegradedReason { subject: "store".to_owned(), message })
    }

    /// Commits what a request wants, unless there is no room to write down what would follow from it.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub(crate) fn accept(&self, changes: &Transaction) -> Result<(), Error> {
        self.store.has_room().and_then(|()| self.events.commit(changes)).map_err(crate::store_error)
    }
}

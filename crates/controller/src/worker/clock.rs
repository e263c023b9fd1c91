//! When something is due, whatever is done to the host's clock.

use jiff::Timestamp;
use tokio::time::{Duration, Instant};

use super::Worker;

/// A clock that is set back does not make a workload wait longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Worker {
    /// The time, and at least that of a try whose wait is over.
    pub(super) fn time(&self) -> Timestamp {
        let now = self.controller.now();
        match self.due {
            Some((at, due)) if self.observed.next_try == Some(at) && Instant::now() >= due => now.max(at),
            _ => now,
        }
    }

    /// A time of the records as one of this process, near whatever the host's clock says, and the same as long as it is waited for.
    pub(super) fn moment(&mut self, at: Timestamp) -> Instant {
        match self.due {
            Some((known, due)) if known == at => due,
            _ => {
                let wait = Duration::try_from(at.duration_since(self.controller.now())).unwrap_or_default();
                let due = Instant::now() + wait.min(LONGEST_WAIT);
                self.due = Some((at, due));
                due
            }
        }
    }
}

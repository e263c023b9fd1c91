//! What time it is: the machine's own clock, or a simulation's.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<(Timestamp, Instant)>>);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that shows this time now and goes on with Tokio's, which tests pause and advance.
    pub fn simulated(from: Timestamp) -> Self {
        Self(Some(Arc::new((from, Instant::now()))))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => hythe_host::now(),
            Some(origin) => {
                let elapsed = SignedDuration::try_from(origin.1.elapsed()).unwrap_or(SignedDuration::MAX);
                origin.0.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(simulated)" } else { "Clock(system)" })
    }
}

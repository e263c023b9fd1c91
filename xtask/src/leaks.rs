//! What tests left behind: the environment's remains before and after, compared.

use std::time::{Duration, Instant};

use crate::env::{self, Remains};
use crate::failure::Result;

/// Engines finish some removals after they answered.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Lines for everything that exists now and did not exist in `before`, once given time to go away.
pub(crate) fn since(before: &Remains) -> Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = env::remains()?;
        let leaked: Vec<_> = now.difference(before).cloned().collect();
        if leaked.is_empty() || Instant::now() > deadline {
            return Ok(leaked);
        }
        std::thread::sleep(PAUSE);
    }
}

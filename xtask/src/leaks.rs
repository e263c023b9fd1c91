//! What tests left behind: the environment's remains before and after, compared.

use std::time::{Duration, Instant};

use crate::env::{self, Remains};
use crate::failure::Result;

/// Engines finish some removals after they answered.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// What an engine keeps or loses by itself, whoever uses it; it goes when the engine is taken down, which is checked then.
///
/// Podman's API keeps the monitor of an exec for 300 s (`--exit-delay`); netavark 1.4 loses a rule now and then when networks come and go at once;
/// dockerd keeps the namespace it made for the first instance on the host's network.
pub(crate) fn is_the_engines_own(leak: &str) -> bool {
    (leak.contains("conmon") && leak.contains("--exec-process-spec"))
        || (leak.starts_with("firewall") && leak.contains("NETAVARK"))
        || (leak.starts_with("mount") && leak.ends_with("/netns/default"))
}

/// Lines for everything that exists now and did not exist in `before`, once given time to go away, and is not left to the engines.
pub(crate) fn since(before: &Remains, left_to_engines: fn(&str) -> bool) -> Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = env::remains()?;
        let leaked: Vec<_> = now.difference(before).filter(|leak| !left_to_engines(leak)).cloned().collect();
        if leaked.is_empty() || Instant::now() > deadline {
            return Ok(leaked);
        }
        std::thread::sleep(PAUSE);
    }
}

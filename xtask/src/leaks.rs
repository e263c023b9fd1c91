//! What tests left behind: what there was before and after, compared.

use std::time::{Duration, Instant};

use crate::env::{self, Leftovers};
use crate::failure::Result;

/// Engines finish some removals after they answered.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Where tests make their directories, and what the names of these begin with.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
const OURS: [&str; 2] = ["he2e", "hythe"];

/// What an engine keeps or loses by itself, whoever uses it; it goes when the engine is taken down, which is checked then.
///
/// Podman's API keeps the monitor of an exec for 300 s (`--exit-delay`); netavark 1.4 loses a rule now and then when networks come and go at once;
/// dockerd keeps the namespace it made for the first instance on the host's network.
pub(crate) fn is_the_engines_own(leak: &str) -> bool {
    (leak.contains("conmon") && leak.contains("--exec-process-spec"))
        || (leak.starts_with("firewall") && leak.contains("NETAVARK"))
        || (leak.starts_with("mount") && leak.ends_with("/netns/default"))
}

/// Everything that tests might leave: in the environment, of the embedded runtime anywhere on the machine, and directories.
pub(crate) fn on_the_host() -> Result<Leftovers> {
    let mut leftovers = env::leftovers()?;
    leftovers.extend(hythe_host_leaks::all().into_iter().map(|line| format!("embedded {line}")));
    let names = |place| hythe_host_leaks::names(place).into_iter().map(move |name| format!("file {place}/{name}"));
    let is_ours = |line: &String| line.rsplit('/').next().is_some_and(is_of_a_test);
    leftovers.extend(TEMPORARY.into_iter().flat_map(names).filter(is_ours));
    Ok(leftovers)
}

/// Whether a directory of this name is one that a test made.
pub(crate) fn is_of_a_test(name: &str) -> bool {
    OURS.iter().any(|of| name.starts_with(of))
}

/// Lines for everything that `look` finds now and that is not in `before`, once given time to go away, and is not left to the engines.
pub(crate) fn since(
    before: &Leftovers,
    look: fn() -> Result<Leftovers>,
    left_to_engines: fn(&str) -> bool,
) -> Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = look()?;
        let leaked: Vec<_> = now.difference(before).filter(|leak| !left_to_engines(leak)).cloned().collect();
        if leaked.is_empty() || Instant::now() > deadline {
            return Ok(leaked);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_a_test_left_is_found() {
        let path = format!("/var/tmp/he2e-left-{}", std::process::id());
        std::fs::create_dir(&path).unwrap();
        let found = on_the_host();
        std::fs::remove_dir(&path).unwrap();
        assert!(found.unwrap().contains(&format!("file {path}")));
    }
}

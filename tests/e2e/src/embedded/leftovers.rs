//! What is left of a root in which there is nothing any more; and taking away what a failed trial leaves.

use std::time::{Duration, Instant};

use hythe_host_leaks::names;

use super::Root;
use super::reader::{group, processes_in};

/// A supervisor may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(5);

impl Root {
    /// What there is, once given time to go.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.remove_default_network();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = hythe_host_leaks::of_root(&self.path());
            if found.is_empty() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Removes everything, whoever's it is.
    pub(super) fn clear(&self) {
        for record in self.records() {
            // What cannot be removed is found by whoever looks for leaks.
            let _ = self.tokio.block_on(self.embedded.destroy(&record.id));
            for pid in processes_in(&group(&record.id)) {
                let pid = rustix::process::Pid::from_raw(pid.cast_signed());
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            }
        }
        for name in names(self.at("networks/networks")) {
            let _ = self.tokio.block_on(self.embedded.remove_network(name.trim_end_matches(".json")));
        }
    }
}

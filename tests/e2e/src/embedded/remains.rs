//! What is left of a root in which there is nothing any more; and taking away what a failed trial leaves.

use std::fs;
use std::time::{Duration, Instant};

use hythe_runtime::{Networks, OpContext};
use hythe_traces::names;

use super::Root;
use super::witness::{group, processes_in};

/// A supervisor may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(5);

impl Root {
    /// Files, processes, mounts, control groups, links and rules, once given time to go.
    pub(crate) fn remains(&self) -> Vec<String> {
        self.remove_default_network();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.look();
            if found.is_empty() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn look(&self) -> Vec<String> {
        let path = self.path().display().to_string();
        let mut found = Vec::new();
        let directories = [
            "instances",
            "names",
            "making",
            "trash",
            "volumes",
            "networks/networks",
            "networks/members",
            "networks/instances",
        ];
        for directory in directories {
            found.extend(names(&self.at(directory)).into_iter().map(|name| format!("file {directory}/{name}")));
        }
        for pid in hythe_traces::processes() {
            let command = hythe_traces::command_line(pid);
            // An agent reads its configuration elsewhere, so that who names the root is a supervisor.
            if command.contains(&path) {
                found.push(format!("process {pid} {command}"));
            }
            if fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|mounts| mounts.contains(&path)) {
                found.push(format!("mount below {path} in process {pid} {command}"));
            }
        }
        found.extend(self.in_the_kernel());
        found
    }

    fn in_the_kernel(&self) -> Vec<String> {
        let realm = fs::read_to_string(self.at("networks/realm.json")).unwrap_or_default();
        let realm: serde_json::Value = serde_json::from_str(&realm).unwrap_or_default();
        let Some(digits) = digits(&realm) else { return Vec::new() };
        let prefix = format!("hythe{digits}");
        let links = hythe_traces::links().into_iter().filter(|link| link.starts_with(&prefix));
        let tables = hythe_traces::tables().into_iter().filter(|table| *table == format!("hythe_{digits}"));
        let rules = hythe_traces::named_in_rules().into_iter().filter(|links| *links == prefix);
        links.chain(tables).chain(rules).map(|name| format!("`{name}` in the kernel")).collect()
    }

    /// Removes everything, whoever's it is.
    pub(super) fn clear(&self) {
        let cx = OpContext::new("clean up");
        for record in self.records() {
            // What cannot be removed is found by whoever looks for leaks.
            let _ = self.tokio.block_on(self.embedded.destroy(&record.id));
            for pid in processes_in(&group(&record.id)) {
                let pid = rustix::process::Pid::from_raw(pid.cast_signed());
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            }
        }
        for name in names(&self.at("networks/networks")) {
            let _ = self.tokio.block_on(Networks::remove(&self.embedded, &cx, name.trim_end_matches(".json")));
        }
    }
}

/// What the names of links and rules of this root begin with, after `hythe`; the same reckoning as the driver's own.
fn digits(realm: &serde_json::Value) -> Option<String> {
    let byte = |at: usize| realm["id"][at].as_u64();
    let mut number = ((byte(0)? << 16) | (byte(1)? << 8) | byte(2)?) % 36_u64.pow(4);
    let mut digits = [0; 4];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).ok()?];
        number /= 36;
    }
    String::from_utf8(digits.to_vec()).ok()
}

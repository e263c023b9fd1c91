//! What there is, as `ctr` and the root's files say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hythe_host_leaks::names;
use serde_json::Value;

use super::Namespace;
use crate::engine::Row;

/// A supervisor may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// A task as `ctr tasks ls` shows it.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) pid: String,
    pub(super) status: String,
}

fn read(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn bears(labels: &Value, label: &str) -> bool {
    let (key, value) = label.split_once('=').unwrap();
    labels[key] == value
}

impl Namespace {
    pub(super) fn ids(&self) -> Vec<String> {
        self.ctr(&["containers", "ls", "-q"]).out.lines().map(str::to_owned).collect()
    }

    /// A container's record; null where there is none.
    pub(super) fn container(&self, id: &str) -> Value {
        serde_json::from_str(&self.ctr(&["containers", "info", id]).out).unwrap_or_default()
    }

    pub(super) fn tasks(&self) -> BTreeMap<String, Task> {
        let listed = self.ctr(&["tasks", "ls"]).out;
        let one = |line: &str| {
            let mut cells = line.split_whitespace().map(str::to_owned);
            Some((cells.next()?, Task { pid: cells.next()?, status: cells.next()? }))
        };
        listed.lines().skip(1).filter_map(one).collect()
    }

    /// By id or name.
    pub(super) fn find(&self, instance: &str) -> Result<String, String> {
        let is_it = |id: &String| id == instance || self.container(id)["Labels"]["hythe.instance"] == instance;
        self.ids().into_iter().find(is_it).ok_or_else(|| format!("no instance `{instance}`"))
    }

    /// Instances with this label. That one runs is what containerd says of its task.
    pub(crate) fn instances(&self, label: &str) -> Vec<Row> {
        let tasks = self.tasks();
        let row = |id: String| {
            let container = self.container(&id);
            let generation = container["Labels"]["hythe.generation"].as_str().and_then(|text| text.parse().ok());
            bears(&container["Labels"], label).then(|| Row {
                running: tasks.get(&id).is_some_and(|task| task.status == "RUNNING"),
                generation: generation.unwrap_or_default(),
                id,
            })
        };
        self.ids().into_iter().filter_map(row).collect()
    }

    /// Names of networks with this label.
    pub(crate) fn networks(&self, label: &str) -> Vec<String> {
        let directory = self.at("networks/networks");
        let found = names(&directory).into_iter().filter(|file| bears(&read(&directory.join(file))["labels"], label));
        found.filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect()
    }

    /// Names of volumes with this label.
    pub(crate) fn volumes(&self, label: &str) -> Vec<String> {
        let directory = self.at("volumes");
        let is_it = |name: &String| bears(&read(&directory.join(name).join("labels.json")), label);
        names(&directory).into_iter().filter(is_it).collect()
    }

    /// Pid of the supervisor of an instance, as the list of processes shows it.
    pub(crate) fn supervisor(&self, id: &str) -> Option<u32> {
        let directory = self.at("instances").join(id).display().to_string();
        let all = hythe_host_leaks::supervisors().into_iter();
        all.filter(|(_, line)| line.ends_with(&directory)).map(|(pid, _)| pid).next()
    }

    /// What there is, once given time to go.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.left();
            if found.is_empty() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut found = hythe_host_leaks::of_root(&self.path());
        let snapshots = self.ctr(&["snapshots", "ls"]).out;
        let active = snapshots.lines().filter(|line| line.ends_with("Active")).map(|line| format!("snapshot {line}"));
        found.extend(active);
        let leases = self.ctr(&["leases", "ls", "-q"]).out;
        found.extend(leases.lines().map(|lease| format!("lease {lease}")));
        found
    }

    /// Removes everything, whoever's it is.
    pub(super) fn clear(&self) {
        for id in self.ids() {
            // What cannot be removed is found by whoever looks for leaks.
            let _ = self.remove(&id);
        }
        for name in names(self.at("networks/networks")) {
            let _ = self.remove_network(name.trim_end_matches(".json"));
        }
        for image in self.ctr(&["images", "ls", "-q"]).out.lines() {
            self.ctr(&["images", "rm", "--sync", image]);
        }
        self.ctr(&["namespaces", "rm", &self.name]);
        // `ctr run` puts its containers below a group of the namespace, in every hierarchy.
        let hierarchies = Path::new(GROUPS);
        for hierarchy in names(hierarchies).iter().map(|name| hierarchies.join(name)).chain([hierarchies.to_owned()]) {
            // Most have none.
            let _ = fs::remove_dir(hierarchy.join(&self.name));
        }
    }
}

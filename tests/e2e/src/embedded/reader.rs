//! What there is, from the root's files and the kernel's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hythe_host_leaks::names;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Root;
use crate::engine::Row;

/// As much of an instance's record as is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Labelled {
    labels: BTreeMap<String, String>,
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn bears(labels: &BTreeMap<String, String>, label: &str) -> bool {
    let (key, value) = label.split_once('=').unwrap();
    labels.get(key).is_some_and(|had| had == value)
}

/// Living processes in the control group of this name, in whichever hierarchy.
pub(super) fn processes_in(group: &str) -> Vec<u32> {
    hythe_host_leaks::contained().into_iter().filter(|(_, name)| name == group).map(|(pid, _)| pid).collect()
}

/// What the control groups of an instance are called.
pub(super) fn group(id: &str) -> String {
    format!("hythe-{id}")
}

impl Root {
    pub(super) fn records(&self) -> Vec<Record> {
        let directory = self.at("instances");
        let record = |id: &String| read(&directory.join(id).join("instance.json"));
        names(&directory).iter().filter_map(record).collect()
    }

    /// By id or name.
    pub(super) fn record(&self, instance: &str) -> Option<Record> {
        self.records().into_iter().find(|record| record.id == instance || record.name == instance)
    }

    /// Pid of the supervisor of an instance, as the list of processes shows it.
    pub(crate) fn supervisor(&self, id: &str) -> Option<u32> {
        let directory = self.at("instances").join(id).display().to_string();
        let all = hythe_host_leaks::supervisors().into_iter();
        all.filter(|(_, line)| line.ends_with(&directory)).map(|(pid, _)| pid).next()
    }

    /// What became of it, as its supervisor wrote it down.
    pub(super) fn run(&self, id: &str) -> Value {
        read(&self.at("instances").join(id).join("run.json")).unwrap_or_default()
    }

    /// Instances with this label. That one runs is what the kernel says, not what is written down.
    pub(crate) fn instances(&self, label: &str) -> Vec<Row> {
        let records = self.records().into_iter().filter(|record| bears(&record.labels, label));
        let row = |record: Record| Row {
            running: !processes_in(&group(&record.id)).is_empty(),
            generation: record.labels.get("hythe.generation").and_then(|text| text.parse().ok()).unwrap_or_default(),
            id: record.id,
        };
        records.map(row).collect()
    }

    /// Names of networks with this label.
    pub(crate) fn networks(&self, label: &str) -> Vec<String> {
        let directory = self.at("networks/networks");
        let bears = |file: &String| read::<Labelled>(&directory.join(file)).is_some_and(|it| bears(&it.labels, label));
        let found = names(&directory).into_iter().filter(bears);
        found.filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect()
    }

    /// Names of volumes with this label.
    pub(crate) fn volumes(&self, label: &str) -> Vec<String> {
        let directory = self.at("volumes");
        let labels = |name: &String| read::<BTreeMap<String, String>>(&directory.join(name).join("labels.json"));
        names(&directory).into_iter().filter(|name| labels(name).is_some_and(|labels| bears(&labels, label))).collect()
    }
}

//! Facts about isolation: which there are, in which order of tightness, what each runtime had, and the table of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

mod order;
mod rows;

pub(crate) use rows::required;

/// A workload with the permissions that a file without any gives.
pub(crate) const DEFAULT: &str = "default";
/// A workload with `permissions = "none"`.
pub(crate) const NONE: &str = "none";

/// The columns of the table.
const COLUMNS: [&str; 4] = ["podman", "docker", "embedded", "embedded-rootless"];
/// What is judged, and by what.
const JUDGED: &str = "embedded";
const MEASURE: [&str; 2] = ["podman", "docker"];

/// The mounts that every container has.
const MOUNTS: [&str; 8] =
    ["/proc", "/sys", "/sys/fs/cgroup", "/sys/fs/cgroup/*", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];

/// Facts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Lines `name = value`.
    pub(crate) fn parse(text: &str) -> Self {
        let facts = text.lines().filter_map(|line| line.split_once(" = "));
        Self(facts.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Namespaces have numbers; what counts is whether they are the host's.
    pub(crate) fn compare_namespaces(&mut self, host: impl Fn(&str) -> Option<PathBuf>) {
        for (name, value) in &mut self.0 {
            if let Some(kind) = name.strip_prefix("namespace ") {
                let is_hosts = host(kind).is_some_and(|link| link.to_str() == Some(value));
                *value = if is_hosts { "the host's" } else { "own" }.to_owned();
            }
        }
    }

    /// The flags of the mounts that every container has, from `/proc/self/mountinfo`.
    pub(crate) fn add_mounts(&mut self, mountinfo: &str) {
        for line in mountinfo.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let (Some(target), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
            // Of the hierarchies of version 1 the flags that all have count.
            let target = if target.starts_with("/sys/fs/cgroup/") { "/sys/fs/cgroup/*" } else { target };
            if !MOUNTS.contains(&target) {
                continue;
            }
            let has = |flag: &&&str| options.split(',').any(|option| option == **flag);
            let flags: Vec<&str> = ["ro", "nosuid", "nodev", "noexec"].iter().filter(has).copied().collect();
            let known = self.0.entry(format!("mount {target}")).or_insert_with(|| flags.join(" "));
            let shared: Vec<&str> = known.split(' ').filter(|flag| flags.contains(flag)).collect();
            *known = if shared.is_empty() { "none".to_owned() } else { shared.join(" ") };
        }
    }
}

type Collected = BTreeMap<String, BTreeMap<String, Facts>>;

/// Facts by profile and subject.
static COLLECTED: Mutex<Collected> = Mutex::new(BTreeMap::new());

/// Keeps what a trial found.
pub(crate) fn note(subject: &str, profile: &str, facts: Facts) {
    let mut collected = COLLECTED.lock().unwrap_or_else(PoisonError::into_inner);
    collected.entry(profile.to_owned()).or_default().insert(subject.to_owned(), facts);
}

/// Everything found by this process.
pub(crate) fn collected() -> Collected {
    COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Adds what another process found.
pub(crate) fn merge(others: Collected) {
    for (profile, subjects) in others {
        subjects.into_iter().for_each(|(subject, facts)| note(&subject, &profile, facts));
    }
}

/// Rows in which the embedded runtime is less tight than another one that was judged in this run.
pub(crate) fn looser_rows() -> Vec<String> {
    let collected = collected();
    collected.iter().flat_map(|(profile, subjects)| looser(profile, subjects)).collect()
}

fn looser(profile: &str, subjects: &BTreeMap<String, Facts>) -> Vec<String> {
    let Some(ours) = subjects.get(JUDGED) else { return Vec::new() };
    let mut looser = Vec::new();
    for other in MEASURE {
        let Some(theirs) = subjects.get(other) else { continue };
        for row in rows::all(subjects.values()) {
            let (our, their) = (ours.get(&row.name), theirs.get(&row.name));
            if !row.order.at_least_as_tight(our, their) {
                let [our, their] = [our, their].map(|value| value.unwrap_or("absent"));
                looser.push(format!("{profile}: {}: `{our}` is less tight than `{their}` of {other}", row.name));
            }
        }
    }
    looser
}

/// The table in Markdown, where every column was judged.
pub(crate) fn markdown() -> Option<String> {
    let collected = collected();
    let complete = [DEFAULT, NONE].into_iter().all(|profile| {
        collected.get(profile).is_some_and(|subjects| COLUMNS.iter().all(|name| subjects.contains_key(*name)))
    });
    complete.then(|| page(&collected))
}

fn page(collected: &Collected) -> String {
    let mut page = "# Isolation\n\n\
        What a process in a workload finds out about its isolation. Written by the conformance suite \
        (`cargo xtask test --accept`); do not edit.\n\n\
        The suite fails where `embedded` is less tight than `podman` or `docker` in a row. \
        The last column says which value is tighter.\n"
        .to_owned();
    for (profile, title) in [(DEFAULT, "A default workload"), (NONE, "A workload with `permissions = \"none\"`")] {
        let Some(subjects) = collected.get(profile) else { continue };
        let _ = write!(page, "\n## {title}\n\n| fact | {} | tighter |\n|{}\n", COLUMNS.join(" | "), " --- |".repeat(6));
        for row in rows::all(COLUMNS.iter().filter_map(|name| subjects.get(*name))) {
            let value =
                |name: &&str| subjects.get(*name).and_then(|facts| facts.get(&row.name)).unwrap_or("absent").to_owned();
            let values: Vec<String> = COLUMNS.iter().map(value).collect();
            let _ = writeln!(page, "| {} | {} | {} |", row.name, values.join(" | "), row.order.describe());
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(ours: &str, theirs: &str) -> BTreeMap<String, Facts> {
        [("embedded", ours), ("docker", theirs)].map(|(name, text)| (name.to_owned(), Facts::parse(text))).into()
    }

    #[test]
    fn looser_value_is_named_with_its_row() {
        let tight = "CapEff = 00\nattempt bpf = refused\nlimit core = 0\ndevice nodes = null zero";
        let loose = "CapEff = 01\nattempt bpf = allowed\nlimit core = unlimited\ndevice nodes = loop0 null zero";
        assert!(looser(DEFAULT, &subjects(tight, loose)).is_empty());
        assert!(looser(DEFAULT, &subjects(tight, tight)).is_empty());
        let rows = looser(DEFAULT, &subjects(loose, tight));
        assert_eq!(rows.len(), 4, "{rows:?}");
        assert_eq!(rows[1], "default: limit core: `unlimited` is less tight than `0` of docker");
    }

    #[test]
    fn mounts_have_the_flags_of_the_least_protected() {
        let mut facts = Facts::default();
        facts.add_mounts(
            "1 0 0:1 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
             2 0 0:2 /x /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec - cgroup cgroup rw\n\
             3 0 0:3 /x /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw\n4 0 0:4 / /data rw - ext4 x rw",
        );
        assert_eq!(facts.get("mount /proc"), Some("nosuid nodev noexec"));
        assert_eq!(facts.get("mount /sys/fs/cgroup/*"), Some("nosuid"));
        assert_eq!(facts.0.len(), 2);
    }

    #[test]
    fn namespace_is_the_hosts_or_its_own() {
        let mut facts = Facts::parse("namespace pid = pid:[1]\nnamespace net = net:[2]");
        facts.compare_namespaces(|kind| (kind == "pid").then(|| "pid:[1]".into()));
        assert_eq!(facts, Facts::parse("namespace pid = the host's\nnamespace net = own"));
    }
}

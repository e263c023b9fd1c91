//! What the embedded runtime leaves on a machine, found by names and places alone.
//!
//! For: whoever proves that nothing is left, be it one trial or the run of all tests. It asks the kernel in the kernel's own words and nothing of the code
//! under test.
//! Also the unprivileged users ([`unprivileged`]) that such trials are about, how long trials take ([`slow`]), and one that fails by accident ([`retry`]).
//! Not for: engines and their objects (`xtask`), nor for files, whose places only the one who made them knows.

pub mod retry;
mod root;
mod rules;
pub mod slow;
pub mod unprivileged;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub use root::of_root;
pub use rules::{addresses_in_rules, named_in_rules, tables};

/// Digits of an instance's id.
const ID: usize = 32;
const GROUP: &str = "hythe-";

/// One line for each process, mount, control group, link and rule that is or may be one of the embedded runtime's.
pub fn all() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    found.extend(supervisors().into_iter().map(|(pid, line)| format!("process {pid} {line}")));
    found.extend(carriers().into_iter().map(|(pid, line)| format!("process {pid} {line}")));
    found.extend(groups().into_iter().map(|group| format!("cgroup {}", group.display())));
    found.extend(contained().into_iter().map(|(pid, group)| format!("process {pid} in {group}")));
    found.extend(mounts().into_iter().map(|mount| format!("mount {}", mount.display())));
    found.extend(links().into_iter().map(|link| format!("interface {link}")));
    found.extend(tables().into_iter().map(|table| format!("firewall table {table}")));
    found.extend(named_in_rules().into_iter().map(|links| format!("firewall rule for {links}")));
    found.extend(addresses_in_rules().into_iter().map(|address| format!("firewall rule for {address}")));
    found
}

/// Names in a directory; none where there is no such directory.
pub fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Numbers of all processes, whether they still run or are only not reaped yet.
pub fn processes() -> Vec<u32> {
    names("/proc").iter().filter_map(|name| name.parse().ok()).collect()
}

/// Whether a process is still at work: one that nobody has reaped is not.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The words that a process was started with, separated by spaces; empty where it is gone.
pub fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ")
}

/// Supervisors of containers, with their command lines.
pub fn supervisors() -> Vec<(u32, String)> {
    let is_one = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        words.len() == 4 && words[1] == "shim" && ["start", "recover", "task", "resume"].contains(&words[2])
    };
    let all = processes().into_iter().map(|pid| (pid, command_line(pid)));
    all.filter(|(pid, line)| is_one(line) && lives(*pid)).collect()
}

/// Programs that carry what leaves an unprivileged user's networks, by the name of their link.
pub fn carriers() -> Vec<(u32, String)> {
    let is_one = |line: &str| line.contains("netns") && line.split(' ').any(|word| word == "outward");
    let all = processes().into_iter().map(|pid| (pid, command_line(pid)));
    all.filter(|(pid, line)| is_one(line) && lives(*pid)).collect()
}

/// Living processes in a control group of ours, with the name of the group.
pub fn contained() -> Vec<(u32, String)> {
    let group_of = |pid: u32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.split(['/', '\n']).find(|part| is_group(part)).map(str::to_owned)
    };
    let all = processes().into_iter().filter_map(|pid| Some((pid, group_of(pid)?)));
    all.filter(|(pid, _)| lives(*pid)).collect()
}

/// Directories of control groups of ours, in every hierarchy.
pub fn groups() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_hierarchy = |line: &&str| line.contains(" - cgroup ") || line.contains(" - cgroup2 ");
    let hierarchies = table.lines().filter(is_hierarchy).filter_map(|line| line.split(' ').nth(4));
    let mut groups = BTreeSet::new();
    for hierarchy in hierarchies {
        groups.extend(
            names(hierarchy).into_iter().filter(|name| is_group(name)).map(|name| Path::new(hierarchy).join(name)),
        );
    }
    groups.into_iter().collect()
}

fn is_group(name: &str) -> bool {
    name.strip_prefix(GROUP).is_some_and(is_id)
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Mount points at or below the directory of an instance that this process sees. There ought never to be one: they belong to the supervisor's own table.
pub fn mounts() -> Vec<PathBuf> {
    points(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn points(table: &str) -> Vec<PathBuf> {
    let is_ours = |point: &&str| {
        let mut parts = point.split('/').skip_while(|part| *part != "instances").skip(1);
        parts.next().is_some_and(is_id)
    };
    table.lines().filter_map(|line| line.split(' ').nth(4)).filter(is_ours).map(PathBuf::from).collect()
}

/// Bridges and the host's ends of virtual cables that bear a name of ours: `hythe`, four digits of whose they are, `b` or `v`, a number.
pub fn links() -> Vec<String> {
    names("/sys/class/net").into_iter().filter(|name| is_link(name)).collect()
}

fn is_link(name: &str) -> bool {
    let Some((realm, rest)) = name.strip_prefix("hythe").and_then(|rest| rest.split_at_checked(4)) else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    realm.bytes().all(is_digit) && rest.starts_with(['b', 'v']) && rest.len() > 1 && rest.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ours_are_distinguished_from_others() {
        assert!(is_link("hythe1a2bb17") && is_link("hythepbltv11"));
        assert!(!is_link("hythe-shop") && !is_link("hythe1a2b") && !is_link("vethabc") && !is_link("hythe1a2bx1"));
        assert!(is_group("hythe-0123456789abcdef0123456789abcdef"));
        assert!(!is_group("hythe-shop") && !is_group("0123456789abcdef0123456789abcdef"));
    }
    #[test]
    fn a_mount_of_an_instance_is_distinguished_from_others() {
        let ours = "/var/lib/x/instances/0123456789abcdef0123456789abcdef/root";
        let line = |point: &str| format!("36 25 0:32 / {point} rw,relatime shared:1 - overlay overlay rw\n");
        let table = [line("/"), line(ours), line("/var/lib/x/instances/other/root"), line("/proc")].concat();
        assert_eq!(points(&table), [PathBuf::from(ours)]);
    }
}

//! What a component is granted of the host and the kernel, and how much of its log is kept.

use std::collections::HashSet;

use super::component::{MAX_ID, NO_LIMIT, TOO_LARGE};
use super::{MAX_LOG_FILES, Problem};
use crate::units::MAX_SIZE;
use crate::{Component, Network, sysctl};

/// What podman calls the groups of whoever runs it.
const KEEP_GROUPS: &str = "keep-groups";
/// Less than two of the longest lines that engines write at once.
const MIN_LOG: u64 = 16 << 10;

pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let mut problems = groups(path, component);
    problems.extend(sysctls(path, component));
    problems.extend(devices(path, component));
    problems.extend(logs(path, component));
    problems
}

fn groups(path: &str, component: &Component) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (at, group) in component.group_add.iter().enumerate() {
        let path = format!("{path}.group_add[{at}]");
        if group == KEEP_GROUPS {
            let problem = Problem::new(path, "`keep-groups` would be other groups on every runtime");
            problems.push(problem.hint("name the groups that the workload needs"));
        } else if !is_group(group) {
            let problem = Problem::new(path, format!("`{}` is not a group", group.escape_debug()));
            problems.push(problem.hint("write a name of the image's `/etc/group`, or a number up to 2147483647"));
        } else if !seen.insert(group) {
            problems.push(Problem::new(path, format!("the group `{group}` is named twice")));
        }
    }
    problems
}

fn is_group(text: &str) -> bool {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-$".contains(&b)) && !text.starts_with('-');
    if is_number { text.parse().is_ok_and(|id: u32| id <= MAX_ID) } else { !text.is_empty() && is_name }
}

fn sysctls(path: &str, component: &Component) -> Vec<Problem> {
    let problem = |(name, value): (&String, &String)| {
        let place = format!("{path}.sysctls.{name}");
        if let Err(error) = sysctl::check(name, value) {
            let problem = Problem::new(place, error.message);
            return Some(Problem { hint: error.hint, ..problem });
        }
        if component.network == Network::Host && sysctl::is_of_network(name) {
            let message = format!("on the host's network, `{name}` is the host's");
            let problem =
                Problem::new(place, message).hint("set it on the host, or use a network of the service's own");
            return Some(problem.related(format!("{path}.network"), "the network"));
        }
        None
    };
    component.sysctls.iter().filter_map(problem).collect()
}

fn devices(path: &str, component: &Component) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let problem = |(at, device): (usize, &crate::Device)| {
        let place = format!("{path}.devices[{at}]");
        if let Err(error) = device.check() {
            return Some(Problem { hint: error.hint, ..Problem::new(place, error.message) });
        }
        let target = device.target().map_or_else(|| device.to_string(), str::to_owned);
        let mount = component.mounts.iter().find(|mount| mount.target == target);
        if let Some(mount) = mount {
            return Some(Problem::new(place, format!("`{}` is a mount and a device", mount.target)));
        }
        (!seen.insert(target.clone())).then(|| Problem::new(place, format!("two devices are at `{target}`")))
    };
    component.devices.iter().enumerate().filter_map(problem).collect()
}

fn logs(path: &str, component: &Component) -> Vec<Problem> {
    let Some(limits) = component.logs else { return Vec::new() };
    let size = limits.max_size.map_or(MIN_LOG, |size| size.0);
    let files = limits.max_files.unwrap_or(1);
    let mut problems = Vec::new();
    if size < MIN_LOG {
        problems.push(
            Problem::new(format!("{path}.logs.max_size"), "smaller than a long line").hint("give at least `16k`"),
        );
    } else if size > MAX_SIZE {
        problems.push(Problem::new(format!("{path}.logs.max_size"), TOO_LARGE).hint(NO_LIMIT));
    }
    if !(1..=MAX_LOG_FILES).contains(&files) {
        let message = format!("a log has between 1 and {MAX_LOG_FILES} files");
        problems.push(Problem::new(format!("{path}.logs.max_files"), message));
    }
    problems
}

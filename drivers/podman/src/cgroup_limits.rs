//! Limits in force, read from the instance's cgroup: `podman update` of version 4 changes them there and writes them down nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use hythe_runtime::Observed;
use hythe_spec::{ByteSize, Millicores};

use crate::stats::{CGROUPS, NO_LIMIT, is_unified};

/// Cgroups count memory in pages of at most this size.
const LARGEST_PAGE: u64 = 64 << 10;
/// Systemd rounds a share of a processor up to one percent.
const CPU_STEP: u64 = 10;

/// Limits as the kernel enforces them; `None`: not to be read here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    memory: Option<Limit>,
    cpus: Option<Limit>,
    pids: Option<Limit>,
}

/// A limit, or that there is none.
type Limit = Option<u64>;

/// Reads them; a cgroup that is gone says nothing.
pub(crate) fn in_force(cgroup: &str) -> InForce {
    let below = cgroup.trim_start_matches('/');
    if below.is_empty() {
        return InForce::default();
    }
    let read = |path: PathBuf| fs::read_to_string(path).ok();
    if is_unified() {
        let file = |name: &str| read(Path::new(CGROUPS).join(below).join(name));
        let memory = file("memory.max").and_then(|text| limit(&text));
        let pids = file("pids.max").and_then(|text| limit(&text));
        return InForce { memory, pids, cpus: file("cpu.max").and_then(|text| share(&text)) };
    }
    let file = |controller: &str, name: &str| read(Path::new(CGROUPS).join(controller).join(below).join(name));
    let quota = file("cpu", "cpu.cfs_quota_us").zip(file("cpu", "cpu.cfs_period_us"));
    InForce {
        memory: file("memory", "memory.limit_in_bytes").and_then(|text| limit(&text)),
        cpus: quota.and_then(|(quota, period)| share(&format!("{} {}", quota.trim(), period.trim()))),
        pids: file("pids", "pids.max").and_then(|text| limit(&text)),
    }
}

impl InForce {
    /// Puts what differs beyond rounding in place of what is configured.
    pub(crate) fn apply(&self, observed: &mut Observed) {
        let resources = &mut observed.resources;
        let memory = resources.memory.map(|size| size.0);
        if let Some(forced) = self.memory.filter(|forced| differ(*forced, memory, LARGEST_PAGE)) {
            resources.memory = forced.map(ByteSize);
        }
        let cpus = resources.cpus.map(|cpus| cpus.0);
        if let Some(forced) = self.cpus.filter(|forced| differ(*forced, cpus, CPU_STEP)) {
            resources.cpus = forced.map(Millicores);
        }
        let pids = resources.pids.map(u64::from);
        if let Some(forced) = self.pids.filter(|forced| differ(*forced, pids, 1)) {
            resources.pids = forced.and_then(|pids| u32::try_from(pids).ok());
            // What is not as configured is no default.
            observed.default_limits_unknown = false;
        }
    }
}

fn differ(forced: Limit, configured: Limit, step: u64) -> bool {
    match (forced, configured) {
        (Some(forced), Some(configured)) => forced.abs_diff(configured) >= step,
        (forced, configured) => forced != configured,
    }
}

fn limit(text: &str) -> Option<Limit> {
    match text.trim() {
        "max" => Some(None),
        number => number.parse().ok().map(|number| Some(number).filter(|number| *number < NO_LIMIT)),
    }
}

/// `quota period`, in thousandths of a core.
fn share(text: &str) -> Option<Limit> {
    let (quota, period) = text.trim().split_once(' ')?;
    let period: u64 = period.parse().ok()?;
    match quota {
        "max" | "-1" => Some(None),
        quota => Some(quota.parse::<u64>().ok()?.saturating_mul(1000).checked_div(period)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_versions_are_read() {
        assert_eq!(
            (limit("max\n"), limit("9223372036854771712\n"), limit("64\n")),
            (Some(None), Some(None), Some(Some(64)))
        );
        assert_eq!(
            (share("max 100000\n"), share("-1 100000"), share("50000 100000")),
            (Some(None), Some(None), Some(Some(500)))
        );
        assert_eq!((limit("much"), share("50000")), (None, None));
    }

    #[test]
    fn rounding_is_no_difference() {
        assert!(!differ(Some(6 << 20), Some((6 << 20) + 100), LARGEST_PAGE));
        assert!(!differ(Some(510), Some(505), CPU_STEP));
        assert!(
            differ(Some(700), Some(500), CPU_STEP) && differ(None, Some(500), CPU_STEP) && differ(Some(5), None, 1)
        );
    }
}

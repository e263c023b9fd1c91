//! Hard limits that this host does not let podman raise.

use std::fs;

use hythe_spec::Ulimit;
use rustix::process::{Resource, getrlimit};

/// Bit of `CAP_SYS_RESOURCE`, the right to raise hard limits.
const SYS_RESOURCE: u64 = 1 << 24;

/// `nofile` and `nproc` as high as this host allows, where podman's own, higher values would fail; empty where they would not.
pub(crate) fn of_this_host() -> Vec<Ulimit> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if may_raise(&status) {
        return Vec::new();
    }
    let pids = fs::read_to_string("/proc/sys/kernel/pid_max").ok();
    let pids = pids.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
    let limit = |name: &str, resource, at_most: u64| {
        let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(at_most);
        let hard = i64::try_from(hard).unwrap_or(-1);
        Ulimit { name: name.to_owned(), soft: hard, hard }
    };
    vec![limit("nofile", Resource::Nofile, u64::MAX), limit("nproc", Resource::Nproc, pids)]
}

fn may_raise(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_none_or(|set| set & SYS_RESOURCE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_one_bit() {
        assert!(may_raise("CapInh:\t0\nCapEff:\t000001ffffffffff\n"));
        assert!(!may_raise("CapEff:\t000001fffeffffff\n"));
        assert!(may_raise(""));
    }
}

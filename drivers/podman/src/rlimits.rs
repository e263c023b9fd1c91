//! Hard limits that this host does not let podman raise.

use std::fs;

use hythe_runtime::rlimits::hard_limits;
use hythe_spec::Ulimit;

/// Bit of `CAP_SYS_RESOURCE`, the right to raise hard limits.
const SYS_RESOURCE: u64 = 1 << 24;

/// `nofile` and `nproc` as high as this host allows, where podman's own, higher values would fail; empty where they would not.
pub(crate) fn of_this_host() -> Vec<Ulimit> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if may_raise(&status) {
        return Vec::new();
    }
    hard_limits(u64::MAX)
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

//! Hard limits (rlimits) that this host lets a process have, for engines whose own defaults may be higher.

use std::fs;

use hythe_spec::Ulimit;
use rustix::process::{Resource, getrlimit};

/// `nofile` and `nproc` as high as this process may set them, `most` at most; `nproc` also at most the host's largest pid.
pub fn hard_limits(most: u64) -> Vec<Ulimit> {
    let pid_max = fs::read_to_string("/proc/sys/kernel/pid_max").ok();
    let pid_max = pid_max.and_then(|text| text.trim().parse().ok()).unwrap_or(most);
    let limit = |name: &str, resource, most: u64| {
        let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX).min(most);
        // Unmodelled what the field can hold, -1: unlimited.
        let hard = i64::try_from(hard).unwrap_or(-1);
        Ulimit { name: name.to_owned(), soft: hard, hard }
    };
    vec![limit("nofile", Resource::Nofile, most), limit("nproc", Resource::Nproc, pid_max.min(most))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_limits_are_at_most_what_is_asked_for() {
        let limits = hard_limits(7);
        assert!(limits.iter().all(|limit| limit.soft == limit.hard && (0..=7).contains(&limit.hard)), "{limits:?}");
        assert_eq!(limits.iter().map(|limit| limit.name.as_str()).collect::<Vec<_>>(), ["nofile", "nproc"]);
    }
}

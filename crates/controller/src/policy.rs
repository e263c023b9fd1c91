//! Decisions about restarts and replacement. Pure.

use std::time::Duration;

use hythe_spec::{Component, MountSource, Port, Restart};

/// What follows the end of a main process that should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is started again after this time.
    Restart(Duration),
    /// It has done its work.
    Complete,
    /// It stays down.
    Fail,
}

/// A run of at least this long starts the back-off anew.
pub(crate) const STABLE: Duration = Duration::from_secs(10);

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What follows exit code `code`, after `failures` short or failed runs in a row, this one included.
pub(crate) fn after_exit(policy: Restart, code: Option<i32>, failures: u32) -> Next {
    match policy {
        Restart::No | Restart::OnFailure { .. } if code == Some(0) => Next::Complete,
        Restart::No => Next::Fail,
        Restart::OnFailure { max_retries: Some(max) } if failures > max => Next::Fail,
        Restart::OnFailure { .. } | Restart::Always | Restart::UnlessStopped => Next::Restart(delay(failures)),
    }
}

/// Time before the next try after so many failures in a row: 1 s doubling to 60 s.
pub(crate) fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1u32.checked_shl(failures.saturating_sub(1).min(6)).unwrap_or(64)).min(LONGEST_DELAY)
}

/// Whether two instances cannot run side by side: they would hold one host port or write one volume or host path.
pub(crate) fn clash(old: &Component, new: &Component) -> bool {
    shares_port(&old.ports, &new.ports) || shares_writable(old, new)
}

fn shares_port(old: &[Port], new: &[Port]) -> bool {
    old.iter().any(|a| {
        new.iter().any(|b| {
            let same_address = a.host_ip == b.host_ip
                || [a.host_ip, b.host_ip].iter().any(|ip| ip.is_none_or(|ip| ip.is_unspecified()));
            a.host_port.is_some() && a.host_port == b.host_port && a.protocol == b.protocol && same_address
        })
    })
}

fn shares_writable(old: &Component, new: &Component) -> bool {
    let places = |component: &Component| -> Vec<MountSource> {
        component
            .mounts
            .iter()
            .chain(&component.permissions.mounts)
            .filter(|mount| !mount.read_only && !matches!(mount.source, MountSource::Tmpfs { .. }))
            .map(|mount| mount.source.clone())
            .collect()
    };
    let new = places(new);
    places(old).iter().any(|place| new.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_failure_is_bounded_and_ends_with_success() {
        let policy = Restart::OnFailure { max_retries: Some(2) };
        assert_eq!(after_exit(policy, Some(0), 1), Next::Complete);
        assert_eq!(after_exit(policy, Some(3), 2), Next::Restart(Duration::from_secs(2)));
        assert_eq!(after_exit(policy, Some(3), 3), Next::Fail);
    }

    #[test]
    fn always_restarts_after_success_too() {
        assert_eq!(after_exit(Restart::Always, Some(0), 1), Next::Restart(Duration::from_secs(1)));
        assert_eq!(after_exit(Restart::No, Some(1), 1), Next::Fail);
    }

    #[test]
    fn the_delay_doubles_to_a_minute() {
        let seconds: Vec<u64> = (1..9).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}

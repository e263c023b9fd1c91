//! Limits.

use hythe_runtime::{DEFAULT_PIDS, Observed};
use hythe_spec::vocabulary::DriftCause;
use hythe_spec::{Resources, Ulimit};
use serde_json::json;

use super::found::Found;

pub(super) fn limits(desired: &Resources, seen: &Observed, found: &mut Found) {
    let Resources { memory, cpus, pids, shm_size, ulimits } = desired;
    let have = &seen.resources;
    found.same("memory", memory, &have.memory);
    found.same("cpus", cpus, &have.cpus);
    // Unasked, an instance has our default, or none of an earlier version.
    let is_default = have.pids.is_none_or(|pids| pids == DEFAULT_PIDS);
    if pids.is_some() || !(seen.default_limits_unknown || is_default) {
        found.same("pids", pids, &have.pids);
    }
    // Unasked, the size of shared memory and the pids limits are the engine's, which may be configured.
    if shm_size.is_some() {
        found.same("shm_size", shm_size, &have.shm_size);
    }
    for limit in ulimits {
        ulimit(limit, &have.ulimits, found);
    }
}

fn ulimit(desired: &Ulimit, have: &[Ulimit], found: &mut Found) {
    let words = |limit: &Ulimit| json!(format!("{}:{}", limit.soft, limit.hard));
    let field = format!("ulimits.{}", desired.name);
    let Some(observed) = have.iter().find(|limit| limit.name == desired.name) else {
        return found.missing(field, words(desired));
    };
    // An engine gives for `unlimited` the most it may.
    let fits = |desired: i64, observed: i64| desired == -1 || desired == observed;
    if !fits(desired.soft, observed.soft) || !fits(desired.hard, observed.hard) {
        found.push(field, words(desired), words(observed), DriftCause::Modified);
    }
}

//! Kernel parameters, devices, how much of the log is kept.

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::Observed;
use hythe_runtime::plan::{ANY_PING, ANY_PORT};
use hythe_spec::{Device, LogLimits};

use super::found::Found;

pub(super) fn sysctls(desired: &BTreeMap<String, String>, seen: &Observed, found: &mut Found) {
    let Some(have) = &seen.sysctls else { return };
    for (name, value) in desired {
        found.entry("sysctls", name, value, have.get(name));
    }
    // What every network of an instance's own has is in no component.
    let given = |name: &String, value: &String| [ANY_PORT, ANY_PING].contains(&(name.as_str(), value.as_str()));
    let unexpected = have.iter().filter(|(name, value)| !desired.contains_key(*name) && !given(name, value));
    found.unexpected_entries("sysctls", unexpected);
}

pub(super) fn devices(desired: &[Device], seen: &Observed, found: &mut Found) {
    let Some(have) = &seen.devices else { return };
    let words = |devices: &[Device]| devices.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (desired, have) = (words(desired), words(have));
    found.members("devices", &names(&desired), &names(&have), true);
}

fn names(words: &BTreeSet<String>) -> BTreeSet<&str> {
    words.iter().map(String::as_str).collect()
}

/// What nobody asked for is as the runtime is configured.
pub(super) fn logs(desired: Option<&LogLimits>, seen: &Observed, found: &mut Found) {
    let (Some(desired), Some(have)) = (desired, &seen.logs) else { return };
    if desired.max_size.is_some() {
        found.same("logs.max_size", &desired.max_size, &have.max_size);
    }
    if desired.max_files.is_some() {
        found.same("logs.max_files", &desired.max_files, &have.max_files);
    }
}

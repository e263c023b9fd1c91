//! Environment and labels.

use std::collections::BTreeMap;

use hythe_runtime::Observed;
use hythe_runtime::identity::COMPONENT_SPEC;

use super::found::Found;
use super::image::Inherited;

pub(super) fn env(desired: &BTreeMap<String, String>, seen: &Observed, inherited: &Inherited<'_>, found: &mut Found) {
    for (key, value) in desired {
        found.entry("env", key, value, seen.env.get(key));
    }
    let of_image = inherited.config().map(|config| &config.env);
    let is_unexpected = |key: &String, value: &String| match (&seen.explicit_env, of_image) {
        (Some(given), _) => given.contains(key),
        (None, Some(of_image)) => of_image.get(key) != Some(value),
        (None, None) => false,
    };
    let unasked = seen.env.iter().filter(|(key, _)| !desired.contains_key(*key));
    found.unexpected_entries("env", unasked.filter(|(key, value)| is_unexpected(key, value)));
}

pub(super) fn labels(
    desired: &BTreeMap<String, String>,
    seen: &Observed,
    inherited: &Inherited<'_>,
    found: &mut Found,
) {
    for (key, value) in desired {
        // Another version of the agent may write the same spec differently.
        let there = key == COMPONENT_SPEC && seen.labels.contains_key(key);
        if !there {
            found.entry("labels", key, value, seen.labels.get(key));
        }
    }
    let Some(of_image) = inherited.config().map(|config| &config.labels) else {
        return;
    };
    let unasked = seen.labels.iter().filter(|(key, _)| !desired.contains_key(*key) && *key != COMPONENT_SPEC);
    found.unexpected_entries("labels", unasked.filter(|(key, value)| of_image.get(*key) != Some(value)));
}

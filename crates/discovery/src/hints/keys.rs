//! The keys that `hythe.*` and `koi.*` share.

use hythe_runtime::identity::{ATTEMPT, COMPONENT, COMPONENT_SPEC, GENERATION, OWNER, PLAN_HASH, SERVICE};
use hythe_runtime::labels::Labels;

use super::values::Values;

/// Reads one key's value; the source is the whole label.
type Read = fn(&mut Values, &str, &str);

/// What may stand behind `hythe.` or `koi.`.
const KEYS: &[(&str, Read)] = &[
    ("enable", |values, source, text| values.switch(source, text)),
    ("name", |values, source, text| values.text("name", source, text, |hints| &mut hints.name)),
    ("dns.name", |values, source, text| values.text("dns_name", source, text, |hints| &mut hints.dns_name)),
    ("type", |values, source, text| values.service_type(source, text)),
    ("port", |values, source, text| values.port("port", source, text, |hints| &mut hints.port)),
    ("proxy.port", |values, source, text| values.port("proxy_port", source, text, |hints| &mut hints.proxy_port)),
    ("proxy.remote", |values, source, text| {
        values.flag("proxy_remote", source, text, |hints| &mut hints.proxy_remote);
    }),
    ("certmesh", |values, source, text| values.flag("certmesh", source, text, |hints| &mut hints.certmesh)),
    ("health.kind", |values, source, text| values.health_kind(source, text)),
    ("health.path", |values, source, text| values.text("health.path", source, text, |hints| &mut hints.health.path)),
    ("health.interval", |values, source, text| {
        values.time("health.interval", source, text, |hints| &mut hints.health.interval);
    }),
    ("health.timeout", |values, source, text| {
        values.time("health.timeout", source, text, |hints| &mut hints.health.timeout);
    }),
];
const TXT: &str = "txt.";
/// Labels of ours that are no hints.
const IDENTITY: &[&str] = &[OWNER, SERVICE, COMPONENT, GENERATION, ATTEMPT, PLAN_HASH, COMPONENT_SPEC];

/// Takes what the labels below a prefix say.
pub(super) fn read(prefix: &str, labels: &Labels, values: &mut Values) {
    for (key, read) in KEYS {
        let label = format!("{prefix}.{key}");
        if let Some(text) = labels.get(&label) {
            read(values, &label, text);
        }
    }
    for (label, text) in labels {
        let below = label.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
        let Some(key) = below.and_then(|rest| rest.strip_prefix(TXT)).filter(|key| !key.is_empty()) else { continue };
        if !values.hints.txt.contains_key(key) {
            values.hints.txt.insert(key.to_owned(), text.clone());
            values.hints.sources.insert(format!("txt.{key}"), label.clone());
        }
    }
}

/// A key of ours that nobody reads is a slip of the pen.
pub(super) fn unknown(labels: &Labels, values: &mut Values) {
    for label in labels.keys().filter(|label| !IDENTITY.contains(&label.as_str())) {
        let Some(key) = label.strip_prefix("hythe.") else { continue };
        if !key.starts_with(TXT) && !KEYS.iter().any(|(known, _)| *known == key) {
            values.hints.problems.push(format!("`{label}` is no label that is read"));
        }
    }
}

//! Collects differences; values of secret variables never get in.

use std::collections::BTreeSet;

use hythe_runtime::plan::{MASK, is_secret};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Cause, Difference};

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Difference>);

impl Found {
    pub(super) fn push(&mut self, field: impl Into<String>, desired: Value, observed: Value, cause: Cause) {
        self.0.push(Difference { field: field.into(), desired, observed, cause });
    }

    /// Changed by hand, unless equal.
    pub(super) fn same<T: PartialEq + Serialize>(&mut self, field: impl Into<String>, desired: &T, observed: &T) {
        if desired != observed {
            self.push(field, json!(desired), json!(observed), Cause::ChangedByHand);
        }
    }

    /// The same where the engine may not say.
    pub(super) fn same_if_told<T: PartialEq + Serialize>(&mut self, field: &str, desired: &T, observed: Option<&T>) {
        if let Some(observed) = observed {
            self.same(field, desired, observed);
        }
    }

    pub(super) fn missing(&mut self, field: impl Into<String>, desired: Value) {
        self.push(field, desired, Value::Null, Cause::Missing);
    }

    pub(super) fn extra(&mut self, field: impl Into<String>, observed: Value) {
        self.push(field, Value::Null, observed, Cause::Extra);
    }

    /// One variable or label that is desired.
    pub(super) fn entry(&mut self, field: &str, key: &str, desired: &str, observed: Option<&String>) {
        let name = format!("{field}.{key}");
        match observed {
            None => self.missing(name, shown(key, desired)),
            Some(observed) if observed != desired => {
                self.push(name, shown(key, desired), shown(key, observed), Cause::ChangedByHand);
            }
            Some(_) => {}
        }
    }

    /// Variables or labels that nobody asked for.
    pub(super) fn extra_entries<'a>(&mut self, field: &str, entries: impl Iterator<Item = (&'a String, &'a String)>) {
        for (key, value) in entries {
            self.extra(format!("{field}.{key}"), shown(key, value));
        }
    }

    /// Each of `desired` is there, and where `only`, nothing else.
    pub(super) fn members(&mut self, field: &str, desired: &BTreeSet<&str>, observed: &BTreeSet<&str>, only: bool) {
        for name in desired.difference(observed) {
            self.missing(format!("{field}.{name}"), json!(name));
        }
        for name in observed.difference(desired).filter(|_| only) {
            self.extra(format!("{field}.{name}"), json!(name));
        }
    }

    pub(super) fn done(self) -> Vec<Difference> {
        self.0
    }
}

fn shown(key: &str, value: &str) -> Value {
    if is_secret(key) { json!(MASK) } else { json!(value) }
}

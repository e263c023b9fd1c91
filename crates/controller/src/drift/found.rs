//! Collects differences; values of secret variables never get in.

use std::collections::BTreeSet;

use hythe_spec::mask;
use hythe_spec::vocabulary::DriftCause;
use serde::Serialize;
use serde_json::{Value, json};

use crate::model::Difference;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Difference>);

impl Found {
    pub(super) fn push(&mut self, field: impl Into<String>, desired: Value, observed: Value, cause: DriftCause) {
        let field = field.into();
        let (mut desired, mut observed) = (desired, observed);
        mask::field(&field, &mut desired);
        mask::field(&field, &mut observed);
        self.0.push(Difference { field, desired, observed, cause });
    }

    /// `Modified`, unless equal.
    pub(super) fn same<T: PartialEq + Serialize>(&mut self, field: impl Into<String>, desired: &T, observed: &T) {
        if desired != observed {
            self.push(field, json!(desired), json!(observed), DriftCause::Modified);
        }
    }

    /// The same, where the engine may not report it.
    pub(super) fn same_if_reported<T: PartialEq + Serialize>(
        &mut self,
        field: &str,
        desired: &T,
        observed: Option<&T>,
    ) {
        if let Some(observed) = observed {
            self.same(field, desired, observed);
        }
    }

    pub(super) fn missing(&mut self, field: impl Into<String>, desired: Value) {
        self.push(field, desired, Value::Null, DriftCause::Missing);
    }

    pub(super) fn unexpected(&mut self, field: impl Into<String>, observed: Value) {
        self.push(field, Value::Null, observed, DriftCause::Unexpected);
    }

    /// One variable or label that is desired.
    pub(super) fn entry(&mut self, field: &str, key: &str, desired: &str, observed: Option<&String>) {
        let name = format!("{field}.{key}");
        match observed {
            None => self.missing(name, json!(desired)),
            Some(observed) if observed != desired => {
                self.push(name, json!(desired), json!(observed), DriftCause::Modified);
            }
            Some(_) => {}
        }
    }

    /// Variables or labels that are not desired.
    pub(super) fn unexpected_entries<'a>(
        &mut self,
        field: &str,
        entries: impl Iterator<Item = (&'a String, &'a String)>,
    ) {
        for (key, value) in entries {
            self.unexpected(format!("{field}.{key}"), json!(value));
        }
    }

    /// Each of `desired` is there, and where `only`, nothing else.
    pub(super) fn members(&mut self, field: &str, desired: &BTreeSet<&str>, observed: &BTreeSet<&str>, only: bool) {
        for name in desired.difference(observed) {
            self.missing(format!("{field}.{name}"), json!(name));
        }
        for name in observed.difference(desired).filter(|_| only) {
            self.unexpected(format!("{field}.{name}"), json!(name));
        }
    }

    pub(super) fn done(self) -> Vec<Difference> {
        self.0
    }
}

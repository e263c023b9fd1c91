//! What changed between two services, field by field.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Service;
use crate::fingerprint::to_value;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The field, components by name: `components.web.ports`.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its value before; absent where it was added.
    pub old: Option<Value>,
    /// Its value now; absent where it was removed.
    pub new: Option<Value>,
}

/// What happened to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
}

/// Every field in which the services differ, sorted by path. Tables are compared key by key, lists as a whole; a component
/// that is there only once is one change.
pub fn diff(old: &Service, new: &Service) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", &by_name(old), &by_name(new), &mut changes);
    changes
}

/// The service as JSON with its components keyed by name instead of position.
fn by_name(service: &Service) -> Value {
    let mut value = to_value(service);
    let components: Map<String, Value> =
        service.components.iter().map(|component| (component.name.clone(), to_value(component))).collect();
    value["components"] = Value::Object(components);
    value
}

fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let value = |fields: &Map<String, Value>| fields.get(key).cloned().unwrap_or(Value::Null);
                compare(&path, &value(before), &value(after), changes);
            }
        }
        _ => changes.push(Change::new(path, old, new)),
    }
}

impl Change {
    fn new(path: &str, old: &Value, new: &Value) -> Self {
        let present = |value: &Value| Some(value.clone()).filter(|value| !value.is_null());
        let (old, new) = (present(old), present(new));
        let kind = match (&old, &new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        Self { path: path.to_owned(), kind, old, new }
    }
}

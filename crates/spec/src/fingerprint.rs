//! A stable name for what a component asks for: equal components, equal fingerprint.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::Component;

/// SHA-256, as lower-case hexadecimal, over the component's canonical JSON.
///
/// Fields that say what the default says are left out and keys are sorted, so the fingerprint survives the addition of fields.
/// Values a user wrote (an empty variable, an empty command) are never left out.
pub fn fingerprint(component: &Component) -> String {
    let default = to_value(&Component::new(&component.name, component.image.clone()));
    let mut canonical = without_defaults(to_value(component), &default);
    if let Value::Object(fields) = &mut canonical {
        fields.insert("name".to_owned(), Value::from(component.name.as_str()));
        fields.insert("image".to_owned(), Value::from(component.image.to_string()));
    }
    let mut text = String::new();
    write_sorted(&canonical, &mut text);
    sha256_hex(text.as_bytes())
}

pub(crate) fn to_value(value: &impl serde::Serialize) -> Value {
    // The types of this crate serialise without fail: their keys are strings and they write no errors of their own.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn without_defaults(value: Value, default: &Value) -> Value {
    match (value, default) {
        (Value::Object(fields), Value::Object(defaults)) => Value::Object(
            fields
                .into_iter()
                .filter(|(key, value)| !value.is_null() && defaults.get(key) != Some(value))
                .map(|(key, value)| {
                    let default = defaults.get(&key).cloned().unwrap_or(Value::Object(Map::new()));
                    (key, without_defaults(value, &default))
                })
                .collect(),
        ),
        (Value::Object(fields), _) => without_defaults(Value::Object(fields), &Value::Object(Map::new())),
        (value, _) => value,
    }
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write_sorted(&fields[key], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

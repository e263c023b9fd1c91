//! The create document for people: keys in order, secrets masked.

use hythe_runtime::plan::{MASK, is_secret};
use serde_json::{Map, Value};

/// The request with masked environment values and sorted keys.
pub(crate) fn explained(name: &str, body: Value) -> Value {
    let mut body = sorted(body);
    if let Some(Value::Array(env)) = body.get_mut("Env") {
        env.iter_mut().for_each(mask);
    }
    sorted(
        serde_json::json!({ "method": "POST", "path": "/containers/create", "query": { "name": name }, "body": body }),
    )
}

fn mask(variable: &mut Value) {
    let Some((key, _)) = variable.as_str().and_then(|text| text.split_once('=')) else { return };
    if is_secret(key) {
        *variable = Value::String(format!("{key}={MASK}"));
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

//! The create document for people: keys in order.

use serde_json::{Map, Value, json};

/// The request with sorted keys.
pub(crate) fn explained(name: &str, platform: Option<&str>, body: Value) -> Value {
    let mut query = json!({ "name": name });
    if let Some(platform) = platform {
        query["platform"] = json!(platform);
    }
    sorted(json!({ "method": "POST", "path": "/containers/create", "query": query, "body": body }))
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

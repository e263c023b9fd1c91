//! The JSON schema that editors complete and check service files with.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::ServiceFile;

/// Generated from the raw types; without the `null` that an optional Rust field allows and TOML cannot write.
pub(crate) fn schema() -> Value {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<ServiceFile>();
    let mut schema = schema.to_value();
    tidy(&mut schema);
    schema["title"] = Value::from("Hythe service file");
    schema
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(tidy);
            without_null(fields);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn without_null(fields: &mut Map<String, Value>) {
    for key in ["type", "anyOf", "enum"] {
        let Some(Value::Array(choices)) = fields.get_mut(key) else {
            continue;
        };
        choices.retain(|choice| {
            !choice.is_null() && choice != "null" && choice.get("type").is_none_or(|name| name != "null")
        });
        let only = match choices.as_slice() {
            [only] => only.clone(),
            _ => continue,
        };
        match only {
            Value::String(_) if key == "type" => drop(fields.insert(key.to_owned(), only)),
            Value::Object(inner) if key == "anyOf" => {
                fields.remove(key);
                for (key, value) in inner {
                    fields.entry(key).or_insert(value);
                }
            }
            _ => {}
        }
    }
    fields.retain(|key, value| key != "default" || !value.is_null());
}

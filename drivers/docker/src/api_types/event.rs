//! `GET /events`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::or_default;

/// One event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawEvent {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(rename = "Action", deserialize_with = "or_default")]
    pub(crate) action: String,
    #[serde(rename = "Actor")]
    pub(crate) actor: Actor,
    #[serde(rename = "time", deserialize_with = "or_default")]
    pub(crate) seconds: i64,
    #[serde(rename = "timeNano", deserialize_with = "or_default")]
    pub(crate) nanos: i64,
}

/// Whom an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Actor {
    #[serde(rename = "ID", deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(rename = "Attributes", deserialize_with = "or_default")]
    pub(crate) attributes: BTreeMap<String, String>,
}

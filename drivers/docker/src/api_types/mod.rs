//! What the engine answers, reduced to what is used, and tolerant: any string for a state, null for an empty list, additional keys.
//!
//! For: the shapes of documents. Not for: what they mean (`translate`).

mod container;
mod event;
mod image;
mod info;
mod objects;
mod stats;

use serde::{Deserialize, Deserializer};

pub(crate) use container::{
    Container, ContainerConfig, ContainerDevice, ContainerHostConfig, ContainerLog, ContainerMount, ContainerNetworks,
    ContainerRestart, ContainerRow, ContainerState, ExecState,
};
pub(crate) use event::RawEvent;
pub(crate) use image::{GraphDriver, ImageDocument, ImageRow, Report};
pub(crate) use info::Info;
pub(crate) use objects::{Network, Volume, Volumes};
pub(crate) use stats::{RawBlocks, RawMemory, RawStats};

/// `null` and absent are empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// One string, several, or none.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Strings {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Strings>::deserialize(from)? {
        None => Vec::new(),
        Some(Strings::One(text)) => vec![text],
        Some(Strings::Many(list)) => list,
    })
}

/// Body of an error answer.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorMessage {
    pub(crate) message: String,
}

/// Answer to a create.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Created {
    #[serde(rename = "Id", alias = "ID", alias = "id")]
    pub(crate) id: String,
    #[serde(rename = "Warnings", default, deserialize_with = "or_default")]
    pub(crate) warnings: Vec<String>,
}

//! Podman's JSON documents, as far as we read them.
//!
//! For: the shapes of what podman prints. Not for: what they mean (`translate`).

mod container;
mod create;
mod image;
mod info;
mod list;
mod objects;

use serde::{Deserialize, Deserializer};

pub(crate) use container::{Binding, Connection, Container, HostConfig, MountDocument, UlimitDocument};
pub(crate) use create::{
    ContainerSpec, CpuLimit, DeviceSpec, HealthConfig, LogConfiguration, MemoryLimit, MountSpec, NetworkOptions,
    PidsLimit, PortMapping, ResourceLimits, RlimitSpec, VolumeMount,
};
pub(crate) use image::{ConfigDocument, GraphDriver, ImageDocument};
pub(crate) use info::{Host, Info};
pub(crate) use list::{ContainerRow, ContainerRowPort};
pub(crate) use objects::{NetworkDocument, VolumeDocument};

/// Podman writes `null` where a list or map is empty.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The same where an absent key means another thing than `null`.
fn present<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    nullable(from).map(Some)
}

/// What the API answers where it refuses.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorMessage {
    pub(crate) message: String,
}

/// What it made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) id: String,
}

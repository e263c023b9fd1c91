//! Podman's JSON documents, as far as we read them, and what they say in the seam's words. Pure.

mod container;
mod observed;
mod row;
mod setup;

use std::net::IpAddr;

use hythe_runtime::State;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

pub(crate) use container::Container;
pub(crate) use observed::split_pair;
pub(crate) use row::Row;

/// Podman writes `null` where a list or map is empty.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The same where an absent key means another thing than `null`.
pub(super) fn told<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    nullable(from).map(Some)
}

pub(super) fn state(word: &str) -> State {
    match word {
        "created" | "configured" | "initialized" => State::Created,
        "running" => State::Running,
        "paused" => State::Paused,
        "stopping" => State::Stopping,
        "stopped" | "exited" => State::Exited,
        "removing" => State::Removing,
        _ => State::Unknown,
    }
}

/// Podman writes the year 1 for "never".
pub(crate) fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

/// An id with its algorithm.
pub(crate) fn digest(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

/// Every address of the host is no address.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().filter(|ip| *ip != IpAddr::from([0, 0, 0, 0]))
}

pub(crate) fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;

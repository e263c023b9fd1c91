//! Pure translation: a plan into podman's document, podman's documents into what was observed. No I/O here.

mod explain;
mod image;
mod listed;
mod mounts;
mod observed;
mod plan;
mod setup;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hythe_runtime::State;
use hythe_spec::{ByteSize, ImageRef, Ulimit};
use jiff::Timestamp;

pub(crate) use explain::explained;
pub(crate) use plan::container_spec;

/// What of the configured podman the document depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// An unprivileged user's podman.
    pub(crate) rootless: bool,
    /// Size at which a log starts anew.
    pub(crate) log_max_size: ByteSize,
    /// Address under which an instance reaches the host.
    pub(crate) host: Option<IpAddr>,
    /// Limits that podman would raise beyond what this host allows, unless it is told a value.
    pub(crate) rlimits: Vec<Ulimit>,
    /// Capabilities that podman gives where it is told nothing, without `CAP_`; empty: not known.
    pub(crate) default_capabilities: Vec<String>,
    /// A read-only root covers the shared memory: Podman since 5.
    pub(crate) read_only_shm: bool,
}

/// How far an instance is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Make it.
    Create,
    /// Make it and start it.
    Run,
}

/// A reference as podman takes it: never with both a tag and a digest; the digest decides.
pub(crate) fn native_image(image: &ImageRef) -> String {
    match &image.digest {
        Some(digest) => format!("{}@{digest}", image.repository()),
        None => image.to_string(),
    }
}

fn state(word: &str) -> State {
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
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

/// An id with its algorithm.
pub(crate) fn digest(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

/// Every address of the host is no address.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().filter(|ip| *ip != IpAddr::from([0, 0, 0, 0]))
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn split_pair(pair: &str) -> (String, String) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    (key.to_owned(), value.to_owned())
}

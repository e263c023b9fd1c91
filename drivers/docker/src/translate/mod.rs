//! Pure translation: a plan into the document of a create, the engine's answers into what was observed. No I/O here.

mod explain;
mod image;
mod mounts;
mod observed;
mod plan;
mod setup;
#[cfg(test)]
mod tests;

pub(crate) use explain::explained;
pub(crate) use image::{digest, full, image};
pub(crate) use observed::{listed, observed, state_of, timestamp};
pub(crate) use plan::{Surroundings, create, later_networks, platform, reference};
pub(crate) use setup::image_config;

/// Which program answers the API; they differ in what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// dockerd.
    Docker,
    /// Podman's compatible API.
    Podman,
}

impl Engine {
    /// The word in `RuntimeInfo.engine`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

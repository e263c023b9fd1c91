//! An image in the seam's words.

use hythe_runtime::{Image, ImageConfig, ImageHealth, docker_compat};
use hythe_spec::Platform;
use jiff::Timestamp;

use super::{digest, filled, split_pair, time};
use crate::api_types::{ConfigDocument, ImageDocument};

impl ImageDocument {
    pub(crate) fn image(self) -> Image {
        let health = ImageHealth::read(&self.healthcheck);
        let mut tags = self.repo_tags.or(self.names).unwrap_or_default();
        // What was fetched by digest has that as a name.
        tags.retain(|name| !name.contains('@'));
        let mut digests = self.repo_digests.unwrap_or_default();
        tags.sort();
        digests.sort();
        let created = match &self.created {
            serde_json::Value::String(text) => time(Some(text)),
            other => other.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        };
        Image {
            id: digest(&self.id),
            tags,
            digests,
            size: self.size,
            created,
            config: self.config.map(|config| ImageConfig { health, ..config.settings() }),
            platform: Platform::of(&self.os, &self.architecture, &self.variant),
        }
    }
}

impl ConfigDocument {
    fn settings(self) -> ImageConfig {
        ImageConfig {
            entrypoint: self.entrypoint.unwrap_or_default(),
            command: self.cmd.unwrap_or_default(),
            env: self.env.unwrap_or_default().iter().map(|pair| split_pair(pair)).collect(),
            user: filled(self.user),
            workdir: filled(self.working_dir),
            stop_signal: docker_compat::signal(&self.stop_signal),
            labels: self.labels.unwrap_or_default(),
            health: None,
        }
    }
}

//! An image of the store in the seam's words.

use hythe_oci::Stored;
use hythe_runtime::{Image, ImageConfig, ImageHealth};
use hythe_spec::ImageRef;

/// What an image says of its process.
pub fn config_of(image: &Stored) -> ImageConfig {
    let Some(config) = image.config.config() else { return ImageConfig::default() };
    let env = config.env().iter().flatten().filter_map(|line| line.split_once('='));
    ImageConfig {
        entrypoint: config.entrypoint().clone().unwrap_or_default(),
        command: config.cmd().clone().unwrap_or_default(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        user: config.user().clone().filter(|user| !user.is_empty()),
        workdir: config.working_dir().clone().filter(|path| !path.is_empty()),
        stop_signal: config.stop_signal().as_ref().and_then(|signal| signal.parse().ok()),
        labels: config.labels().clone().unwrap_or_default().into_iter().collect(),
        health: ImageHealth::read(&image.healthcheck),
    }
}

/// The image, without its settings in a list.
pub fn image_of(stored: &Stored, with_config: bool) -> Image {
    let references = stored.names.iter().filter_map(|name| name.parse::<ImageRef>().ok());
    let mut digests: Vec<String> = references
        .map(|name| format!("{}@{}", name.repository(), stored.index.as_ref().unwrap_or(&stored.digest)))
        .collect();
    if stored.names.is_empty() {
        // As Docker writes it: who deploys by digest must know it still.
        digests.push(format!("<none>@{}", stored.index.as_ref().unwrap_or(&stored.digest)));
    }
    digests.sort();
    digests.dedup();
    Image {
        id: stored.id.clone(),
        tags: stored.names.iter().filter(|name| !name.contains('@')).cloned().collect(),
        digests,
        size: stored.size,
        created: stored.config.created().as_ref().and_then(|time| time.parse().ok()),
        config: with_config.then(|| config_of(stored)),
        platform: stored.platform().filter(|_| with_config),
    }
}

//! An image in the seam's words.

use std::collections::BTreeMap;

use hythe_runtime::{Image, ImageConfig, ImageHealth};
use hythe_spec::ImageRef;
use serde_json::Value;

use crate::content::Stored;

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn word(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What an image says of its process.
pub(crate) fn config_of(document: &Value) -> ImageConfig {
    let config = &document["config"];
    let env = words(&config["Env"]).into_iter();
    let env = env.filter_map(|line| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    let labels = config["Labels"].as_object().into_iter().flatten();
    ImageConfig {
        entrypoint: words(&config["Entrypoint"]),
        command: words(&config["Cmd"]),
        env: env.collect(),
        user: word(&config["User"]),
        workdir: word(&config["WorkingDir"]),
        stop_signal: word(&config["StopSignal"]).and_then(|signal| signal.parse().ok()),
        labels: labels.filter_map(|(key, value)| Some((key.clone(), word(value)?))).collect::<BTreeMap<_, _>>(),
        health: ImageHealth::read(&config["Healthcheck"]),
    }
}

/// The image, without its settings in a list.
pub(crate) fn image_of(stored: &Stored, with_config: bool) -> Image {
    let references = stored.names.iter().filter_map(|name| name.parse::<ImageRef>().ok());
    let mut digests: Vec<String> =
        references.map(|name| format!("{}@{}", name.repository(), stored.manifest)).collect();
    digests.sort();
    digests.dedup();
    let mut tags: Vec<String> = stored.names.iter().filter(|name| !name.contains('@')).cloned().collect();
    tags.sort();
    Image {
        id: stored.id.clone(),
        tags,
        digests,
        size: stored.size,
        created: word(&stored.config["created"]).and_then(|time| time.parse().ok()),
        config: with_config.then(|| config_of(&stored.config)),
        platform: None,
    }
}

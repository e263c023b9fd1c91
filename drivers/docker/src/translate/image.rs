//! An image in the seam's words.

use hythe_runtime::Image;
use hythe_spec::{ImageRef, Platform};
use jiff::Timestamp;

use super::{image_config, timestamp};
use crate::api_types::ImageRow;

pub(crate) fn image(row: ImageRow) -> Image {
    let created = match &row.created {
        serde_json::Value::Number(seconds) => seconds.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        serde_json::Value::String(text) => timestamp(text),
        _ => None,
    };
    Image {
        id: digest(&row.id),
        tags: full(row.repo_tags),
        digests: full(row.repo_digests),
        size: row.size,
        created,
        config: row.config.map(image_config),
        platform: Platform::of(&row.os, &row.architecture, &row.variant),
    }
}

/// Engines shorten names; here they are whole. `<none>:<none>` is no name.
pub(crate) fn full(names: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> =
        names.iter().filter_map(|name| name.parse::<ImageRef>().ok()).map(|image| image.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

/// An id with its algorithm.
pub(crate) fn digest(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

//! Reading what a registry answered: headers, media types, its own words.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// How much of an answer that is no error envelope is worth showing, in characters.
const WORDS_LIMIT: usize = 200;

pub(crate) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| HeaderValue::to_str(value).ok()).map(str::to_owned)
}

/// The content type where it is one of a manifest; some registries say no more than `application/json`.
pub(crate) fn manifest_type(headers: &HeaderMap) -> Option<String> {
    let value = text(headers, &CONTENT_TYPE)?;
    let media_type = value.split(';').next()?.trim();
    media_type.starts_with("application/vnd.").then(|| media_type.to_owned())
}

pub(crate) fn media_type_within(body: &[u8]) -> Option<String> {
    let manifest: serde_json::Value = serde_json::from_slice(body).ok()?;
    manifest.get("mediaType")?.as_str().map(str::to_owned)
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<RegistryError>,
}

#[derive(Deserialize)]
struct RegistryError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The registry's own words: its error envelope, or else the start of what it sent.
pub(crate) fn words(body: &[u8]) -> String {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(body) {
        let texts = envelope.errors.into_iter().map(|complaint| match complaint.message.is_empty() {
            true => complaint.code,
            false => complaint.message,
        });
        return texts.collect::<Vec<_>>().join("; ");
    }
    let text = String::from_utf8_lossy(body);
    text.trim().chars().filter(|c| !c.is_control()).take(WORDS_LIMIT).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

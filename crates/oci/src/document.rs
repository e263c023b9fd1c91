//! What a manifest or an index is: told by what it holds, and what it is called must agree.
//!
//! One text that one tool reads as an index and another as a manifest is two images under one digest; see CVE-2021-41190.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a document of an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Index,
    Manifest,
}

impl Shape {
    const fn word(self) -> &'static str {
        match self {
            Self::Index => "an index",
            Self::Manifest => "a manifest",
        }
    }

    /// `None` for a type that says nothing about it.
    fn of_type(media_type: &str) -> Option<Self> {
        let is = |part| media_type.contains(part);
        if is("image.index.v1") || is("manifest.list.v2") {
            return Some(Self::Index);
        }
        (is("image.manifest.v1") || is("distribution.manifest.v2")).then_some(Self::Manifest)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// What the text is; `claimed` is the media type that a descriptor or a header gives it. An error finishes "it cannot be used: ".
pub(crate) fn shape(bytes: &[u8], claimed: Option<&str>) -> Result<Shape, String> {
    // A key that occurs twice is an error of this parser.
    let probe: Probe =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no document of an image: {error}"))?;
    let shape = match (probe.manifests.is_some(), probe.config.is_some() || probe.layers.is_some()) {
        (true, true) => return Err("it is an index and a manifest at once".to_owned()),
        (true, false) => Shape::Index,
        (false, true) => Shape::Manifest,
        (false, false) => return Err("it is neither an index nor a manifest".to_owned()),
    };
    for said in [probe.media_type.as_deref(), claimed].into_iter().flatten() {
        if Shape::of_type(said).is_some_and(|said| said != shape) {
            return Err(format!("its media type is `{said}`, but it is {}", shape.word()));
        }
    }
    Ok(shape)
}

/// Whether a descriptor's type may be that of a configuration; old tools wrote none, or that of bytes.
pub(crate) fn is_config_type(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/octet-stream"
            | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn shape_of_ambiguous_or_mislabelled_document_is_refused() {
        let index = "application/vnd.oci.image.index.v1+json";
        let manifest = "application/vnd.docker.distribution.manifest.v2+json";
        assert_eq!(shape(br#"{"manifests":[]}"#, None), Ok(Shape::Index));
        assert_eq!(shape(br#"{"manifests":[]}"#, Some(index)), Ok(Shape::Index));
        assert_eq!(shape(br#"{"config":{},"layers":[]}"#, Some(manifest)), Ok(Shape::Manifest));
        assert_eq!(shape(br#"{"config":{}}"#, Some("application/json")), Ok(Shape::Manifest));
        let cases = [
            (r#"{"manifests":[],"layers":[]}"#, None, "at once"),
            (r#"{"manifests":[],"config":{}}"#, Some(index), "at once"),
            (r#"{"manifests":[]}"#, Some(manifest), "it is an index"),
            (r#"{"config":{}}"#, Some(index), "it is a manifest"),
            (r#"{"config":{},"mediaType":"application/vnd.oci.image.index.v1+json"}"#, None, "it is a manifest"),
            (r#"{"config":{},"config":{}}"#, None, "duplicate"),
            (r#"{"schemaVersion":2}"#, None, "neither"),
            (r"[]", None, "no document"),
        ];
        for (text, claimed, words) in cases {
            let error = shape(text.as_bytes(), claimed).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

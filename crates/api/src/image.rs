//! Images in the engines and at registries.

use std::collections::BTreeMap;

use hythe_spec::ImageRef;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Query that names a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RuntimeQuery {
    /// Name of the runtime; absent: every one that answers (lists) or the preferred one (changes).
    pub runtime: Option<String>,
}

/// Query that names an image and a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageQuery {
    /// The image.
    pub image: ImageRef,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// One row of `GET /v1/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Runtime that has it.
    pub runtime: String,
    /// Digest of its configuration.
    pub id: String,
    /// Names.
    pub tags: Vec<String>,
    /// Registry digests.
    pub digests: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// Body of `POST /v1/images/pull`; the answer is an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullImage {
    /// The image.
    pub image: ImageRef,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// Body of `POST /v1/images/push`; the answer is an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushImage {
    /// The image.
    pub image: ImageRef,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// Body of `POST /v1/images/build`; the answer is an operation. Paths are on the agent's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildImage {
    /// Name for the result.
    pub image: ImageRef,
    /// Absolute directory with the files.
    pub context: String,
    /// Absolute path of the Dockerfile.
    pub dockerfile: String,
    /// Build arguments.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Ignore earlier results.
    #[serde(default)]
    pub no_cache: bool,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// Body of `POST /v1/images/load`; the answer is an operation whose result lists the images' names. The path is on the agent's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadImages {
    /// Absolute path of an archive as `docker save`, `podman save` or `hythe image pack` writes it.
    pub path: String,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// Body of `POST /v1/images/tag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagImage {
    /// The image.
    pub image: ImageRef,
    /// Its new name.
    pub name: ImageRef,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// `GET /v1/images/remote`: what the registry itself says; absent there is a `not-found` problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoteImage {
    /// The image.
    pub image: ImageRef,
    /// Digest its name stands for now.
    pub digest: String,
}

//! Images in the engines and at registries.

use std::collections::BTreeMap;

use hythe_spec::{BuildNetwork, ImageRef, Platform};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

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

/// Query of `DELETE /v1/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveImageQuery {
    /// The image.
    pub image: ImageRef,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
    /// An image that is not there is no error.
    #[serde(default)]
    pub ignore_missing: bool,
}

/// Query of `GET /v1/images`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ImagesQuery {
    /// Name of the runtime; absent: every one that answers.
    pub runtime: Option<String>,
    /// Those that no tag, no instance and no component refers to, and no others.
    pub dangling: bool,
}

/// Body of `POST /v1/images/prune`: removes images that no instance and no component uses, also those that the agent did not pull; snapshots stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PruneImages {
    /// Name of the runtime; absent: every one that answers.
    pub runtime: Option<String>,
    /// Those with a tag too.
    pub all: bool,
    /// Milliseconds: only images of at least this age, since their build or, where that was later, since the agent pulled them; one of unknown age stays.
    pub older_than: Option<u64>,
    /// Only say which.
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrunedImages {
    /// What was removed.
    pub removed: Vec<Image>,
    /// What could not be removed.
    pub failed: Vec<NotPruned>,
    /// Bytes of what was removed, as the engines count them; layers that several images share are counted for each.
    pub bytes: u64,
}

/// An image that could not be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotPruned {
    /// The image.
    pub image: Image,
    /// Why.
    pub problem: Problem,
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

/// `GET /v1/images/local`: an image of an engine, with what it says of its process. Values that look secret are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageDetail {
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// Entrypoint.
    pub entrypoint: Vec<String>,
    /// Command.
    pub command: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// User; absent: root.
    pub user: Option<String>,
    /// Working directory; absent: `/`.
    pub workdir: Option<String>,
    /// Signal that asks it to stop; absent: `TERM`.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Body of `POST /v1/images/pull`; the answer is an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullImage {
    /// The image.
    pub image: ImageRef,
    /// Platform that it is pulled for (`linux/arm64`); absent: the host's.
    #[serde(default)]
    pub platform: Option<Platform>,
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

/// Body of `POST /v1/images/build`; the answer is an operation. Paths are on the agent's host.
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
    /// What network its commands have.
    #[serde(default)]
    pub network: BuildNetwork,
    /// Name of the runtime; absent: the preferred one.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// Body of `POST /v1/images/load`; the answer is an operation whose result lists the images' names (`images`) and each image with its id (`loaded`). The path is on the agent's host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadImages {
    /// Absolute path of an archive as `docker save`, `podman save` or `hythe image pack` writes it.
    pub path: String,
    /// Name for the one image that has none in the archive; refused where not exactly one has none.
    #[serde(default)]
    pub name: Option<ImageRef>,
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

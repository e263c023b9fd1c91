//! Versions of an instance's files, kept by the engine as images.

mod instructions;

use std::collections::BTreeMap;

use async_trait::async_trait;
use hythe_spec::ImageRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Identity, InstanceRef, OpContext, Result, State};

pub use instructions::instructions;

/// Begins the labels by which an image says that it is a snapshot, and of whom: [`Identity::labels`] with `hythe.` replaced by this. They are others than an
/// instance's, since engines give an image's labels to all that is made of it.
pub const PREFIX: &str = "hythe.snapshot.";

const COMMIT: &str = "snapshot-commit";
/// What mount(2) takes of options.
const MOST_OPTIONS: usize = 4095;

/// What to keep, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// Its name: an image that instances can be made of.
    pub image: ImageRef,
    /// Whose files they are.
    pub identity: Identity,
}

impl SnapshotRequest {
    /// The labels of the snapshot.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let own = self.identity.labels().into_iter();
        own.map(|(key, value)| (key.replacen("hythe.", PREFIX, 1), value)).collect()
    }

    /// The name can be given to an image: it has a tag and no digest. `Invalid` where not.
    pub fn check_name(&self) -> Result<()> {
        let ImageRef { tag, digest, .. } = &self.image;
        let words = format!("`{}` cannot name a snapshot: it needs a tag and no digest", self.image);
        let is_name = tag.is_some() && digest.is_none();
        is_name.then_some(()).ok_or_else(|| Error::new(ErrorKind::Invalid, COMMIT, words))
    }

    /// What it means that an image with these labels has the name already: success where it is this snapshot, else `AlreadyExists`.
    pub fn check_held(&self, labels: &BTreeMap<String, String>) -> Result<()> {
        let words = match snapshot_of(labels) {
            Some(identity) if identity == self.identity => return Ok(()),
            Some(other) => format!("`{}` is a snapshot of `{}`", self.image, other.instance_name()),
            None => format!("`{}` is an image that is no snapshot", self.image),
        };
        Err(Error::new(ErrorKind::AlreadyExists, COMMIT, words).hint("take another name, or remove that one first"))
    }
}

/// What the labels of an image say of it as a snapshot; `None`: it is none of ours.
pub fn snapshot_of(labels: &BTreeMap<String, String>) -> Option<Identity> {
    let own =
        labels.iter().filter_map(|(key, value)| Some((format!("hythe.{}", key.strip_prefix(PREFIX)?), value.clone())));
    Identity::from_labels(&own.collect())
}

/// The error of a commit that an engine broke off, once what it left frozen runs again: an instance that ran before and is paused now is unpaused.
pub async fn unpaused_after(
    error: Error,
    before: State,
    now: impl Future<Output = Result<State>>,
    unpause: impl Future<Output = Result<()>>,
) -> Error {
    let thawed = async { if before == State::Running && now.await? == State::Paused { unpause.await } else { Ok(()) } };
    match thawed.await {
        Ok(()) => error,
        Err(left) => error.with("left_behind", left),
    }
}

/// A snapshot in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name in full (`localhost/hythe/shop/web:1`).
    pub name: String,
    /// Id of the image: digest of its configuration, `sha256:…`.
    pub id: String,
    /// Whose files it holds.
    pub identity: Identity,
    /// Size in bytes as the engine counts it, the layers below included.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// One mount that shows files of a snapshot, as mount(2) takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMount {
    /// Type of file system: `overlay`, or `bind`.
    pub kind: String,
    /// What is mounted; for `overlay` only a word.
    pub source: String,
    /// Options; always with `ro`.
    pub options: Vec<String>,
}

impl SnapshotMount {
    /// Shows the layers of `image` as an engine tells them in the `GraphDriver.Data` of its overlay driver; `None`, or without them: `Unsupported`, since `engine` does not tell.
    pub fn of_graph_driver(data: Option<&BTreeMap<String, String>>, engine: &str, image: &str) -> Result<Vec<Self>> {
        let Some((data, upper)) = data.and_then(|data| Some((data, data.get("UpperDir")?))) else {
            let words = format!("{engine} does not report where on this host the layers of `{image}` are");
            return Err(Error::new(ErrorKind::Unsupported, "snapshot-mounts", words)
                .hint("create an instance of the snapshot and read its files there"));
        };
        let lower = data.get("LowerDir").map(String::as_str).unwrap_or_default();
        let mut layers: Vec<String> = lower.split(':').filter(|path| !path.is_empty()).map(str::to_owned).collect();
        layers.reverse();
        layers.push(upper.clone());
        Self::of_layers(&layers, &[])
    }

    /// Shows unpacked layers of this machine, lowest first; `extra` goes to overlayfs. More layers than one mount takes: `Unsupported`.
    pub fn of_layers(layers: &[String], extra: &[&str]) -> Result<Vec<Self>> {
        let ro = "ro".to_owned();
        if let [only] = layers {
            let options = vec!["bind".to_owned(), ro];
            return Ok(vec![Self { kind: "bind".to_owned(), source: only.clone(), options }]);
        }
        let stacked: Vec<String> = layers.iter().rev().map(|path| escaped(path)).collect();
        let extra = extra.iter().map(|option| (*option).to_owned());
        let options: Vec<String> =
            std::iter::once(ro).chain(extra).chain([format!("lowerdir={}", stacked.join(":"))]).collect();
        if layers.is_empty() || options.join(",").len() > MOST_OPTIONS {
            let words = format!("{} layers cannot be shown by one mount", layers.len());
            return Err(Error::new(ErrorKind::Unsupported, "snapshot-mounts", words)
                .hint("create an instance of the snapshot and read its files there"));
        }
        Ok(vec![Self { kind: "overlay".to_owned(), source: "overlay".to_owned(), options }])
    }
}

/// A path among the options of overlayfs.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for letter in path.chars() {
        if matches!(letter, '\\' | ':' | ',') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// Versions of instances' files. An instance is made of one by a plan that names it as its image.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Keeps what the instance's root file system holds now: the layers of its image and one more with its changes. Mounts (volumes, host paths, tmpfs) are no part of it.
    ///
    /// A running instance is held still while its files are copied, where the engine can, and runs on afterwards whatever the outcome; a paused one stays paused.
    /// Meanwhile it may be told to be paused, with events, as if somebody had done so; a stop does not wait for it. One that moved although it was held is `Conflict`, temporary.
    /// The snapshot's process settings are those of the instance's image; the environment and labels of the instance are not in it (an engine that cannot leave a variable out
    /// keeps it without its value). Absent instance: `NotFound`; disk full: `Exhausted`, and nothing is orphaned.
    /// Idempotent on the name, which has a tag and no digest: a snapshot of that name and the same identity is returned as it is, whether or not the instance is still there;
    /// any other image of that name is `AlreadyExists`. Of two calls at once with one name and identity both succeed.
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot>;
    /// All snapshots that carry our labels, whoever's, sorted by name.
    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>>;
    /// How the host can look at its files: one mount, read-only. Absent, or no snapshot: `NotFound`; the engine does not tell: `Unsupported`.
    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>>;
    /// Removes a snapshot. Absent: success; used by an instance, or an image that is no snapshot: `Conflict`. One that was made of an instance of it keeps its files.
    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()>;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn request() -> SnapshotRequest {
        let identity = Identity {
            owner: "agent".to_owned(),
            service: "shop".to_owned(),
            component: "web".to_owned(),
            generation: 3,
            attempt: 1,
            plan_hash: "abc".to_owned(),
        };
        SnapshotRequest { image: "localhost/hythe/shop/web:1".parse().unwrap(), identity }
    }

    #[test]
    fn an_instance_of_a_snapshot_is_not_taken_for_its_origin() {
        let request = request();
        let labels = request.labels();
        assert_eq!(snapshot_of(&labels), Some(request.identity.clone()));
        assert_eq!(Identity::from_labels(&labels), None);
        assert_eq!(snapshot_of(&request.identity.labels()), None);
    }

    #[test]
    fn only_the_same_snapshot_may_hold_the_name() {
        let request = request();
        assert!(request.check_held(&request.labels()).is_ok());
        let mut other = request.clone();
        other.identity.attempt = 2;
        for labels in [other.labels(), BTreeMap::new()] {
            assert_eq!(request.check_held(&labels).unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
    }

    #[test]
    fn layers_are_stacked_from_the_highest_down() {
        let layers = |count: usize| (0..count).map(|at| format!("/l:{at}")).collect::<Vec<_>>();
        assert_eq!(SnapshotMount::of_layers(&layers(1), &[]).unwrap()[0].options, ["bind", "ro"]);
        let mounts = SnapshotMount::of_layers(&layers(2), &["userxattr"]).unwrap();
        assert_eq!(mounts[0].options, ["ro", "userxattr", "lowerdir=/l\\:1:/l\\:0"]);
        assert_eq!(SnapshotMount::of_layers(&layers(1000), &[]).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_name_has_a_tag_and_no_digest() {
        let mut request = request();
        assert!(request.check_name().is_ok());
        request.image.digest = Some(format!("sha256:{}", "0".repeat(64)));
        assert_eq!(request.check_name().unwrap_err().kind(), ErrorKind::Invalid);
    }
}

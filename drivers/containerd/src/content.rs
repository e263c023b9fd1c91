//! containerd's content store and snapshots: reading images from there, writing them there, unpacking their layers.

use std::collections::HashMap;
use std::path::Path;

use hythe_local::IoContext;
use hythe_runtime::{Error, ErrorKind, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::api_types::{
    AddLeased, AppliedDiff, ApplyDiff, CommitSnapshot, ContentPiece, Descriptor, Empty, Leased, OfSnapshot,
    PrepareSnapshot, ReadContent, SnapshotMounts, WriteAction, WriteContent, WroteContent,
};
use crate::context::Context;
use crate::record::internal;

/// What is written at once.
const PIECE: usize = 1 << 20;
/// Manifests and configurations are never larger.
const DOCUMENT: usize = 16 << 20;

/// An image of the namespace.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Digest of its configuration.
    pub(crate) id: String,
    pub(crate) manifest: String,
    pub(crate) names: Vec<String>,
    pub(crate) size: u64,
    /// Its configuration.
    pub(crate) config: Value,
    pub(crate) chain: String,
}

/// A document by its digest.
pub(crate) async fn document(context: &Context, operation: &'static str, digest: &str) -> Result<(Value, usize)> {
    let request = ReadContent { digest: digest.to_owned() };
    let mut pieces = context.client.stream(operation, "content.v1.Content/Read", &request, None).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next::<ContentPiece>().await? {
        bytes.extend_from_slice(&piece.data);
        if bytes.len() > DOCUMENT {
            let message = format!("content `{digest}` is no document of an image: it is too large");
            return Err(Error::new(ErrorKind::Invalid, operation, message));
        }
    }
    let document = serde_json::from_slice(&bytes).map_err(|error| internal(operation, &error))?;
    Ok((document, bytes.len()))
}

/// An image by its manifest.
pub(crate) async fn stored(
    context: &Context,
    operation: &'static str,
    manifest: &str,
    names: Vec<String>,
) -> Result<Stored> {
    let (document_of, length) = document(context, operation, manifest).await?;
    let id = document_of["config"]["digest"].as_str().unwrap_or_default().to_owned();
    let (config, config_length) = document(context, operation, &id).await?;
    let layers = document_of["layers"].as_array().into_iter().flatten();
    let layers: u64 = layers.filter_map(|layer| layer["size"].as_u64()).sum();
    let diffs = config["rootfs"]["diff_ids"].as_array().into_iter().flatten();
    let diffs: Vec<&str> = diffs.filter_map(Value::as_str).collect();
    let size = layers + (length + config_length) as u64;
    let chain = chain(&diffs);
    Ok(Stored { id, manifest: manifest.to_owned(), names, size, config, chain })
}

/// The name of the snapshot of these layers, lowest first.
pub(crate) fn chain(diffs: &[&str]) -> String {
    let mut name = String::new();
    for diff in diffs {
        name = match name.is_empty() {
            true => (*diff).to_owned(),
            false => format!("sha256:{}", digits(format!("{name} {diff}").as_bytes())),
        };
    }
    name
}

/// Writes a file into the content store. There already: success.
pub(crate) async fn write(
    context: &Context,
    operation: &'static str,
    file: &Path,
    digest: &str,
    labels: HashMap<String, String>,
    lease: &str,
) -> Result<()> {
    let what = || format!("read `{}`", file.display());
    let mut source = tokio::fs::File::open(file).await.context(operation, what())?;
    let total = source.metadata().await.context(operation, what())?.len();
    let total = i64::try_from(total).map_err(|error| internal(operation, &error))?;
    let head = WriteContent {
        reference: format!("hythe-{digest}-{lease}"),
        total,
        expected: digest.to_owned(),
        ..WriteContent::default()
    };
    let mut call = context.client.exchange(operation, "content.v1.Content/Write", Some(lease)).await?;
    let mut offset = 0;
    loop {
        let mut data = Vec::with_capacity(PIECE);
        let length = (&mut source).take(PIECE as u64).read_to_end(&mut data).await.context(operation, what())?;
        let last = length == 0;
        let action = if last { WriteAction::Commit } else { WriteAction::Write };
        let labels = if last { labels.clone() } else { HashMap::new() };
        let piece = WriteContent { action: action.into(), offset, data, labels, ..head.clone() };
        call.send(&piece, last).await?;
        match call.answers.next::<WroteContent>().await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(internal(operation, &format!("containerd stopped taking content `{digest}`"))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(error),
        }
        if last {
            return Ok(());
        }
        offset += i64::try_from(length).unwrap_or(i64::MAX);
    }
}

/// Writes a document into the content store; its digest and length.
pub(crate) async fn write_document(
    context: &Context,
    operation: &'static str,
    document: &Value,
    labels: HashMap<String, String>,
    lease: &str,
) -> Result<(String, i64)> {
    let bytes = document.to_string();
    let digest = format!("sha256:{}", digits(bytes.as_bytes()));
    let mut file = tempfile::NamedTempFile::new_in(&context.root).context(operation, "write a document")?;
    std::io::Write::write_all(&mut file, bytes.as_bytes()).context(operation, "write a document")?;
    write(context, operation, file.path(), &digest, labels, lease).await?;
    Ok((digest, i64::try_from(bytes.len()).map_err(|error| internal(operation, &error))?))
}

fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes the chain of snapshots of an image's layers; those that are there are taken.
pub(crate) async fn unpack(
    context: &Context,
    operation: &'static str,
    layers: &[(Descriptor, String)],
    lease: &str,
) -> Result<()> {
    let client = &context.client;
    let snapshotter = &context.config.snapshotter;
    let mut parent = String::new();
    for at in 0..layers.len() {
        let diffs: Vec<&str> = layers[..=at].iter().map(|(_, diff)| diff.as_str()).collect();
        let name = chain(&diffs);
        let request = PrepareSnapshot {
            snapshotter: snapshotter.clone(),
            key: format!("hythe-unpack-{lease}-{at}"),
            parent: parent.clone(),
            // With this the snapshotter says that the chain is there.
            labels: HashMap::from([("containerd.io/snapshot.ref".to_owned(), name.clone())]),
        };
        // Before it is looked for: the removal of another image that has it too must not take it away meanwhile.
        let kind = format!("snapshots/{snapshotter}");
        let leased = AddLeased { id: lease.to_owned(), resource: Some(Leased { id: name.clone(), kind }) };
        client.call::<Empty>(operation, "leases.v1.Leases/AddResource", &leased).await?;
        let stat = OfSnapshot { snapshotter: snapshotter.clone(), key: name.clone() };
        let there = client.call_leased::<Empty>(operation, "snapshots.v1.Snapshots/Stat", &stat, Some(lease)).await;
        match there {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {
                let prepare = "snapshots.v1.Snapshots/Prepare";
                let prepared = client.call_leased::<SnapshotMounts>(operation, prepare, &request, Some(lease)).await;
                match prepared {
                    Ok(mounts) => apply(context, operation, &layers[at].0, &request, &name, mounts, lease).await?,
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        parent = name;
    }
    Ok(())
}

async fn apply(
    context: &Context,
    operation: &'static str,
    layer: &Descriptor,
    prepared: &PrepareSnapshot,
    name: &str,
    mounts: SnapshotMounts,
    lease: &str,
) -> Result<()> {
    let client = &context.client;
    let request = ApplyDiff { diff: Some(layer.clone()), mounts: mounts.mounts };
    let applied = client.call_leased::<AppliedDiff>(operation, "diff.v1.Diff/Apply", &request, Some(lease)).await;
    let (snapshotter, key) = (prepared.snapshotter.clone(), prepared.key.clone());
    let outcome = match applied {
        Ok(_) => {
            let commit = CommitSnapshot { snapshotter: snapshotter.clone(), name: name.to_owned(), key: key.clone() };
            client.call_leased::<Empty>(operation, "snapshots.v1.Snapshots/Commit", &commit, Some(lease)).await
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => {
            let remove = OfSnapshot { snapshotter, key };
            let removed = client.call::<Empty>(operation, "snapshots.v1.Snapshots/Remove", &remove).await;
            // Another has committed it meanwhile.
            match (error.kind() == ErrorKind::AlreadyExists, removed) {
                (true, _) => Ok(()),
                (false, Ok(_)) => Err(error),
                (false, Err(left)) => Err(error.with("left_behind", left)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::chain;

    #[test]
    fn chain_of_one_layer_is_its_own_digest() {
        let one = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
        assert_eq!(chain(&[one]), one);
        assert!(chain(&[one, one]).starts_with("sha256:") && chain(&[one, one]) != one);
    }
}

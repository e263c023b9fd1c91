//! Snapshots: the changes of an instance as one more layer of its image.
//!
//! A running task is paused while its files are copied. `held` in its directory, locked, says who paused it: where that process dies, the
//! next look resumes the task.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;

use async_trait::async_trait;
use hythe_local::IoContext;
use hythe_oci::Copied;
use hythe_runtime::context::run_blocking;
use hythe_runtime::snapshots::{SnapshotMount, SnapshotRequest, snapshot_of};
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, Snapshot, Snapshots};
use hythe_shim::Directory;
use hythe_spec::ImageRef;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::api_types::{Descriptor, Empty, OfSnapshot, PrepareSnapshot, SnapshotMounts, Status};
use crate::content::{self, Stored};
use crate::context::{Context, SharedContext};
use crate::driver::Containerd;
use crate::error::of_store;
use crate::image_load::{fresh_id, lease, name, refer, staging};
use crate::record::{self, Found, Record};
use crate::translate::config_of;
use crate::{images, task};

const COMMIT: &str = "snapshot-commit";
/// Of manifests that do not say theirs.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[async_trait]
impl Snapshots for Containerd {
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        request.check_name()?;
        let (context, instance, request) = (self.context.clone(), instance.clone(), request.clone());
        cx.run_detached(COMMIT, async move { commit(&context, &instance, &request).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        let list = async {
            let all = images::all(&self.context, "snapshot-list").await?;
            let mut snapshots: Vec<Snapshot> =
                all.iter().flat_map(|stored| stored.names.iter().filter_map(|name| reported(stored, name))).collect();
            snapshots.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(snapshots)
        };
        cx.with_deadline("snapshot-list", list).await
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        cx.with_deadline("snapshot-mounts", mounts(&self.context, image)).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        const OPERATION: &str = "snapshot-remove";
        let (context, image) = (self.context.clone(), image.clone());
        let work = async move {
            let stored = match images::get(&context, OPERATION, &image).await {
                Err(error) if error.is_not_found() => return Ok(()),
                found => found?,
            };
            if reported(&stored, &image.to_string()).is_none() {
                return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("`{image}` is no snapshot")));
            }
            images::remove(&context, OPERATION, &image).await
        };
        cx.run_detached(OPERATION, work).await
    }
}

/// An image as a snapshot under one of its names; `None`: it is none.
fn reported(stored: &Stored, name: &str) -> Option<Snapshot> {
    let identity = snapshot_of(&config_of(&stored.config).labels)?;
    let created = stored.config["created"].as_str().and_then(|time| time.parse().ok());
    Some(Snapshot { name: name.to_owned(), id: stored.id.clone(), identity, size: stored.size, created })
}

/// What has the name already, if that is this snapshot.
async fn held(context: &Context, request: &SnapshotRequest) -> Result<Option<Snapshot>> {
    let stored = match images::get(context, COMMIT, &request.image).await {
        Err(error) if error.is_not_found() => return Ok(None),
        found => found?,
    };
    request.check_held(&config_of(&stored.config).labels)?;
    Ok(reported(&stored, &request.image.to_string()))
}

async fn commit(context: &SharedContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
    let _lock = context.lock_snapshots(COMMIT).await?;
    if let Some(snapshot) = held(context, request).await? {
        return Ok(snapshot);
    }
    let found = record::find(context, COMMIT, instance).await?;
    let record = found.record.as_ref().ok_or_else(|| {
        let message = format!("`{}` was not made by Hythe, which does not know its image", found.name());
        Error::new(ErrorKind::Unsupported, COMMIT, message)
    })?;
    let upper = upper(context, &found).await?;
    let staging = staging(context, COMMIT).await?;
    let frozen = freeze(context, record).await?;
    let store = staging.store.clone();
    let copied = run_blocking(COMMIT, move || store.copy_changes(&upper).map_err(of_store(COMMIT))).await;
    let layer = match (copied, frozen.thaw(context, record).await) {
        (Ok(layer), Ok(())) => layer,
        (Err(error), Err(also)) => return Err(error.with("clean-up", also)),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error),
    };
    let lease = lease(context, COMMIT, &staging.name()).await?;
    let file = staging.store.root().join("blobs").join(layer.digest().replace(':', "/"));
    let stored = store_image(context, record, request, &layer, file, &lease).await;
    let released = crate::api_types::DeleteLease { id: lease };
    let released = context.client.call::<Empty>(COMMIT, "leases.v1.Leases/Delete", &released).await;
    let stored = stored?;
    released?;
    let lost = || Error::new(ErrorKind::Internal, COMMIT, format!("`{}` has lost its labels", request.image));
    reported(&stored, &request.image.to_string()).ok_or_else(lost)
}

/// Writes the layer, the image of it and its name into containerd.
async fn store_image(
    context: &Context,
    record: &Record,
    request: &SnapshotRequest,
    layer: &Copied,
    file: PathBuf,
    lease: &str,
) -> Result<Stored> {
    let (mut manifest, _) = content::document(context, COMMIT, &record.manifest).await?;
    let (mut config, _) = content::document(context, COMMIT, &record.image_id).await?;
    let media_type = manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
    layer.on_top(&mut config, &mut manifest, &media_type, &request.labels());
    content::write(context, COMMIT, &file, layer.digest(), HashMap::new(), lease).await?;
    let diffs = config["rootfs"]["diff_ids"].as_array().into_iter().flatten();
    let diffs = diffs.filter_map(Value::as_str).map(str::to_owned);
    let layers: Vec<(Descriptor, String)> =
        manifest["layers"].as_array().into_iter().flatten().map(described).zip(diffs).collect();
    let target = refer(context, COMMIT, &config, &mut manifest, &media_type, &layers, lease).await?;
    name(context, COMMIT, &request.image.to_string(), target.clone()).await?;
    content::stored(context, COMMIT, &target.digest, vec![request.image.to_string()]).await
}

fn described(layer: &Value) -> Descriptor {
    let text = |name: &str| layer[name].as_str().unwrap_or_default().to_owned();
    Descriptor {
        media_type: text("mediaType"),
        digest: text("digest"),
        size: layer["size"].as_i64().unwrap_or_default(),
    }
}

/// The directory with the changes of an instance.
async fn upper(context: &Context, found: &Found) -> Result<PathBuf> {
    let (snapshotter, key) = (found.container.snapshotter.clone(), found.container.snapshot_key.clone());
    let request = OfSnapshot { snapshotter, key };
    let mounts: SnapshotMounts = context.client.call(COMMIT, "snapshots.v1.Snapshots/Mounts", &request).await?;
    let options = mounts.mounts.iter().flat_map(|mount| &mount.options);
    let upper = options.filter_map(|option| option.strip_prefix("upperdir=")).next();
    upper.map(PathBuf::from).ok_or_else(|| {
        let message = format!("the snapshotter `{}` does not keep changes apart", found.container.snapshotter);
        Error::new(ErrorKind::Unsupported, COMMIT, message).hint("use the snapshotter `overlayfs`")
    })
}

/// Keeps an instance from changing its files.
enum Frozen {
    /// It does not run, and is not started.
    Idle(File),
    /// Somebody had paused it, with this process.
    Paused(u32),
    /// Paused here, with this process.
    Here(Hold, u32),
}

/// See the module. Who drops it gives the task to whoever looks next.
struct Hold {
    path: PathBuf,
    /// Locked.
    _claim: File,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What is left means nothing once it is not locked.
        let _ = fs::remove_file(&self.path);
    }
}

fn hold(directory: &Directory) -> Result<Hold> {
    let (path, what) = (directory.frozen(), "mark an instance as frozen");
    let file = File::options().create(true).truncate(false).write(true).open(&path).context(COMMIT, what)?;
    flock(&file, FlockOperation::LockExclusive).context(COMMIT, what)?;
    Ok(Hold { path, _claim: file })
}

/// Whether a process that lives has frozen the instance; one that died is not waited for.
pub(crate) enum Held {
    Nobody,
    Living,
    Dead,
}

/// Who has frozen an instance.
pub(crate) fn holder(directory: &Directory) -> Held {
    match File::open(directory.frozen()) {
        Err(_) => Held::Nobody,
        Ok(file) if flock(&file, FlockOperation::NonBlockingLockShared).is_err() => Held::Living,
        Ok(_) => Held::Dead,
    }
}

async fn freeze(context: &SharedContext, record: &Record) -> Result<Frozen> {
    let lock = context.lock_instance(COMMIT, &record.id).await?;
    let process = task::get(context, COMMIT, &record.id).await?;
    match process.as_ref().map(|process| (process.status(), process.pid)) {
        Some((Status::Running, pid)) => {
            let hold = hold(&context.directory(&record.id))?;
            task::pause(context, COMMIT, &record.id).await?;
            Ok(Frozen::Here(hold, pid))
        }
        Some((Status::Paused | Status::Pausing, pid)) => Ok(Frozen::Paused(pid)),
        Some((Status::Created | Status::Stopped | Status::Unknown, _)) | None => Ok(Frozen::Idle(lock)),
    }
}

impl Frozen {
    /// Lets it go on as before; an error where it did not stay as it was.
    async fn thaw(self, context: &SharedContext, record: &Record) -> Result<()> {
        let (pid, hold) = match self {
            Self::Idle(_lock) => return Ok(()),
            Self::Paused(pid) => (pid, None),
            Self::Here(hold, pid) => (pid, Some(hold)),
        };
        let look = || async {
            let now = task::get(context, COMMIT, &record.id).await?;
            Result::Ok(now.is_some_and(|now| now.status() == Status::Paused && now.pid == pid))
        };
        let is_same = look().await?;
        if is_same && hold.is_some() {
            let resumed = task::resume(context, COMMIT, &record.id).await;
            // A stop may have been faster.
            if resumed.is_err() && look().await? {
                return resumed;
            }
        }
        drop(hold);
        match is_same {
            true => Ok(()),
            false => {
                let words = format!("`{}` did not stay as it was while its files were copied", record.name);
                Err(Error::new(ErrorKind::Conflict, COMMIT, words).temporary(true).hint("commit it once more"))
            }
        }
    }
}

async fn mounts(context: &Context, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
    const OPERATION: &str = "snapshot-mounts";
    let stored = images::get(context, OPERATION, image).await?;
    let missing = || Error::new(ErrorKind::NotFound, OPERATION, format!("`{image}` is no snapshot"));
    reported(&stored, &image.to_string()).ok_or_else(missing)?;
    let (snapshotter, key) = (context.config.snapshotter.clone(), format!("hythe-view-{}", fresh_id(OPERATION)?));
    let request = PrepareSnapshot {
        snapshotter: snapshotter.clone(),
        key: key.clone(),
        parent: stored.chain,
        ..PrepareSnapshot::default()
    };
    let view: SnapshotMounts = context.client.call(OPERATION, "snapshots.v1.Snapshots/View", &request).await?;
    // The layers stay where they are as long as the image does.
    let request = OfSnapshot { snapshotter, key };
    context.client.call::<Empty>(OPERATION, "snapshots.v1.Snapshots/Remove", &request).await?;
    let mounts = view.mounts.into_iter().map(|mount| {
        let mut options: Vec<String> = mount.options.into_iter().filter(|option| option != "rbind").collect();
        if mount.kind == "bind" {
            options.push("bind".to_owned());
        }
        if !options.iter().any(|option| option == "ro") {
            options.push("ro".to_owned());
        }
        SnapshotMount { kind: mount.kind, source: mount.source, options }
    });
    Ok(mounts.collect())
}

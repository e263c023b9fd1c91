//! Versions of instances' files: what an instance has changed becomes one more layer of its image.
//!
//! ```text
//! running      its supervisor holds it frozen, as long as a connection of ours lasts: also one who is killed meanwhile lets it run on
//! not running  nobody starts or removes it meanwhile
//! no cgroup    there is no freezer (rootless without delegation): files are as they were at different times
//! ```

use std::fs;

use async_trait::async_trait;
use hythe_oci::Stored;
use hythe_runtime::context::run_blocking;
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{
    Error, ErrorKind, InstanceRef, OpContext, Result, Snapshot, SnapshotMount, SnapshotRequest, Snapshots, State,
};
use hythe_shim::ShimErrorKind;
use hythe_shim::protocol::Request;
use hythe_spec::ImageRef;
use tokio::net::UnixStream;

use crate::client::{self, Asked};
use crate::context::{Context, SharedContext};
use crate::driver::Embedded;
use crate::error::{IoContext, from_shim, of_store};
use crate::instances::{Lock, Record};
use crate::observe;
use crate::translate::config_of;
use crate::userns_exec::Commit;
use hythe_local::stored_images::sweep;

const COMMIT: &str = "snapshot-commit";

#[async_trait]
impl Snapshots for Embedded {
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        request.check_name()?;
        let (context, instance, request) = (self.context.clone(), instance.clone(), request.clone());
        cx.run_detached(COMMIT, async move { commit(&context, instance, request).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        const OPERATION: &str = "snapshot-list";
        let context = self.context.clone();
        let list = run_blocking(OPERATION, move || {
            context.instances.reachable(OPERATION)?;
            let images = context.store.list().map_err(of_store(OPERATION))?;
            let mut snapshots: Vec<Snapshot> =
                images.iter().flat_map(|stored| stored.names.iter().filter_map(|name| told(stored, name))).collect();
            snapshots.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(snapshots)
        });
        cx.with_deadline(OPERATION, list).await
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        const OPERATION: &str = "snapshot-mounts";
        let (context, image) = (self.context.clone(), image.clone());
        let look = run_blocking(OPERATION, move || {
            context.instances.reachable(OPERATION)?;
            let stored = context.store.get(&image).map_err(of_store(OPERATION))?;
            let missing = || Error::new(ErrorKind::NotFound, OPERATION, format!("`{image}` is no snapshot"));
            told(&stored, &image.to_string()).ok_or_else(missing)?;
            let layers = context.store.layers(&stored).map_err(of_store(OPERATION))?;
            let layers: Vec<String> = layers.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            // There attributes of layers are named as those that an unprivileged user may write.
            let extra: &[&str] = if context.host.user_namespace.is_some() { &["userxattr"] } else { &[] };
            SnapshotMount::of_layers(&layers, extra)
        });
        cx.with_deadline(OPERATION, look).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        const OPERATION: &str = "snapshot-remove";
        let name = image.to_string();
        let check = move |stored: &Stored| {
            let words = || Error::new(ErrorKind::Conflict, OPERATION, format!("`{name}` is no snapshot"));
            told(stored, &name).map(drop).ok_or_else(words)
        };
        self.stored().remove_where(cx, OPERATION, image, check).await
    }
}

/// An image as a snapshot under one of its names; `None`: it is none.
fn told(stored: &Stored, name: &str) -> Option<Snapshot> {
    let identity = snapshot_of(&config_of(stored).labels)?;
    let created = stored.config.created().as_ref().and_then(|time| time.parse().ok());
    Some(Snapshot { name: name.to_owned(), id: stored.id.clone(), identity, size: stored.size, created })
}

/// What has the name already, if that is this snapshot.
fn held(context: &Context, request: &SnapshotRequest) -> Result<Option<Snapshot>> {
    context.instances.reachable(COMMIT)?;
    let stored = match context.store.get(&request.image) {
        Err(error) if error.kind() == hythe_oci::Kind::NotFound => return Ok(None),
        found => found.map_err(of_store(COMMIT))?,
    };
    request.check_held(&config_of(&stored).labels)?;
    Ok(told(&stored, &request.image.to_string()))
}

/// Keeps an instance from changing its files, as far as this host can.
#[derive(Default)]
struct Frozen {
    /// Its supervisor holds it.
    hold: Option<UnixStream>,
    /// It does not run, and is not started.
    _idle: Option<Lock>,
}

async fn commit(context: &SharedContext, instance: InstanceRef, request: SnapshotRequest) -> Result<Snapshot> {
    let (lock, found) = {
        let (context, request) = (context.clone(), request.clone());
        run_blocking(COMMIT, move || {
            let lock = context.instances.lock_snapshots(COMMIT)?;
            if let Some(snapshot) = held(&context, &request)? {
                return Ok((lock, Err(snapshot)));
            }
            Ok((lock, Ok(context.instances.find(COMMIT, &instance)?)))
        })
        .await?
    };
    let record = match found {
        Ok(record) => record,
        Err(snapshot) => return Ok(snapshot),
    };
    let frozen = freeze(context, &record).await?;
    let context = context.clone();
    run_blocking(COMMIT, move || {
        let outcome = store_layer(&context, &record, &request, frozen);
        if outcome.is_err() {
            // What is half there needs no keeping; what cannot be removed now goes with the next image.
            let _lock = context.instances.lock(COMMIT)?;
            let _swept = sweep(&context.store, COMMIT, &context.instances.all(COMMIT)?, None);
        }
        drop(lock);
        let stored = outcome?;
        context.image_event(&stored.id, "commit");
        let lost = || Error::new(ErrorKind::Internal, COMMIT, format!("`{}` has lost its labels", request.image));
        told(&stored, &request.image.to_string()).ok_or_else(lost)
    })
    .await
}

async fn freeze(context: &SharedContext, record: &Record) -> Result<Frozen> {
    let (owned, about) = (context.clone(), record.clone());
    let idle = run_blocking(COMMIT, move || {
        let lock = owned.instances.lock_instance(COMMIT, &about.id)?;
        let state = observe::state(&owned, COMMIT, &about)?.state;
        Ok((!matches!(state, State::Running | State::Paused)).then_some(lock))
    });
    let idle = idle.await?;
    if idle.is_some() || context.host.cgroups.is_none() {
        return Ok(Frozen { _idle: idle, hold: None });
    }
    match client::ask(COMMIT, &context.instances.directory(&record.id), &Request::Hold, &[]).await? {
        Ok(Asked::Done(hold, _)) => Ok(Frozen { hold: Some(hold), _idle: None }),
        Ok(Asked::Gone) => Err(moved(record, "ended")),
        // A machine without a freezer, a supervisor of an earlier version.
        Err(fault) if matches!(fault.kind, ShimErrorKind::Unsupported | ShimErrorKind::Invalid) => {
            tracing::warn!(instance = record.name, reason = fault.message, "its files are copied while it runs");
            Ok(Frozen::default())
        }
        Err(fault) => Err(from_shim(COMMIT, &fault)),
    }
}

fn moved(record: &Record, how: &str) -> Error {
    let words = format!("`{}` {how} while its files were copied", record.name);
    Error::new(ErrorKind::Conflict, COMMIT, words).temporary(true).hint("commit it once more")
}

fn store_layer(context: &Context, record: &Record, request: &SnapshotRequest, frozen: Frozen) -> Result<Stored> {
    let upper = context.instances.directory(&record.id).upper();
    // One that was never started has none.
    fs::create_dir_all(&upper).context(COMMIT, format_args!("make `{}`", upper.display()))?;
    if context.host.user_namespace.is_some() {
        let (base, image) = (record.manifest.clone(), request.image.clone());
        return context.commit(COMMIT, Commit { upper, base, image, labels: request.labels() });
    }
    let base = context.store.find(&record.manifest).map_err(of_store(COMMIT))?;
    let layer = context.store.copy_changes(&upper).map_err(of_store(COMMIT))?;
    if frozen.hold.as_ref().is_some_and(is_over) {
        return Err(moved(record, "did not stay as it was"));
    }
    // What follows does not look at its files.
    drop(frozen);
    context.store.commit(&base, &layer, &request.image, &request.labels()).map_err(of_store(COMMIT))
}

/// Whether the supervisor has ended the connection.
fn is_over(hold: &UnixStream) -> bool {
    use rustix::net::{RecvFlags, recv};
    let mut byte = [0];
    !matches!(recv(hold, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK), Err(rustix::io::Errno::AGAIN))
}

//! Versions of instances' files: what an instance has changed becomes one more layer of its image.
//!
//! ```text
//! running      its supervisor holds it still, as long as a connection of ours lasts: also one who is killed meanwhile lets it run on
//! not running  nobody starts or removes it meanwhile
//! rootless     there is no freezer: files are as they were at different times
//! ```

use std::fs;

use async_trait::async_trait;
use hythe_oci::Stored;
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{
    Error, ErrorKind, InstanceId, OpContext, Result, Snapshot, SnapshotMount, SnapshotRequest, Snapshots, State,
};
use hythe_shim::FaultKind;
use hythe_shim::protocol::Request;
use hythe_spec::ImageRef;
use tokio::net::UnixStream;

use crate::client::{self, Asked};
use crate::core::{Core, Shared};
use crate::driver::Embedded;
use crate::errand::Commit;
use crate::error::{Doing, blocking, bounded, carried, of_fault, of_store};
use crate::images::{config_of, sweep};
use crate::instances::{Record, Turn};
use crate::observe;

const COMMIT: &str = "snapshot-commit";

#[async_trait]
impl Snapshots for Embedded {
    async fn commit(&self, cx: &OpContext, id: &InstanceId, request: &SnapshotRequest) -> Result<Snapshot> {
        request.check_name()?;
        let (core, id, request) = (self.core.clone(), id.clone(), request.clone());
        carried(cx, COMMIT, async move { commit(&core, id, request).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        const OPERATION: &str = "snapshot-list";
        let core = self.core.clone();
        let list = blocking(OPERATION, move || {
            core.instances.reachable(OPERATION)?;
            let images = core.store.list().map_err(of_store(OPERATION))?;
            let mut snapshots: Vec<Snapshot> =
                images.iter().flat_map(|stored| stored.names.iter().filter_map(|name| told(stored, name))).collect();
            snapshots.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(snapshots)
        });
        bounded(cx, OPERATION, list).await
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        const OPERATION: &str = "snapshot-mounts";
        let (core, image) = (self.core.clone(), image.clone());
        let look = blocking(OPERATION, move || {
            core.instances.reachable(OPERATION)?;
            let stored = core.store.get(&image).map_err(of_store(OPERATION))?;
            let missing = || Error::new(ErrorKind::NotFound, OPERATION, format!("`{image}` is no snapshot"));
            told(&stored, &image.to_string()).ok_or_else(missing)?;
            let layers = core.store.layers(&stored).map_err(of_store(OPERATION))?;
            let layers: Vec<String> = layers.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            // There attributes of layers are named as those that an ordinary user may write.
            let extra: &[&str] = if core.machine.user_namespace.is_some() { &["userxattr"] } else { &[] };
            SnapshotMount::of_layers(&layers, extra)
        });
        bounded(cx, OPERATION, look).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        const OPERATION: &str = "snapshot-remove";
        let name = image.to_string();
        let check = move |stored: &Stored| {
            let words = || Error::new(ErrorKind::Conflict, OPERATION, format!("`{name}` is no snapshot"));
            told(stored, &name).map(drop).ok_or_else(words)
        };
        self.remove_image(cx, OPERATION, image, check).await
    }
}

/// An image as a snapshot under one of its names; `None`: it is none.
fn told(stored: &Stored, name: &str) -> Option<Snapshot> {
    let identity = snapshot_of(&config_of(stored).labels)?;
    let created = stored.config.created().as_ref().and_then(|time| time.parse().ok());
    Some(Snapshot { name: name.to_owned(), id: stored.id.clone(), identity, size: stored.size, created })
}

/// What has the name already, if that is this snapshot.
fn held(core: &Core, request: &SnapshotRequest) -> Result<Option<Snapshot>> {
    core.instances.reachable(COMMIT)?;
    let stored = match core.store.get(&request.image) {
        Err(error) if error.kind() == hythe_oci::Kind::NotFound => return Ok(None),
        found => found.map_err(of_store(COMMIT))?,
    };
    request.check_held(&config_of(&stored).labels)?;
    Ok(told(&stored, &request.image.to_string()))
}

/// Keeps an instance from changing its files, as far as this machine can see to that.
#[derive(Default)]
struct Still {
    /// Its supervisor holds it.
    hold: Option<UnixStream>,
    /// It does not run, and is not started.
    _idle: Option<Turn>,
}

async fn commit(core: &Shared, id: InstanceId, request: SnapshotRequest) -> Result<Snapshot> {
    let (turn, found) = {
        let (core, request) = (core.clone(), request.clone());
        blocking(COMMIT, move || {
            let turn = core.instances.turn_of_snapshots(COMMIT)?;
            if let Some(snapshot) = held(&core, &request)? {
                return Ok((turn, Err(snapshot)));
            }
            Ok((turn, Ok(core.instances.find(COMMIT, &id)?.0)))
        })
        .await?
    };
    let record = match found {
        Ok(record) => record,
        Err(snapshot) => return Ok(snapshot),
    };
    let still = hold_still(core, &record).await?;
    let core = core.clone();
    blocking(COMMIT, move || {
        let outcome = keep(&core, &record, &request, still);
        if outcome.is_err() {
            // What is half there needs no keeping; what cannot be removed now goes with the next image.
            let _turn = core.instances.turn(COMMIT)?;
            let _swept = sweep(&core, COMMIT, &core.instances.all(COMMIT)?);
        }
        drop(turn);
        let stored = outcome?;
        core.image_event(&stored.id, "commit");
        let lost = || Error::new(ErrorKind::Internal, COMMIT, format!("`{}` has lost its labels", request.image));
        told(&stored, &request.image.to_string()).ok_or_else(lost)
    })
    .await
}

async fn hold_still(core: &Shared, record: &Record) -> Result<Still> {
    let (owned, about) = (core.clone(), record.clone());
    let idle = blocking(COMMIT, move || {
        let turn = owned.instances.turn_of(COMMIT, &about.id)?;
        let state = observe::state(&owned, COMMIT, &about)?.state;
        Ok((!matches!(state, State::Running | State::Paused)).then_some(turn))
    });
    let idle = idle.await?;
    if idle.is_some() || core.machine.user_namespace.is_some() {
        return Ok(Still { _idle: idle, hold: None });
    }
    match client::ask(COMMIT, &core.instances.directory(&record.id), &Request::Hold, &[]).await? {
        Ok(Asked::Done(hold, _)) => Ok(Still { hold: Some(hold), _idle: None }),
        Ok(Asked::Gone) => Err(moved(record, "ended")),
        // A machine without a freezer, a supervisor of an earlier version.
        Err(fault) if matches!(fault.kind, FaultKind::Unsupported | FaultKind::Invalid) => {
            tracing::warn!(instance = record.name, reason = fault.message, "its files are copied while it runs");
            Ok(Still::default())
        }
        Err(fault) => Err(of_fault(COMMIT, &fault)),
    }
}

fn moved(record: &Record, how: &str) -> Error {
    let words = format!("`{}` {how} while its files were copied", record.name);
    Error::new(ErrorKind::Conflict, COMMIT, words).temporary(true).hint("commit it once more")
}

fn keep(core: &Core, record: &Record, request: &SnapshotRequest, still: Still) -> Result<Stored> {
    let upper = core.instances.directory(&record.id).upper();
    // One that was never started has none.
    fs::create_dir_all(&upper).doing(COMMIT, format_args!("make `{}`", upper.display()))?;
    if core.machine.user_namespace.is_some() {
        let (base, image) = (record.manifest.clone(), request.image.clone());
        return core.commit(COMMIT, Commit { upper, base, image, labels: request.labels() });
    }
    let base = core.store.find(&record.manifest).map_err(of_store(COMMIT))?;
    let layer = core.store.copy_changes(&upper).map_err(of_store(COMMIT))?;
    if still.hold.as_ref().is_some_and(is_over) {
        return Err(moved(record, "did not stay as it was"));
    }
    // What follows does not look at its files.
    drop(still);
    core.store.commit(&base, &layer, &request.image, &request.labels()).map_err(of_store(COMMIT))
}

/// Whether the supervisor has ended the connection.
fn is_over(hold: &UnixStream) -> bool {
    use rustix::net::{RecvFlags, recv};
    let mut byte = [0];
    !matches!(recv(hold, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK), Err(rustix::io::Errno::AGAIN))
}

//! What calls that died and hands of others leave: directories of instances, networks, leases, staged images.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use hythe_local::IoContext;
use hythe_runtime::Result;
use hythe_runtime::context::run_blocking;
use hythe_shim::Directory;
use rustix::fs::{FlockOperation, flock};

use crate::api_types::{ById, DeleteLease, Empty, Filters, Leases, OneContainer};
use crate::context::Context;
use crate::image_load::{HOLDER, STAGED};
use crate::{networks, record, streams};

const OPERATION: &str = "connect";
/// Holder of leases that are there only while the lock is held.
pub(crate) const MAKING: &str = "making";

/// Removes what belongs to nobody any more.
pub(crate) async fn sweep(context: &Arc<Context>) -> Result<()> {
    let _lock = context.lock(OPERATION).await?;
    let found = record::all(context, OPERATION).await?;
    let owned = context.clone();
    let collect = move || {
        let alive: Vec<&str> = found.iter().map(record::Found::id).collect();
        sweep_files(&owned, &alive);
        owned.networks.as_ref().map_or(Ok(()), |networks| networks.gc(&alive).map(drop))
    };
    run_blocking(OPERATION, collect).await?;
    sweep_leases(context).await
}

fn sweep_files(context: &Context, alive: &[&str]) {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().collect::<Vec<_>>();
    for entry in entries(&context.root.join("instances")) {
        if !alive.iter().any(|id| entry.file_name() == *id) {
            remove_files(&entry.path());
        }
    }
    for entry in entries(&context.root) {
        let is_staged = entry.file_name().as_encoded_bytes().starts_with(STAGED.as_bytes());
        if is_staged && !is_held(&entry.path()) {
            // One that another agent removes just now is gone all the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a living call has a directory of its own.
fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_err())
}

fn remove_files(path: &Path) {
    let ended = streams::end(&Directory::new(path), OPERATION, streams::LEAVING);
    let swept = ended.and_then(|_| fs::remove_dir_all(path).context(OPERATION, "remove the files"));
    if let Err(error) = swept {
        tracing::warn!(path = %path.display(), %error, "files of a removed instance are left");
    }
}

/// Leases of calls that are over. Needs the lock.
async fn sweep_leases(context: &Context) -> Result<()> {
    let request = Filters { filters: Vec::new() };
    let all: Leases = context.client.call(OPERATION, "leases.v1.Leases/List", &request).await?;
    for lease in all.leases {
        let Some(holder) = lease.labels.get(HOLDER) else { continue };
        if holder != MAKING && is_held(&context.root.join(holder)) {
            continue;
        }
        let request = DeleteLease { id: lease.id };
        match context.client.call::<Empty>(OPERATION, "leases.v1.Leases/Delete", &request).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the files of an instance whose container somebody has removed past us.
pub(crate) async fn forget(context: &Arc<Context>, id: &str) -> Result<()> {
    const OPERATION: &str = "watch";
    let path = context.directory(id).path().to_owned();
    if !path.exists() {
        return Ok(());
    }
    let _lock = context.lock(OPERATION).await?;
    let request = ById { id: id.to_owned() };
    let asked = context.client.call::<OneContainer>(OPERATION, "containers.v1.Containers/Get", &request).await;
    if !path.exists() || !asked.is_err_and(|error| error.is_not_found()) {
        return Ok(());
    }
    run_blocking(OPERATION, move || {
        remove_files(&path);
        Ok(())
    })
    .await?;
    networks::detach(context, OPERATION, id).await
}

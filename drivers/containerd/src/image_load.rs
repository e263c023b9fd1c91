//! Images from an archive or a registry into containerd: read by `hythe_oci` into a store that is gone with the call, checked there,
//! then copied under a lease.

use std::collections::HashMap;
use std::fs::File;

use hythe_local::IoContext;
use hythe_oci::{Store, Stored as Read};
use hythe_runtime::{ErrorKind, Image, Result};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api_types::{CreateLease, DeleteImage, DeleteLease, Descriptor, Empty, ImageRecord, OneImage};
use crate::content::{self, unpack, write, write_document};
use crate::context::Context;
use crate::error::of_store;
use crate::record::internal;
use crate::translate::image_of;

/// After so long containerd removes what an agent that died was bringing.
const EXPIRE: &str = "containerd.io/gc.expire";
/// Label of a lease with what it is for.
pub(crate) const HOLDER: &str = "hythe.holder";
/// What directories of staged images begin with.
pub(crate) const STAGED: &str = "image-";
const EXPIRE_HOURS: i64 = 24;
const GC_REF: &str = "containerd.io/gc.ref";

/// A store that is gone with the value, and swept where its process dies before.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: TempDir,
    pub(crate) store: Store,
    /// Locked, so that nobody sweeps it.
    _claim: File,
}

impl Staging {
    /// Name of its directory, by which leases are held.
    pub(crate) fn name(&self) -> String {
        self.directory.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A store for one call.
pub(crate) async fn staging(context: &Context, operation: &'static str) -> Result<Staging> {
    let what = "make a directory for an image";
    // Whoever sweeps meanwhile waits.
    let _lock = context.lock(operation).await?;
    let directory = tempfile::Builder::new().prefix(STAGED).tempdir_in(&context.root).context(operation, what)?;
    let claim = File::open(directory.path()).context(operation, what)?;
    flock(&claim, FlockOperation::LockExclusive).context(operation, what)?;
    let store = Store::open(directory.path()).map_err(of_store(operation))?;
    Ok(Staging { directory, store, _claim: claim })
}

/// Brings what was read under its names; a name that another image has is taken from that.
pub(crate) async fn bring(
    context: &Context,
    operation: &'static str,
    staging: &Staging,
    read: &Read,
    names: &[String],
) -> Result<Image> {
    let lease = lease(context, operation, &staging.name()).await?;
    let outcome = copy(context, operation, &staging.store, read, names, &lease).await;
    let request = DeleteLease { id: lease };
    let released = context.client.call::<Empty>(operation, "leases.v1.Leases/Delete", &request).await;
    outcome?;
    released?;
    let stored = content::stored(context, operation, &read.digest, names.to_vec()).await?;
    Ok(image_of(&stored, true))
}

/// A lease of our own; its holder is a staged image, or whoever makes instances under the lock.
pub(crate) async fn lease(context: &Context, operation: &'static str, holder: &str) -> Result<String> {
    let id = fresh_id(operation)?;
    let until = hythe_runtime::Clock::system().now() + jiff::SignedDuration::from_hours(EXPIRE_HOURS);
    let labels = HashMap::from([(EXPIRE.to_owned(), until.to_string()), (HOLDER.to_owned(), holder.to_owned())]);
    let request = CreateLease { id: id.clone(), labels };
    context.client.call::<Empty>(operation, "leases.v1.Leases/Create", &request).await?;
    Ok(id)
}

/// A fresh id.
pub(crate) fn fresh_id(operation: &'static str) -> Result<String> {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context(operation, "get a random id")?;
    Ok(random.trim().replace('-', ""))
}

async fn copy(
    context: &Context,
    operation: &'static str,
    store: &Store,
    read: &Read,
    names: &[String],
    lease: &str,
) -> Result<()> {
    let file = |digest: &str| store.root().join("blobs").join(digest.replace(':', "/"));
    let mut layers = Vec::new();
    let mut parts = HashMap::from([(format!("{GC_REF}.content.config"), read.id.clone())]);
    for (at, layer) in read.layers.iter().enumerate() {
        write(context, operation, &file(&layer.digest), &layer.digest, HashMap::new(), lease).await?;
        parts.insert(format!("{GC_REF}.content.l.{at}"), layer.digest.clone());
        let size = i64::try_from(layer.size).map_err(|error| internal(operation, &error))?;
        let descriptor = Descriptor { media_type: layer.media_type.clone(), digest: layer.digest.clone(), size };
        layers.push((descriptor, layer.diff_id.clone()));
    }
    unpack(context, operation, &layers, lease).await?;
    let diffs: Vec<&str> = layers.iter().map(|(_, diff)| diff.as_str()).collect();
    write(context, operation, &file(&read.id), &read.id, of_chain(context, &diffs), lease).await?;
    write(context, operation, &file(&read.digest), &read.digest, parts, lease).await?;
    let size = std::fs::metadata(file(&read.digest)).context(operation, "look at a manifest")?.len();
    let size = i64::try_from(size).map_err(|error| internal(operation, &error))?;
    let target = Descriptor { media_type: read.media_type.clone(), digest: read.digest.clone(), size };
    for name in names {
        self::name(context, operation, name, target.clone()).await?;
    }
    Ok(())
}

/// The label of a configuration that keeps the snapshot of its layers.
fn of_chain(context: &Context, diffs: &[&str]) -> HashMap<String, String> {
    let key = format!("{GC_REF}.snapshot.{}", context.config.snapshotter);
    HashMap::from([(key, content::chain(diffs))])
}

/// An image whose layers are in the content store: unpacks what is not unpacked yet, and writes its configuration and manifest.
pub(crate) async fn refer(
    context: &Context,
    operation: &'static str,
    config: &Value,
    manifest: &mut Value,
    media_type: &str,
    layers: &[(Descriptor, String)],
    lease: &str,
) -> Result<Descriptor> {
    unpack(context, operation, layers, lease).await?;
    let diffs: Vec<&str> = layers.iter().map(|(_, diff)| diff.as_str()).collect();
    let (id, size) = write_document(context, operation, config, of_chain(context, &diffs), lease).await?;
    manifest["config"]["digest"] = json!(id);
    manifest["config"]["size"] = json!(size);
    let mut parts = HashMap::from([(format!("{GC_REF}.content.config"), id)]);
    let layers = layers.iter().enumerate();
    parts.extend(layers.map(|(at, (layer, _))| (format!("{GC_REF}.content.l.{at}"), layer.digest.clone())));
    let (digest, size) = write_document(context, operation, manifest, parts, lease).await?;
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size })
}

/// Gives an image a name; another one that had it loses it.
pub(crate) async fn name(context: &Context, operation: &'static str, name: &str, target: Descriptor) -> Result<()> {
    let image = ImageRecord { name: name.to_owned(), target: Some(target), ..ImageRecord::default() };
    let request = OneImage { image: Some(image) };
    match context.client.call::<OneImage>(operation, "images.v1.Images/Create", &request).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            context.client.call::<OneImage>(operation, "images.v1.Images/Update", &request).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

/// Takes a name away, with what nobody refers to any more. Absent: success.
pub(crate) async fn unname(context: &Context, operation: &'static str, name: &str) -> Result<()> {
    let request = DeleteImage { name: name.to_owned(), sync: true };
    match context.client.call::<Empty>(operation, "images.v1.Images/Delete", &request).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

//! Named volumes: an ext4 disk each, with labels beside it. One machine at a time has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hythe_guest::volume_disk;
use hythe_local::named_volumes::NamedVolumes;
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::must_be_of;
use hythe_runtime::{OpContext, Result, VolumeInfo, VolumeSpec, Volumes};

use crate::context::Context;
use crate::driver::Vm;
use crate::error::of_guest;

/// The file of a volume.
const DISK: &str = "disk.raw";
/// What ext4 takes as a label.
const LABEL: usize = 16;

/// The disk of a volume.
pub(crate) fn disk(volumes: &Path, name: &str) -> PathBuf {
    volumes.join(name).join(DISK)
}

fn all(context: &Context) -> NamedVolumes<'_> {
    NamedVolumes { root: &context.root, instances: &context.instances }
}

fn ensure(context: &Context, operation: &'static str, spec: &VolumeSpec) -> Result<()> {
    let label: String = spec.name.chars().filter(char::is_ascii).take(LABEL).collect();
    let size = context.config.volume_size.0;
    let fill = |volume: &Path| volume_disk(&volume.join(DISK), size, &label).map_err(of_guest(operation));
    all(context).ensure(operation, spec, fill)
}

fn list(context: &Context, operation: &'static str) -> Result<Vec<VolumeInfo>> {
    // Its files are inside of a disk: there is no directory of the host to name.
    all(context).list(operation, |_, _| None)
}

fn remove(context: &Context, operation: &'static str, name: &str, owner: &str) -> Result<()> {
    let may_go = |labels: &BTreeMap<String, String>| must_be_of(owner, operation, "volume", name, labels);
    match all(context).take_where(operation, name, may_go)? {
        Some(trash) => Context::discard(operation, &trash, &format!("remove the disk of volume `{name}`")),
        None => Ok(()),
    }
}

#[async_trait]
impl Volumes for Vm {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        const OPERATION: &str = "volume create";
        let (context, spec) = (self.context.clone(), spec.clone());
        cx.run_detached(OPERATION, run_blocking(OPERATION, move || ensure(&context, OPERATION, &spec))).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        const OPERATION: &str = "volume list";
        let context = self.context.clone();
        cx.with_deadline(OPERATION, run_blocking(OPERATION, move || list(&context, OPERATION))).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        const OPERATION: &str = "volume remove";
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        let remove = move || remove(&context, OPERATION, &name, &owner);
        cx.run_detached(OPERATION, run_blocking(OPERATION, remove)).await
    }
}

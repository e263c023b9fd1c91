//! Named volumes: an ext4 disk each, with labels beside it. One machine at a time has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hythe_guest::volume_disk;
use hythe_local::instances::{Record, fresh_id, is_plain};
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::{ensure_same_owner, must_be_of};
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};
use hythe_shim::files::{read_json, replace_json};
use hythe_spec::MountSource;

use crate::context::Context;
use crate::driver::Vm;
use crate::error::{IoContext, of_guest};

const LABELS: &str = "labels.json";
/// What ext4 takes as a label.
const LABEL: usize = 16;

/// The disk of a volume.
pub(crate) fn disk(volumes: &Path, name: &str) -> PathBuf {
    volumes.join(name).join("disk.raw")
}

fn labels(directory: &Path) -> Option<BTreeMap<String, String>> {
    read_json(&directory.join(LABELS)).ok()
}

fn ensure(context: &Context, operation: &'static str, spec: &VolumeSpec) -> Result<()> {
    let name = &spec.name;
    if !is_plain(name) || name.starts_with('.') {
        return Err(Error::new(ErrorKind::Invalid, operation, format!("`{name}` is no name for a volume")));
    }
    let what = || format!("make volume `{name}`");
    let _lock = context.instances.lock(operation)?;
    let place = context.volumes().join(name);
    if let Some(had) = labels(&place) {
        return ensure_same_owner(operation, "volume", name, &had, &spec.labels);
    }
    let making = context.root.join("making").join(fresh_id(operation)?);
    fs::create_dir_all(&making).context(operation, what())?;
    let label: String = name.chars().filter(char::is_ascii).take(LABEL).collect();
    volume_disk(&making.join("disk.raw"), context.config.volume_size.0, &label).map_err(of_guest(operation))?;
    replace_json(&making.join(LABELS), &spec.labels, true).context(operation, what())?;
    fs::create_dir_all(context.volumes()).context(operation, what())?;
    fs::rename(&making, &place).context(operation, what())
}

fn list(context: &Context, operation: &'static str) -> Result<Vec<VolumeInfo>> {
    context.instances.reachable(operation)?;
    let mut volumes = Vec::new();
    let entries = match fs::read_dir(context.volumes()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(volumes),
        entries => entries.context(operation, "list the volumes")?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(labels) = labels(&entry.path()) else { continue };
        // Its files are inside of a disk: there is no directory of the host to name.
        volumes.push(VolumeInfo { name, labels, path: None });
    }
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}

fn remove(context: &Context, operation: &'static str, name: &str, owner: &str) -> Result<()> {
    if !is_plain(name) {
        return Ok(());
    }
    let lock = context.instances.lock(operation)?;
    let Some(had) = labels(&context.volumes().join(name)) else { return Ok(()) };
    must_be_of(owner, operation, "volume", name, &had)?;
    let uses = |record: &Record| {
        let mut mounts = record.plan.mounts.iter();
        mounts.any(|mount| matches!(&mount.source, MountSource::Volume { name: used, .. } if used == name))
    };
    let records = context.instances.all(operation)?;
    let users: Vec<&str> = records.iter().filter(|record| uses(record)).map(|record| record.name.as_str()).collect();
    if !users.is_empty() {
        let message = format!("volume `{name}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, operation, message));
    }
    let trash = context.root.join("trash").join(fresh_id(operation)?);
    match fs::rename(context.volumes().join(name), &trash) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome.context(operation, format_args!("remove volume `{name}`"))?,
    }
    drop(lock);
    Context::discard(operation, &trash, &format!("remove the disk of volume `{name}`"))
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

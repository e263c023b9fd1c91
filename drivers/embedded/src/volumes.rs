//! Named volumes: a directory each, with labels beside the data.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use hythe_oci_spec::volume_files;
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::{ensure_same_owner, must_be_of};
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};
use hythe_shim::files::{read_json, replace_json};
use hythe_spec::MountSource;

use crate::context::Context;
use crate::driver::Embedded;
use crate::error::IoContext;
use crate::instances::{Record, fresh_id, is_plain};

const LABELS: &str = "labels.json";

fn labels(directory: &Path) -> Option<BTreeMap<String, String>> {
    read_json(&directory.join(LABELS)).ok()
}

pub(crate) fn ensure(context: &Context, operation: &'static str, spec: &VolumeSpec) -> Result<()> {
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
    fs::create_dir_all(making.join("data")).context(operation, what())?;
    fs::set_permissions(making.join("data"), fs::Permissions::from_mode(0o755)).context(operation, what())?;
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
        let path = Some(volume_files(&context.volumes(), &name).to_string_lossy().into_owned());
        volumes.push(VolumeInfo { name, labels, path });
    }
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}

/// Removes one whose labels may go.
pub(crate) fn remove_where(
    context: &Context,
    operation: &'static str,
    name: &str,
    may_go: impl FnOnce(&BTreeMap<String, String>) -> Result<()>,
) -> Result<()> {
    if !is_plain(name) {
        return Ok(());
    }
    let lock = context.instances.lock(operation)?;
    let Some(had) = labels(&context.volumes().join(name)) else { return Ok(()) };
    may_go(&had)?;
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
    context.discard(operation, &trash, format_args!("remove the files of volume `{name}`"))
}

#[async_trait]
impl Volumes for Embedded {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let (context, spec) = (self.context.clone(), spec.clone());
        cx.run_detached(
            "volume create",
            run_blocking("volume create", move || ensure(&context, "volume create", &spec)),
        )
        .await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let context = self.context.clone();
        cx.with_deadline("volume list", run_blocking("volume list", move || list(&context, "volume list"))).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        let operation = "volume remove";
        let remove = move || {
            remove_where(&context, operation, &name, |labels| must_be_of(&owner, operation, "volume", &name, labels))
        };
        cx.run_detached(operation, run_blocking(operation, remove)).await
    }
}

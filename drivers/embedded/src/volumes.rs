//! Named volumes: a directory each, with labels beside the data.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use hythe_runtime::identity::OWNER;
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};
use hythe_shim::files::{read_json, replace_json};
use hythe_spec::MountSource;

use crate::core::Core;
use crate::driver::Embedded;
use crate::error::{Doing, blocking, bounded, carried};
use crate::instances::{Record, fresh_id, is_plain};
use crate::translate::volume_files;

const LABELS: &str = "labels.json";

/// Whether what is there is of the same owner.
fn same_owner(had: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    had.contains_key(OWNER) && had.get(OWNER) == wanted.get(OWNER)
}

fn labels(directory: &Path) -> Option<BTreeMap<String, String>> {
    read_json(&directory.join(LABELS)).ok()
}

pub(crate) fn ensure(core: &Core, operation: &'static str, spec: &VolumeSpec) -> Result<()> {
    let name = &spec.name;
    if !is_plain(name) || name.starts_with('.') {
        return Err(Error::new(ErrorKind::Invalid, operation, format!("`{name}` is no name for a volume")));
    }
    let what = || format!("make volume `{name}`");
    let _turn = core.instances.turn(operation)?;
    let place = core.volumes().join(name);
    if let Some(had) = labels(&place) {
        let message = format!("volume `{name}` belongs to somebody else");
        let taken = Error::new(ErrorKind::AlreadyExists, operation, message);
        return if same_owner(&had, &spec.labels) { Ok(()) } else { Err(taken) };
    }
    let making = core.root.join("making").join(fresh_id(operation)?);
    fs::create_dir_all(making.join("data")).doing(operation, what())?;
    fs::set_permissions(making.join("data"), fs::Permissions::from_mode(0o755)).doing(operation, what())?;
    replace_json(&making.join(LABELS), &spec.labels, true).doing(operation, what())?;
    fs::create_dir_all(core.volumes()).doing(operation, what())?;
    fs::rename(&making, &place).doing(operation, what())
}

fn list(core: &Core, operation: &'static str) -> Result<Vec<VolumeInfo>> {
    core.instances.reachable(operation)?;
    let mut volumes = Vec::new();
    let entries = match fs::read_dir(core.volumes()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(volumes),
        entries => entries.doing(operation, "list the volumes")?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(labels) = labels(&entry.path()) else { continue };
        let path = Some(volume_files(&core.volumes(), &name).to_string_lossy().into_owned());
        volumes.push(VolumeInfo { name, labels, path });
    }
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}

pub(crate) fn remove(core: &Core, operation: &'static str, name: &str) -> Result<()> {
    if !is_plain(name) {
        return Ok(());
    }
    let turn = core.instances.turn(operation)?;
    let uses = |record: &Record| {
        let mut mounts = record.plan.mounts.iter();
        mounts.any(|mount| matches!(&mount.source, MountSource::Volume { name: used, .. } if used == name))
    };
    let records = core.instances.all(operation)?;
    let users: Vec<&str> = records.iter().filter(|record| uses(record)).map(|record| record.name.as_str()).collect();
    if !users.is_empty() {
        let message = format!("volume `{name}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, operation, message));
    }
    let trash = core.root.join("trash").join(fresh_id(operation)?);
    match fs::rename(core.volumes().join(name), &trash) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome.doing(operation, format_args!("remove volume `{name}`"))?,
    }
    drop(turn);
    core.discard(operation, &trash, format_args!("remove the files of volume `{name}`"))
}

#[async_trait]
impl Volumes for Embedded {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let (core, spec) = (self.core.clone(), spec.clone());
        carried(cx, "volume create", blocking("volume create", move || ensure(&core, "volume create", &spec))).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let core = self.core.clone();
        bounded(cx, "volume list", blocking("volume list", move || list(&core, "volume list"))).await
    }

    async fn remove(&self, cx: &OpContext, name: &str) -> Result<()> {
        let (core, name) = (self.core.clone(), name.to_owned());
        carried(cx, "volume remove", blocking("volume remove", move || remove(&core, "volume remove", &name))).await
    }
}

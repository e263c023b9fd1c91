//! Named volumes of a runtime whose instances are on this host: a directory each, with labels beside the data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hythe_runtime::identity::ensure_same_owner;
use hythe_runtime::{Error, ErrorKind, Result, VolumeInfo, VolumeSpec};
use hythe_shim::files::{read_json, replace_json};
use hythe_spec::MountSource;

use crate::IoContext;
use crate::instances::{Instances, Record, fresh_id, is_plain};

const LABELS: &str = "labels.json";

/// The volumes below a runtime's root, and the instances that use them. Everything blocks.
#[derive(Debug, Clone, Copy)]
pub struct NamedVolumes<'a> {
    /// The runtime's own directory.
    pub root: &'a Path,
    /// Its instances.
    pub instances: &'a Instances,
}

fn labels(volume: &Path) -> Option<BTreeMap<String, String>> {
    read_json(&volume.join(LABELS)).ok()
}

impl NamedVolumes<'_> {
    fn all(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Makes one where it is not there; `fill` makes its data in the directory that becomes the volume.
    ///
    /// # Errors
    /// As [`hythe_runtime::Volumes::ensure`].
    pub fn ensure(
        &self,
        operation: &'static str,
        spec: &VolumeSpec,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let name = &spec.name;
        if !is_plain(name) || name.starts_with('.') {
            return Err(Error::new(ErrorKind::Invalid, operation, format!("`{name}` is no name for a volume")));
        }
        let what = || format!("make volume `{name}`");
        let _lock = self.instances.lock(operation)?;
        let place = self.all().join(name);
        if let Some(had) = labels(&place) {
            return ensure_same_owner(operation, "volume", name, &had, &spec.labels);
        }
        let making = self.root.join("making").join(fresh_id(operation)?);
        fs::create_dir_all(&making).context(operation, what())?;
        fill(&making)?;
        replace_json(&making.join(LABELS), &spec.labels, true).context(operation, what())?;
        fs::create_dir_all(self.all()).context(operation, what())?;
        fs::rename(&making, &place).context(operation, what())
    }

    /// All of them by name; `path` gives the directory of the host with a volume's files, where there is one.
    ///
    /// # Errors
    /// As [`hythe_runtime::Volumes::list`].
    pub fn list(
        &self,
        operation: &'static str,
        path: impl Fn(&Path, &str) -> Option<String>,
    ) -> Result<Vec<VolumeInfo>> {
        self.instances.reachable(operation)?;
        let mut volumes = Vec::new();
        let entries = match fs::read_dir(self.all()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(volumes),
            entries => entries.context(operation, "list the volumes")?,
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(labels) = labels(&entry.path()) else { continue };
            let path = path(&self.all(), &name);
            volumes.push(VolumeInfo { name, labels, path });
        }
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(volumes)
    }

    /// Takes one away whose labels may go and that no instance uses: what is left of it, to be removed.
    ///
    /// # Errors
    /// As [`hythe_runtime::Volumes::remove`], and those of `may_go`.
    pub fn take_where(
        &self,
        operation: &'static str,
        name: &str,
        may_go: impl FnOnce(&BTreeMap<String, String>) -> Result<()>,
    ) -> Result<Option<PathBuf>> {
        if !is_plain(name) {
            return Ok(None);
        }
        let _lock = self.instances.lock(operation)?;
        let Some(had) = labels(&self.all().join(name)) else { return Ok(None) };
        may_go(&had)?;
        let uses = |record: &Record| {
            let mut mounts = record.plan.mounts.iter();
            mounts.any(|mount| matches!(&mount.source, MountSource::Volume { name: used, .. } if used == name))
        };
        let records = self.instances.all(operation)?;
        let users: Vec<&str> =
            records.iter().filter(|record| uses(record)).map(|record| record.name.as_str()).collect();
        if !users.is_empty() {
            let message = format!("volume `{name}` is used by `{}`", users.join("`, `"));
            return Err(Error::new(ErrorKind::Conflict, operation, message));
        }
        let trash = self.root.join("trash").join(fresh_id(operation)?);
        match fs::rename(self.all().join(name), &trash) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            outcome => outcome.context(operation, format_args!("remove volume `{name}`"))?,
        }
        Ok(Some(trash))
    }
}

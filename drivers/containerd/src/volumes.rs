//! Named volumes: containerd has none, so each is a directory below the driver's root, with its labels beside its files.
//!
//! ```text
//! volumes/<name>/labels.json   its labels; what has none is no volume
//! volumes/<name>/data          its files
//! volumes/.made-<id>           one that is being made, under the lock
//! volumes/.gone-<id>           one that is being removed
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hythe_local::IoContext;
use hythe_oci_spec::volume_files;
use hythe_runtime::context::run_blocking;
use hythe_runtime::identity::{ensure_same_owner, must_be_of};
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};
use hythe_shim::files::{read_json, replace_json};
use hythe_spec::MountSource;

use crate::connect::version;
use crate::context::Context;
use crate::driver::Containerd;
use crate::image_load::fresh_id;
use crate::record::{self, Found};

const LABELS: &str = "labels.json";
const MADE: &str = ".made-";
const GONE: &str = ".gone-";
/// Longest name of a file.
const LONGEST: usize = 255;

type Labels = BTreeMap<String, String>;

fn labels(volume: &Path) -> Option<Labels> {
    read_json(&volume.join(LABELS)).ok()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Removes what calls that died were at. One that another call removes just now is gone all the same.
fn sweep(volumes: &Path, prefix: &str) {
    let entries = fs::read_dir(volumes).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "the rest of a volume is not removed");
        }
    }
}

/// Makes one, under the lock. Blocking.
fn make(volumes: &Path, operation: &'static str, spec: &VolumeSpec) -> Result<()> {
    let name = &spec.name;
    let what = || format!("make volume `{name}`");
    let place = volumes.join(name);
    if let Some(had) = labels(&place) {
        return ensure_same_owner(operation, "volume", name, &had, &spec.labels);
    }
    sweep(volumes, MADE);
    let making = volumes.join(format!("{MADE}{}", fresh_id(operation)?));
    let files = making.join("data");
    fs::create_dir_all(&files).context(operation, what())?;
    // Every user of a container may enter it, whatever the agent's mask is.
    fs::set_permissions(&files, fs::Permissions::from_mode(0o755)).context(operation, what())?;
    replace_json(&making.join(LABELS), &spec.labels, true).context(operation, what())?;
    fs::rename(&making, &place).context(operation, what())
}

/// All of them, sorted by name. Blocking.
fn all(volumes: &Path, operation: &'static str) -> Result<Vec<VolumeInfo>> {
    let entries = match fs::read_dir(volumes) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(operation, "list the volumes")?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<VolumeInfo> = names
        .filter(|name| is_name(name))
        .filter_map(|name| {
            let labels = labels(&volumes.join(&name))?;
            let path = Some(volume_files(volumes, &name).to_string_lossy().into_owned());
            Some(VolumeInfo { name, labels, path })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn uses(found: &Found, volume: &str) -> bool {
    let mounts = found.record.iter().flat_map(|record| &record.plan.mounts);
    mounts.into_iter().any(|mount| matches!(&mount.source, MountSource::Volume { name, .. } if name == volume))
}

async fn remove(context: &Context, operation: &'static str, name: &str, owner: &str) -> Result<()> {
    if !is_name(name) {
        return Ok(());
    }
    // Nobody makes an instance with it meanwhile.
    let lock = context.lock(operation).await?;
    let found = record::all(context, operation).await?;
    let volumes = context.volumes();
    let Some(had) = labels(&volumes.join(name)) else { return Ok(()) };
    must_be_of(owner, operation, "volume", name, &had)?;
    let users: Vec<&str> = found.iter().filter(|found| uses(found, name)).map(Found::name).collect();
    if !users.is_empty() {
        let message = format!("volume `{name}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, operation, message).hint("remove these instances first"));
    }
    let gone = volumes.join(format!("{GONE}{}", fresh_id(operation)?));
    let what = format!("remove volume `{name}`");
    fs::rename(volumes.join(name), &gone).context(operation, &what)?;
    drop(lock);
    let removed = move || {
        fs::remove_dir_all(&gone).context(operation, &what)?;
        sweep(&volumes, GONE);
        Ok(())
    };
    run_blocking(operation, removed).await
}

/// Refuses an instance whose volume is not there.
pub(crate) fn check(context: &Context, operation: &'static str, source: &MountSource) -> Result<()> {
    match source {
        MountSource::Volume { name, .. } if !is_name(name) || labels(&context.volumes().join(name)).is_none() => {
            Err(Error::new(ErrorKind::NotFound, operation, format!("no volume `{name}`")).hint("make it first"))
        }
        MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => Ok(()),
    }
}

impl Context {
    /// Directory of the named volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
}

#[async_trait]
impl Volumes for Containerd {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let operation = "volume create";
        if !is_name(&spec.name) {
            let message = format!("`{}` is no name for a volume", spec.name.escape_debug());
            return Err(Error::new(ErrorKind::Invalid, operation, message).hint("use letters, digits, `-` and `_`"));
        }
        let (context, spec) = (self.context.clone(), spec.clone());
        let work = async move {
            version(&context.client, operation).await?;
            let _lock = context.lock(operation).await?;
            let volumes = context.volumes();
            run_blocking(operation, move || make(&volumes, operation, &spec)).await
        };
        cx.run_detached(operation, work).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let (operation, volumes) = ("volume list", self.context.volumes());
        let list = async {
            version(&self.context.client, operation).await?;
            run_blocking(operation, move || all(&volumes, operation)).await
        };
        cx.with_deadline(operation, list).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        let operation = "volume remove";
        cx.run_detached(operation, async move { remove(&context, operation, &name, &owner).await }).await
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use hythe_runtime::identity::OWNER;

    use super::*;

    #[test]
    fn make_removes_what_a_dead_call_was_at_and_lists_only_volumes() {
        let volumes = tempfile::tempdir().unwrap();
        let at = |path: &str| volumes.path().join(path);
        fs::create_dir_all(at(".made-1/data")).unwrap();
        fs::create_dir_all(at("stray/data")).unwrap();
        let spec = |owner: &str| VolumeSpec {
            name: "data".to_owned(),
            labels: BTreeMap::from([(OWNER.to_owned(), owner.to_owned())]),
        };
        make(volumes.path(), "volume create", &spec("one")).unwrap();
        fs::write(at("data/data/file"), "kept").unwrap();
        make(volumes.path(), "volume create", &spec("one")).unwrap();
        assert_eq!(fs::read_to_string(at("data/data/file")).unwrap(), "kept");
        let refused = make(volumes.path(), "volume create", &spec("other")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        let names: Vec<String> = all(volumes.path(), "volume list").unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["data"]);
        assert!(!at(".made-1").exists());
    }

    #[test]
    fn is_name_of_a_path_is_false() {
        for name in ["", ".", "..", ".made-1", "a/b", "a\0b"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_name("shop_data.1"));
    }
}

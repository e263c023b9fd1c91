//! Secrets as files in memory: made with nobody else's rights, one directory an instance.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind as Io, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hythe_runtime::{Error, ErrorKind};
use hythe_spec::Secret;
use hythe_store::Secrets;

use crate::error::store_error;

/// Where secrets are kept, and where instances get them from.
#[derive(Debug)]
pub struct SecretFiles {
    pub(super) store: Secrets,
    /// Absent: the host has no file system in memory that this user may write to.
    pub(super) root: Option<PathBuf>,
    /// Held while directories are made or taken away: the last instance's end takes those above it too.
    pub(super) changing: Mutex<()>,
}

impl SecretFiles {
    /// Secrets of this store, given to instances below this directory in memory.
    pub fn new(store: Secrets, root: Option<PathBuf>) -> Self {
        Self { store, root, changing: Mutex::new(()) }
    }

    pub(super) fn directory(&self, instance: &str) -> Option<PathBuf> {
        self.root.as_ref().map(|root| root.join(instance))
    }

    /// Writes an instance's secrets; what is there stays where `again` is false.
    pub(super) fn provide(&self, instance: &str, secrets: &[Secret], again: bool) -> Result<(), Error> {
        let directory = self.directory(instance).ok_or_else(no_memory)?;
        let failed = |cause: io::Error| {
            let words = format!("the secrets of `{instance}` cannot be written: {cause}");
            Error::new(ErrorKind::Unavailable, "secrets", words).source(cause)
        };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        private_directories(&directory).map_err(failed)?;
        for (at, secret) in secrets.iter().enumerate() {
            let path = directory.join(at.to_string());
            if !again && path.exists() {
                continue;
            }
            let value = self.value(&secret.source, ErrorKind::Conflict)?;
            if secret.digest.as_ref().is_some_and(|known| *known != self.store.digest(&secret.source, &value)) {
                tracing::info!(instance, secret = secret.source, "its value was changed since the deploy");
            }
            write(&path, &value, secret).map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn value(&self, name: &str, missing: ErrorKind) -> Result<Vec<u8>, Error> {
        let value = self.store.get(name).map_err(store_error)?;
        value.ok_or_else(|| {
            Error::new(missing, "secrets", format!("the secret `{name}` is not set"))
                .hint(format!("set it with `hythe secret set {name}`"))
        })
    }

    pub(super) fn drop_of(&self, instance: &str) {
        let Some(directory) = self.directory(instance) else { return };
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != Io::NotFound => {
                tracing::warn!(path = %directory.display(), cause = %error, "secrets cannot be removed");
            }
            _ => self.drop_empty(),
        }
    }

    /// Takes the agent's own directory away where nothing is in it, then the one that the user's agents share.
    pub(super) fn drop_empty(&self) {
        let above = self.root.iter().flat_map(|root| root.ancestors().take(2));
        // What is not empty, or not there, stays as it is.
        let _ = above.map(fs::remove_dir).find(Result::is_err);
    }
}

/// Tries at making them: another agent of the user may take the shared one away just then.
const TRIES: usize = 10;

/// An instance's directory and the two above it.
fn private_directories(directory: &Path) -> io::Result<()> {
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        let mut above: Vec<&Path> = directory.ancestors().take(3).collect();
        above.reverse();
        outcome = above.into_iter().try_for_each(private_directory);
        match &outcome {
            Err(error) if error.kind() == Io::NotFound => {}
            _ => return outcome,
        }
    }
    outcome
}

/// Created with mode 0700; a directory of another user, or open to others, is refused.
fn private_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != Io::AlreadyExists => return Err(error),
        _ => {}
    }
    let meta = fs::symlink_metadata(path)?;
    let own = meta.uid() == rustix::process::geteuid().as_raw();
    if meta.is_dir() && own && (meta.mode() & 0o077 == 0) {
        return Ok(());
    }
    Err(io::Error::new(Io::PermissionDenied, format!("`{}` is not a private directory of this user", path.display())))
}

/// Whole or not at all: a reader of the old file keeps it.
fn write(path: &Path, value: &[u8], secret: &Secret) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(value)?;
    if secret.uid.is_some() || secret.gid.is_some() {
        fchown(&file, secret.uid, secret.gid)?;
    }
    file.set_permissions(Permissions::from_mode(secret.mode))?;
    fs::rename(&new, path)
}

pub(super) fn no_memory() -> Error {
    Error::new(ErrorKind::Unsupported, "secrets", "this host has no file system in memory for secrets")
        .hint("mount a tmpfs on `/run` or `/dev/shm`; for a user, set `XDG_RUNTIME_DIR`")
}

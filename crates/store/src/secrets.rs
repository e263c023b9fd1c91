//! The agent's secrets: one file each in a private directory. They are not encrypted: who reads the state directory reads them.
//!
//! They are kept beside the database, not in it: neither a damaged store nor a copy of it loses or holds them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::{Error, Result};

/// Most bytes of one secret.
pub const LARGEST_SECRET: usize = 512 * 1024;
const DIRECTORY: &str = "secrets";
/// Not a name of a secret, which begins with a letter or digit.
const KEY: &str = ".key";
const UNFINISHED: &str = ".new-";

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRecord {
    /// Its name.
    pub name: String,
    /// Bytes of its value.
    pub size: u64,
    /// When its value was last set.
    pub updated: Timestamp,
}

/// The secrets of one agent.
pub struct Secrets {
    directory: PathBuf,
    key: [u8; 32],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Those below a state directory; made where there are none yet.
    ///
    /// # Errors
    /// When the directory or the key in it cannot be made or read.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let directory = state_dir.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(&directory)(error)),
            _ => {}
        }
        let secrets = Self { key: key(&directory)?, directory };
        secrets.tidy();
        Ok(secrets)
    }

    /// What a write that was interrupted left.
    fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
            if let Err(cause) = fs::remove_file(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %cause, "an unfinished secret cannot be removed");
            }
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        match hythe_spec::secret::check_name(name) {
            Ok(()) => Ok(path),
            Err(error) => Err(at(&path)(io::Error::new(ErrorKind::InvalidInput, error.message))),
        }
    }

    /// Sets a value, whole or not at all. The same value again leaves the secret as it is.
    ///
    /// # Errors
    /// When it is no name, or the value cannot be written.
    pub fn set(&self, name: &str, value: &[u8]) -> Result<bool> {
        let path = self.path(name)?;
        if self.get(name)?.is_some_and(|known| known == value) {
            return Ok(false);
        }
        let new = self.directory.join(format!("{UNFINISHED}{name}"));
        let written = write_new(&new, value).and_then(|()| fs::rename(&new, &path));
        let synced = written.and_then(|()| fs::File::open(&self.directory)?.sync_all());
        synced.map_err(at(&path)).map(|()| true)
    }

    /// The value; absent: no such secret.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        match fs::read(&path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<SecretRecord>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(at(&self.directory))? {
            let entry = entry.map_err(at(&self.directory))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if hythe_spec::secret::check_name(&name).is_ok()
                && let Some(record) = self.record(&name)?
            {
                records.push(record);
            }
        }
        records.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(records)
    }

    /// One without its value; absent: no such secret.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn record(&self, name: &str) -> Result<Option<SecretRecord>> {
        let path = self.path(name)?;
        let meta = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            meta => meta.map_err(at(&path))?,
        };
        let updated = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
        Ok(Some(SecretRecord { name: name.to_owned(), size: meta.len(), updated }))
    }

    /// Takes one away; whether it was there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<bool> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Tells one value from another without telling the value: nobody without this agent's key can try values against it.
    pub fn digest(&self, name: &str, value: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(value);
        mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { path: path.to_owned(), source }
}

fn write_new(path: &Path, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(value)?;
    file.sync_all()
}

/// The key of the digests; made at the first start.
fn key(directory: &Path) -> Result<[u8; 32]> {
    let path = directory.join(KEY);
    let read = fs::read(&path);
    if let Some(key) = read.as_ref().ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok()) {
        return Ok(key);
    }
    match read {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&path)(error)),
        _ => {}
    }
    let mut key = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut key)).map_err(at(&path))?;
    let new = directory.join(format!("{UNFINISHED}key"));
    write_new(&new, &key).and_then(|()| fs::rename(&new, &path)).map_err(at(&path))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(directory: &tempfile::TempDir) -> Secrets {
        Secrets::open(directory.path()).expect("opened")
    }

    #[test]
    fn set_value_is_read_back_by_the_next_agent() {
        let directory = tempfile::tempdir().expect("a directory");
        let secrets = open(&directory);
        assert!(secrets.set("db", b"a\0b\n").expect("set") && !secrets.set("db", b"a\0b\n").expect("set again"));
        let digest = secrets.digest("db", b"a\0b\n");
        let again = open(&directory);
        assert_eq!(again.get("db").expect("read").as_deref(), Some(&b"a\0b\n"[..]));
        assert_eq!(again.digest("db", b"a\0b\n"), digest);
        let names: Vec<String> = again.list().expect("listed").into_iter().map(|record| record.name).collect();
        assert_eq!(names, ["db"]);
        assert!(again.remove("db").expect("removed") && !again.remove("db").expect("removed again"));
        assert_eq!(again.get("db").expect("read"), None);
    }

    #[test]
    fn set_files_are_private() {
        let directory = tempfile::tempdir().expect("a directory");
        open(&directory).set("db", b"x").expect("set");
        let mode =
            |path: &str| fs::metadata(directory.path().join(path)).expect("metadata").permissions().mode() & 0o7777;
        assert_eq!([mode("secrets"), mode("secrets/db"), mode("secrets/.key")], [0o700, 0o600, 0o600]);
    }

    #[test]
    fn digest_depends_on_agent_name_and_value() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (one, two) = (open(&one), open(&two));
        let digests = [one.digest("a", b"x"), one.digest("a", b"y"), one.digest("b", b"x"), two.digest("a", b"x")];
        let distinct: std::collections::BTreeSet<&String> = digests.iter().collect();
        assert_eq!(distinct.len(), 4, "{digests:?}");
    }

    #[test]
    fn get_of_no_name_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(open(&directory).get("../owner").is_err());
    }
}

//! Instances on disk: everything there is to know of them.
//!
//! ```text
//! instances/<id>/   one each (see `hythe_shim`), with `instance.json` beside what the shim keeps
//! names/<name>      a link to the id; names are unique because links are
//! making/           directories that are not whole yet
//! trash/            directories on their way out
//! ```
//! An instance exists while its directory is below `instances`: it comes and goes by one rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hythe_oci::{UsernsFs, remove_tree_with};
use hythe_oci_spec::Command;
use hythe_runtime::identity::ensure_owned;
use hythe_runtime::{Error, ErrorKind, Identity, InstanceRef, Plan, Result};
use hythe_shim::Directory;
use hythe_shim::files::{read_json, replace_json};
use hythe_spec::Signal;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::IoContext;

/// What an instance was made as.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// All labels: the image's, and over them those that it was made with.
    pub labels: BTreeMap<String, String>,
    /// What it was made for.
    pub plan: Plan,
    /// Id of its image.
    pub image_id: String,
    /// Digest of the image's manifest.
    pub manifest: String,
    /// What its layers are kept by.
    pub chains: Vec<String>,
    /// Its main process.
    pub command: Command,
    /// Signal that asks it to stop, where plan or image say.
    pub stop_signal: Option<Signal>,
    /// Where the image declares volumes and the plan mounts nothing; each has a directory of the instance (see
    /// [`crate::image_volumes::anonymous`]).
    #[serde(default)]
    pub volumes: Vec<String>,
}

impl Record {
    /// Our labels, read.
    pub fn identity(&self) -> Option<Identity> {
        Identity::from_labels(&self.labels)
    }

    /// Reported with every event of it.
    pub fn metadata(&self) -> serde_json::Value {
        serde_json::json!({ "name": self.name, "identity": self.identity() })
    }
}

/// The directories below one root.
#[derive(Debug, Clone)]
pub struct Instances {
    root: PathBuf,
}

const RECORD: &str = "instance.json";

/// Held while something changes; dropped at the end of the change, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Instances {
    /// Makes the directories and sweeps what was never whole or is not wanted any more.
    pub fn open(root: &Path, userns_fs: Option<&dyn UsernsFs>) -> Result<Self> {
        let instances = Self { root: root.to_owned() };
        for name in ["instances", "names", "making", "trash", "journal"] {
            let path = root.join(name);
            fs::create_dir_all(&path).context("connect", format_args!("make `{}`", path.display()))?;
        }
        let _lock = instances.lock("connect")?;
        for name in ["making", "trash"] {
            for entry in fs::read_dir(root.join(name)).context("connect", "look for leftovers")?.flatten() {
                if !is_being_made(&entry.path()) {
                    remove_tree_with(userns_fs, &entry.path()).context("connect", "remove remains")?;
                }
            }
        }
        Ok(instances)
    }

    /// Whether the directories are there at all: what is not found in none is not known to be absent.
    pub fn reachable(&self, operation: &'static str) -> Result<()> {
        let path = self.root.join("instances");
        fs::metadata(&path).map(drop).context(operation, format_args!("find `{}`", path.display()))
    }

    /// Directory of the journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// One at a time over all processes: making and removing.
    pub fn lock(&self, operation: &'static str) -> Result<Lock> {
        locked(&self.root.join("lock")).context(operation, "lock the instances")
    }

    /// One at a time over all processes: giving a snapshot its name.
    pub fn lock_snapshots(&self, operation: &'static str) -> Result<Lock> {
        locked(&self.root.join("snapshots.lock")).context(operation, "lock the snapshots")
    }

    /// Directory of an instance.
    pub fn directory(&self, id: &str) -> Directory {
        Directory::new(self.root.join("instances").join(id))
    }

    /// One at a time for one instance: starting, settling, removing. Gone meanwhile: `NotFound`.
    pub fn lock_instance(&self, operation: &'static str, id: &str) -> Result<Lock> {
        let directory = self.directory(id);
        match locked(&directory.at("turn")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(absent(operation, id)),
            lock => lock.context(operation, format_args!("lock `{id}`")),
        }
    }

    /// By id, or by name through the link that names it.
    pub fn find(&self, operation: &'static str, instance: &InstanceRef) -> Result<Record> {
        let text = instance.as_str();
        self.reachable(operation)?;
        if !is_plain(text) {
            return Err(absent(operation, text));
        }
        let found = match instance {
            InstanceRef::Id(id) => self.read(operation, &id.0)?,
            InstanceRef::Name(name) => match fs::read_link(self.root.join("names").join(name)) {
                Ok(target) => self.read(operation, &target.to_string_lossy())?,
                Err(_) => None,
            },
        };
        found.ok_or_else(|| absent(operation, text))
    }

    /// As [`Self::find`], for what changes it: what is not ours only by its id.
    pub fn own(&self, operation: &'static str, instance: &InstanceRef) -> Result<Record> {
        let record = self.find(operation, instance)?;
        ensure_owned(operation, instance, &record.labels)?;
        Ok(record)
    }

    /// `None`: there is no such instance.
    pub fn read(&self, operation: &'static str, id: &str) -> Result<Option<Record>> {
        match read_json(&self.directory(id).at(RECORD)) {
            Ok(record) => Ok(Some(record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(operation, format_args!("read what `{id}` is")),
        }
    }

    /// All, in no order. One that vanishes meanwhile is left out.
    pub fn all(&self, operation: &'static str) -> Result<Vec<Record>> {
        let entries = fs::read_dir(self.root.join("instances")).context(operation, "list the instances")?;
        let mut records = Vec::new();
        for entry in entries.flatten() {
            records.extend(self.read(operation, &entry.file_name().to_string_lossy())?);
        }
        Ok(records)
    }

    /// Who has a name; a link that leads nowhere is nobody's.
    pub fn owner_of_name(&self, operation: &'static str, name: &str) -> Result<Option<Record>> {
        self.reachable(operation)?;
        match fs::read_link(self.root.join("names").join(name)) {
            Ok(target) => self.read(operation, &target.to_string_lossy()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(operation, format_args!("look for `{name}`")),
        }
    }

    /// A directory that will become an instance; whoever connects meanwhile leaves it alone for as long as the second value lives.
    pub fn making(&self, operation: &'static str, id: &str) -> Result<(Directory, File)> {
        let path = self.root.join("making").join(id);
        let what = || format!("make `{}`", path.display());
        let _lock = self.lock(operation)?;
        fs::create_dir(&path).context(operation, what())?;
        let claim = File::open(&path).context(operation, what())?;
        flock(&claim, FlockOperation::LockExclusive).context(operation, what())?;
        Ok((Directory::new(path), claim))
    }

    /// Makes it an instance under its name. Needs the lock, and the name free.
    pub fn publish(&self, operation: &'static str, made: &Directory, record: &Record, _lock: &Lock) -> Result<()> {
        let what = || format!("make `{}`", record.name);
        replace_json(&made.at(RECORD), record, true).context(operation, what())?;
        let link = self.root.join("names").join(&record.name);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context(operation, what()),
            _ => {}
        }
        std::os::unix::fs::symlink(&record.id, &link).context(operation, what())?;
        let place = self.directory(&record.id);
        fs::rename(made.path(), place.path()).context(operation, what())?;
        hythe_shim::files::sync_parent(place.path()).context(operation, what())
    }

    /// Writes down its changed networks, for now and for its next start. Needs its lock.
    pub fn rewrite(&self, operation: &'static str, record: &Record) -> Result<()> {
        let directory = self.directory(&record.id);
        let what = || format!("write the networks of `{}`", record.name);
        let mut config: serde_json::Value = read_json(&directory.config()).context(operation, what())?;
        if let hythe_runtime::PlanNetwork::Networks { attachments } = &record.plan.network {
            config["network"]["attachments"] = serde_json::json!(attachments);
        }
        replace_json(&directory.config(), &config, true).context(operation, what())?;
        replace_json(&directory.at(RECORD), record, true).context(operation, what())
    }

    /// Gives it another name. Needs the lock, and the name free.
    pub fn rename(&self, operation: &'static str, mut record: Record, name: &str, _lock: &Lock) -> Result<Record> {
        let what = || format!("rename `{}`", record.name);
        let names = self.root.join("names");
        // A link that leads nowhere is nobody's name.
        let _ = fs::remove_file(names.join(name));
        std::os::unix::fs::symlink(&record.id, names.join(name)).context(operation, what())?;
        let old = names.join(&record.name);
        record.name = name.to_owned();
        replace_json(&self.directory(&record.id).at(RECORD), &record, true).context(operation, "write its name")?;
        fs::remove_file(old).context(operation, "free its old name")?;
        Ok(record)
    }

    /// Takes an instance away. Needs the lock.
    pub fn discard(&self, operation: &'static str, record: &Record, _lock: &Lock) -> Result<PathBuf> {
        let trash = self.root.join("trash").join(&record.id);
        let what = || format!("remove `{}`", record.name);
        fs::rename(self.directory(&record.id).path(), &trash).context(operation, what())?;
        let link = self.root.join("names").join(&record.name);
        if fs::read_link(&link).is_ok_and(|target| target == Path::new(&record.id)) {
            fs::remove_file(&link).context(operation, what())?;
        }
        Ok(trash)
    }
}

/// Takes the lock of a file, however long that takes.
///
/// # Errors
/// The file cannot be made or locked.
pub fn locked(path: &Path) -> io::Result<Lock> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether somebody alive is making something of a directory.
fn is_being_made(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// One component of a path that leads nowhere else.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '\0']) && text != "." && text != ".." && text.len() < 256
}

fn absent(operation: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("no instance `{id}`"))
}

/// A fresh id.
pub fn fresh_id(operation: &'static str) -> Result<String> {
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid").context(operation, "get a random id")?;
    Ok(random.trim().replace('-', ""))
}

//! What we know of our networks, in files of one directory.
//!
//! ```text
//! realm.json                  who we are; made once
//! lock                        held over every change
//! instances.lock              one byte of it held over the connecting or disconnecting of an instance
//! plugins.lock                held while a CNI plugin runs; what it complained of last
//! networks/<name>.json        a network: labels, subnets; written through to the disk
//! members/<name>.json         who is connected; of this boot only, since the kernel's part dies with it
//! instances/<id>/about.json   the connections of an instance
//! instances/<id>/hosts        its hosts file
//! ```
//!
//! Files are replaced whole, so that a reader needs no lock. The one exception is a hosts file, which is changed in place: it is mounted.

mod files;
mod records;

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use hythe_runtime::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};

use self::files::{read_document, sweep, write_document};
pub(super) use self::records::{AttachmentRecord, Connection, Definition, Member, Members};
use super::error::file;
use super::link_names::NameScope;

/// The state directory.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    scope: NameScope,
    boot: String,
}

/// The state directory while nobody else changes it.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    store: &'a Store,
    _lock: File,
}

impl Store {
    pub(super) fn open(root: &Path) -> Result<Self> {
        const OPERATION: &str = "open networks";
        for directory in ["networks", "members", "instances"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(|error| file(OPERATION, &path, error))?;
        }
        let lock = lock(root)?;
        let path = root.join("realm.json");
        let scope = match read_document(&path)? {
            Some(scope) => scope,
            None => {
                let scope = NameScope::new(random(OPERATION)?);
                write_document(&path, &scope, true)?;
                scope
            }
        };
        drop(lock);
        let boot = hythe_host::boot_id().map_err(|error| file(OPERATION, Path::new(hythe_host::BOOT_ID), error))?;
        Ok(Self { root: root.to_owned(), scope, boot })
    }

    pub(super) fn scope(&self) -> NameScope {
        self.scope
    }

    /// Waits until nobody else changes the directory.
    pub(super) fn lock(&self) -> Result<Locked<'_>> {
        Ok(Locked { store: self, _lock: lock(&self.root)? })
    }

    /// Waits until nobody else connects or disconnects an instance. To be taken before [`Store::lock`].
    pub(super) fn lock_instance(&self, instance: &str) -> Result<File> {
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        let path = self.root.join("instances.lock");
        let place = i64::try_from(hasher.finish() >> 2).unwrap_or(0);
        files::lock_byte(&path, place).map_err(|error| file("lock instance", &path, error))
    }

    /// All networks, sorted by name.
    pub(super) fn definitions(&self) -> Result<Vec<Definition>> {
        let mut found = Vec::new();
        for name in self.names("networks")? {
            if let Some(name) = name.strip_suffix(".json")
                && let Some(definition) = self.definition(name)?
            {
                found.push(definition);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(super) fn definition(&self, name: &str) -> Result<Option<Definition>> {
        check("network", name)?;
        read_document(&self.root.join("networks").join(format!("{name}.json")))
    }

    /// The members of a network; those of an earlier boot are none.
    pub(super) fn members(&self, network: &str) -> Result<Members> {
        check("network", network)?;
        let none = Members { boot: self.boot.clone(), last: 0, changed: 0, told: 0, members: Vec::new() };
        match read_document::<Members>(&self.members_file(network)) {
            Ok(Some(members)) if members.boot == self.boot => Ok(members),
            Ok(_) => Ok(none),
            // Not written through: what a lost machine left of it speaks of nobody alive.
            Err(error) => {
                tracing::warn!(%error, network, "the list of members is unreadable and begun anew");
                Ok(none)
            }
        }
    }

    /// Ids of all instances that have something here.
    pub(super) fn instances(&self) -> Result<Vec<String>> {
        self.names("instances")
    }

    pub(super) fn about(&self, instance: &str) -> Result<Option<AttachmentRecord>> {
        check("instance", instance)?;
        let about = read_document::<AttachmentRecord>(&self.instance(instance).join("about.json"));
        Ok(about.unwrap_or_default().filter(|about| about.boot == self.boot))
    }

    pub(super) fn hosts_file(&self, instance: &str) -> PathBuf {
        self.instance(instance).join("hosts")
    }

    /// The lock that a plugin runs under.
    pub(super) fn plugins_file(&self) -> PathBuf {
        self.root.join("plugins.lock")
    }

    /// The id of this boot.
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    fn instance(&self, instance: &str) -> PathBuf {
        self.root.join("instances").join(instance)
    }

    fn members_file(&self, network: &str) -> PathBuf {
        self.root.join("members").join(format!("{network}.json"))
    }

    fn names(&self, directory: &str) -> Result<Vec<String>> {
        let path = self.root.join(directory);
        let entries = fs::read_dir(&path).map_err(|error| file("read networks", &path, error))?;
        Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect())
    }
}

impl Locked<'_> {
    pub(super) fn put_definition(&self, definition: &Definition) -> Result<()> {
        check("network", &definition.name)?;
        write_document(&self.store.root.join("networks").join(format!("{}.json", definition.name)), definition, true)
    }

    pub(super) fn remove_definition(&self, name: &str) -> Result<()> {
        for path in [self.store.members_file(name), self.store.root.join("networks").join(format!("{name}.json"))] {
            files::remove(&path)?;
        }
        Ok(())
    }

    pub(super) fn put_members(&self, network: &str, members: &Members) -> Result<()> {
        write_document(&self.store.members_file(network), members, false)
    }

    pub(super) fn put_about(&self, instance: &str, about: &AttachmentRecord) -> Result<()> {
        let directory = self.store.instance(instance);
        fs::create_dir_all(&directory).map_err(|error| file("attach", &directory, error))?;
        write_document(&directory.join("about.json"), about, false)
    }

    /// Writes a hosts file in place, where it is there or `make` says to.
    pub(super) fn put_hosts(&self, instance: &str, text: &str, make: bool) -> Result<()> {
        let path = self.store.hosts_file(instance);
        files::rewrite(&path, text, make).map_err(|error| file("write hosts", &path, error))
    }

    pub(super) fn remove_instance(&self, instance: &str) -> Result<()> {
        check("instance", instance)?;
        let path = self.store.instance(instance);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file("detach", &path, error)),
            _ => Ok(()),
        }
    }

    /// Removes what writers that were killed left.
    pub(super) fn sweep(&self) -> Result<()> {
        let root = &self.store.root;
        let instances = self.store.instances()?.into_iter().map(|instance| self.store.instance(&instance));
        [root.clone(), root.join("networks"), root.join("members")]
            .into_iter()
            .chain(instances)
            .try_for_each(|path| sweep(&path))
    }
}

/// Names become file names.
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= 200 && name.bytes().all(plain) {
        return Ok(());
    }
    let message = format!("`{name}` is no name of {} {what}", if what == "instance" { "an" } else { "a" });
    Err(Error::new(ErrorKind::Invalid, "name", message)
        .hint("letters, digits, `_`, `.` and `-`, beginning with a letter or digit"))
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let take = || {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                taken => break taken?,
            }
        }
        Ok(file)
    };
    take().map_err(|error| file("lock networks", &path, error))
}

fn random(operation: &'static str) -> Result<[u8; 5]> {
    use std::io::Read;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 5];
    let read = File::open(path).and_then(|mut source| source.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|error| file(operation, path, error))
}

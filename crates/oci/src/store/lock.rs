//! Locks between processes: `flock` on files that stay, and temporary directories that a living process holds.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::idmap::{UsernsFs, remove_tree_with};
use crate::error::Local as _;
use crate::unpack::remove_tree;
use crate::{Error, Kind};

/// A lock held until it is dropped, or its process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Blocks until nobody else holds it.
    pub(crate) fn exclusive(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        file.lock().local("lock", path)?;
        Ok(Self { _file: file })
    }

    /// Blocks while somebody holds it exclusively.
    pub(crate) fn shared(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        file.lock_shared().local("lock", path)?;
        Ok(Self { _file: file })
    }

    /// The exclusive lock, or `None` while anybody holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>, Error> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).local("lock", path),
        }
    }

    /// Waits on a thread of its own, which keeps no runtime from ending.
    pub(crate) async fn wait(path: PathBuf, take: fn(&Path) -> Result<Self, Error>) -> Result<Self, Error> {
        let (send, receive) = oneshot::channel();
        std::thread::spawn(move || send.send(take(&path)).ok());
        receive.await.map_err(|_| Error::new(Kind::Internal, "the thread that waited for a lock died"))?
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::options().create(true).truncate(false).write(true).open(path).local("open", path)
}

/// This process's temporary directory inside the store; gone with the value, or swept by the next to open the store.
#[derive(Debug)]
pub(crate) struct Session {
    directory: PathBuf,
    lock: PathBuf,
    next: AtomicU64,
    _held: Lock,
}

impl Session {
    /// Sweeps what no living process holds and makes an own directory below `parent`.
    pub(crate) fn begin(parent: &Path, hands: Option<&dyn UsernsFs>) -> Result<Self, Error> {
        sweep(parent, hands)?;
        loop {
            if let Some(session) = Self::attempt(parent)? {
                return Ok(session);
            }
        }
    }

    /// `None` where a sweeper took the lock file away before it was locked.
    fn attempt(parent: &Path) -> Result<Option<Self>, Error> {
        let file = tempfile::Builder::new().suffix(".lock").tempfile_in(parent).local("make a file in", parent)?;
        let (file, lock) = file.keep().map_err(|error| error.error).local("keep a file in", parent)?;
        file.lock().local("lock", &lock)?;
        if file.metadata().local("look at", &lock)?.nlink() == 0 {
            return Ok(None);
        }
        let directory = lock.with_extension("");
        std::fs::create_dir(&directory).local("make", &directory)?;
        Ok(Some(Self { directory, lock, next: AtomicU64::new(0), _held: Lock { _file: file } }))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path that nothing else uses.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What cannot be removed now is swept at the next opening: the lock file goes last.
        if remove_tree(&self.directory).is_ok() {
            std::fs::remove_file(&self.lock).ok();
        }
    }
}

fn sweep(parent: &Path, hands: Option<&dyn UsernsFs>) -> Result<(), Error> {
    for entry in std::fs::read_dir(parent).local("read", parent)? {
        let path = entry.local("read", parent)?.path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            sweep_one(&path, hands)?;
        }
    }
    Ok(())
}

fn sweep_one(lock: &Path, hands: Option<&dyn UsernsFs>) -> Result<(), Error> {
    // Opened, never created: another sweeper may have been faster.
    let Ok(file) = File::options().write(true).open(lock) else {
        return Ok(());
    };
    if file.try_lock().is_err() {
        return Ok(());
    }
    let directory = lock.with_extension("");
    // What cannot be removed must not keep the store from being opened; the next opening tries again.
    if let Err(error) = remove_tree_with(hands, &directory) {
        tracing::warn!(directory = %directory.display(), %error, "leftovers of a dead process cannot be removed");
        return Ok(());
    }
    std::fs::remove_file(lock).local("remove", lock)
}

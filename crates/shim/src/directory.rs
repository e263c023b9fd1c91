//! Where the files of an instance are, and whether its shim lives.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::files::read_json;
use crate::record::{Phase, State};
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock};
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory(PathBuf);

impl Directory {
    /// Of a path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What to start.
    pub fn config(&self) -> PathBuf {
        self.at("launch.json")
    }

    /// What became of it.
    pub fn state(&self) -> PathBuf {
        self.at("run.json")
    }

    /// Segments of its log.
    pub fn logs(&self) -> PathBuf {
        self.at("logs")
    }

    /// There while the container is frozen for somebody who looks at its files, and not paused.
    pub fn frozen(&self) -> PathBuf {
        self.at("held")
    }

    /// What libcontainer keeps of a run, inside the shim's mount namespace only: it needs no room on the disk.
    pub fn engine(&self) -> PathBuf {
        self.at(ENGINE)
    }

    /// What the network of a task gave (see [`crate::Network::attach`]), while its supervisor lives.
    pub fn connected(&self) -> PathBuf {
        self.at("connected.json")
    }

    /// Its own layer.
    pub fn upper(&self) -> PathBuf {
        self.at("upper")
    }

    /// The socket's path, short whatever the directory's is: through a descriptor of the directory.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn socket(&self) -> io::Result<(File, PathBuf)> {
        use std::os::fd::AsRawFd;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(rustix::fs::open(&self.0, flags, Mode::empty())?);
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok((directory, path))
    }

    /// Pid of the living shim; `None`: there is none. The kernel drops the lock when its holder dies, however it does.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub fn shim(&self) -> io::Result<Option<i32>> {
        let file = match File::options().read(true).write(true).open(self.at("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
        Ok(held.and_then(|lock| lock.pid).map(|pid| pid.as_raw_nonzero().get()))
    }

    /// Takes the lock for this process's life; `None`: another has it. One that has recorded its end is waited for.
    ///
    /// # Errors
    /// The lock cannot be made or taken.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(self.at("lock"))?;
        let lock = |how| match fcntl_lock(file.as_fd(), how) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Ok(false),
            Err(error) => Err(io::Error::from(error)),
        };
        if lock(FlockOperation::NonBlockingLockExclusive)? {
            return Ok(Some(file));
        }
        let state: Option<State> = read_json(&self.state()).ok();
        let is_leaving = state.is_some_and(|state| matches!(state.phase, Phase::Failed | Phase::Stopped));
        if is_leaving && lock(FlockOperation::LockExclusive)? { Ok(Some(file)) } else { Ok(None) }
    }
}

/// Name of what libcontainer keeps.
pub(crate) const ENGINE: &str = "engine";

/// Name of the socket.
pub const SOCKET: &str = "shim.sock";

//! Where an environment keeps its files: one directory, off the checkout, with a short path.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Context, Failure, Result};

/// Socket paths end below 108 bytes; the longest one here adds 45 to the root.
const LONGEST_ROOT: usize = 60;
const MARKER: &str = ".hythe-env";

/// The environment's directory and the names in it.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The directory `HYTHE_ENV_DIR` names, or one chosen by user and checkout.
    pub(crate) fn discover() -> Result<Self> {
        let root = match std::env::var_os("HYTHE_ENV_DIR") {
            Some(root) => std::path::absolute(root).context(|| "reading HYTHE_ENV_DIR".into())?,
            None => default_root(),
        };
        if root.as_os_str().len() > LONGEST_ROOT {
            return Err(Failure::new(format!(
                "`{}` is longer than {LONGEST_ROOT} bytes, too long for sockets below it; set HYTHE_ENV_DIR to a shorter path",
                root.display()
            )));
        }
        Ok(Self { root })
    }

    /// Creates the directory if needed and takes it for this process alone until the lock is dropped.
    pub(crate) fn claim(&self) -> Result<File> {
        loop {
            self.create()?;
            let lock = File::open(&self.root).context(|| format!("opening {self}"))?;
            flock(&lock, FlockOperation::LockExclusive).context(|| format!("locking {self}"))?;
            if self.is_still(&lock) {
                return Ok(lock);
            }
        }
    }

    /// Whether an environment is there at all.
    pub(crate) fn exists(&self) -> bool {
        self.root.join(MARKER).exists()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Eight hexadecimal digits that stand for this environment in names of bridges and firewall chains.
    pub(crate) fn id(&self) -> String {
        format!("{:08x}", fnv1a(self.root.as_os_str().as_encoded_bytes()) as u32)
    }

    /// What tests read; its shape is [`super::state::Description`].
    pub(crate) fn description(&self) -> PathBuf {
        self.root.join("env.json")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    pub(crate) fn log(&self, service: &str) -> PathBuf {
        self.root.join("log").join(service)
    }

    pub(crate) fn podman_program(&self) -> PathBuf {
        self.root.join("bin/podman")
    }

    pub(crate) fn podman(&self) -> PathBuf {
        self.root.join("podman")
    }

    pub(crate) fn podman_socket(&self) -> PathBuf {
        self.root.join("podman.sock")
    }

    pub(crate) fn containerd(&self) -> PathBuf {
        self.root.join("containerd")
    }

    pub(crate) fn docker(&self) -> PathBuf {
        self.root.join("docker")
    }

    pub(crate) fn docker_socket(&self) -> PathBuf {
        self.root.join("docker.sock")
    }

    pub(crate) fn service(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn create(&self) -> Result<()> {
        let creating = || format!("creating {self}");
        fs::create_dir_all(&self.root).context(creating)?;
        if self.exists() {
            return Ok(());
        }
        let occupied = fs::read_dir(&self.root).context(creating)?.next().is_some();
        if occupied {
            return Err(Failure::new(format!(
                "{self} holds something else; set HYTHE_ENV_DIR to a directory of its own"
            )));
        }
        fs::write(self.root.join(MARKER), "").context(creating)
    }

    /// False when another process removed the directory while we waited for its lock.
    fn is_still(&self, lock: &File) -> bool {
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (lock.metadata(), fs::metadata(&self.root)) {
            (Ok(held), Ok(named)) => inode(held) == inode(named) && self.exists(),
            _ => false,
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.root.display())
    }
}

/// The directory that holds the workspace's Cargo.toml.
pub(crate) fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

fn default_root() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let hash = fnv1a(checkout().as_os_str().as_encoded_bytes()) as u32;
    PathBuf::from(format!("/var/tmp/hythe-env-{user}-{hash:08x}"))
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

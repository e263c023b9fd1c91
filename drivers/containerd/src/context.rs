//! What every facet works on.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use hythe_local::IoContext;
use hythe_network::Networks;
use hythe_oci::Registry;
use hythe_oci_spec::Host;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Capability, Error, ErrorKind, Result, RuntimeInfo};
use hythe_shim::Directory;
use rustix::fs::{FlockOperation, flock};

use crate::Config;
use crate::client::Client;
use crate::watch::Hub;

/// Everything of one containerd.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) info: RuntimeInfo,
    pub(crate) capability: Capability,
    pub(crate) warnings: Vec<String>,
    pub(crate) config: Config,
    /// As an absolute path.
    pub(crate) root: PathBuf,
    pub(crate) client: Client,
    pub(crate) registry: Registry,
    pub(crate) host: Host,
    /// The program that becomes pid 1 where a plan asks for an init.
    pub(crate) init: Option<PathBuf>,
    /// None where the host has no bridge networks.
    pub(crate) networks: Option<Networks>,
    /// The subscription to events.
    pub(crate) hub: tokio::sync::Mutex<Option<Arc<Hub>>>,
}

/// How facets share it.
pub(crate) type SharedContext = Arc<Context>;

impl Context {
    pub(crate) fn directory(&self, id: &str) -> Directory {
        Directory::new(self.root.join("instances").join(id))
    }

    pub(crate) fn networks_directory(&self) -> PathBuf {
        self.root.join("networks")
    }

    /// The networks, for what cannot be done without.
    pub(crate) fn networks(&self, operation: &'static str) -> Result<&Networks> {
        self.networks.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, operation, "this host has no bridge networks")
                .hint("use `network = \"host\"` or `\"none\"`")
        })
    }

    /// Held while instances are made or removed, over all processes.
    pub(crate) async fn lock(&self, operation: &'static str) -> Result<File> {
        locked(operation, self.root.join("lock")).await
    }

    /// Held while a snapshot gets its name, over all processes.
    pub(crate) async fn lock_snapshots(&self, operation: &'static str) -> Result<File> {
        locked(operation, self.root.join("snapshots.lock")).await
    }

    /// Held while one instance is started or removed, over all processes.
    pub(crate) async fn lock_instance(&self, operation: &'static str, id: &str) -> Result<File> {
        let directory = self.directory(id);
        let path = directory.path().to_owned();
        // Its directory may be lost, and is made again.
        std::fs::create_dir_all(&path).context(operation, format_args!("make `{}`", path.display()))?;
        locked(operation, directory.at("turn")).await
    }
}

impl Context {
    /// As [`Context::lock_instance`]; `None`: somebody has it.
    pub(crate) fn try_lock_instance(&self, operation: &'static str, id: &str) -> Result<Option<File>> {
        let path = self.directory(id).at("turn");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.context(operation, format_args!("lock `{}`", path.display()))?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
    }
}

async fn locked(operation: &'static str, path: PathBuf) -> Result<File> {
    run_blocking(operation, move || {
        let what = || format!("lock `{}`", path.display());
        let file = File::options().create(true).truncate(false).write(true).open(&path).context(operation, what())?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context(operation, what()),
            }
        }
    })
    .await
}

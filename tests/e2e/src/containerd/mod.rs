//! A namespace of containerd for one trial, with a root of its own, looked at from outside with `ctr` and from the root's files.
//!
//! What `ctr` cannot do (start a container as it was made, change networks and volumes) the driver in this process does.

mod manual;
mod reader;

use std::fmt;
use std::path::PathBuf;

use hythe_driver_containerd::{Config, Containerd};
use hythe_runtime::{Images, OpContext};
use hythe_spec::ImageRef;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::files::IMAGE;
use crate::fixture::unique_name;
use crate::program::{self, Ran};

/// Where the snapshots' file systems can be mounted.
const ROOTS: &str = "/var/tmp";

/// See the module. Dropped, it removes whatever a trial that failed has left.
pub(crate) struct Namespace {
    directory: TempDir,
    socket: PathBuf,
    name: String,
    tokio: tokio::runtime::Runtime,
    containerd: Containerd,
}

impl Namespace {
    /// In the daemon behind the socket, with this image of a registry under the name that all trials use.
    pub(crate) fn new(socket: PathBuf, image: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("he2e").tempdir_in(ROOTS).unwrap();
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let name = format!("hythe-{}", unique_name());
        let config = Config {
            socket: socket.clone(),
            namespace: name.clone(),
            root: directory.path().join("containerd"),
            shim: Some(program::path().to_owned()),
            ..Config::default()
        };
        let containerd = tokio.block_on(hythe_driver_containerd::connect(config)).unwrap();
        let namespace = Self { directory, socket, name, tokio, containerd };
        namespace.fetch(image);
        namespace
    }

    fn fetch(&self, image: &str) {
        let (remote, name): (ImageRef, ImageRef) = (image.parse().unwrap(), IMAGE.parse().unwrap());
        let (progress, _reports) = mpsc::channel(1);
        let cx = OpContext::new("set-up");
        self.tokio.block_on(async {
            Images::pull(&self.containerd, &cx, &remote, None, &progress).await.unwrap();
            Images::tag(&self.containerd, &cx, &remote, &name).await.unwrap();
            Images::remove(&self.containerd, &cx, &remote).await.unwrap();
        });
    }

    /// What an agent is told of it.
    pub(crate) fn keys(&self) -> String {
        let (socket, root) = (self.socket.display(), self.path());
        let name = &self.name;
        format!("kind = \"containerd\"\nsocket = \"{socket}\"\nnamespace = \"{name}\"\nroot = \"{}\"\n", root.display())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("containerd")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Runs `ctr` in the namespace.
    fn ctr(&self, words: &[&str]) -> Ran {
        let mut command = program::command("ctr".as_ref());
        command.arg("--address").arg(&self.socket).args(["--namespace", &self.name]).args(words);
        Ran::of(&mut command)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.clear();
    }
}

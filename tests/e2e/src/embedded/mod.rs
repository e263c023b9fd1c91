//! An embedded runtime for one trial: a root of its own, looked at from outside, and a hand that reaches into it as an operator does.
//!
//! The look ([`witness`], [`remains`]) asks the driver nothing: it reads the root's files and the kernel. The hand is the driver in this process, since
//! there is no program that could do what `podman kill` does.

mod leftovers;
mod manual;
mod reader;

use std::fmt;
use std::path::PathBuf;

use hythe_driver_embedded::{Config, Embedded};
use hythe_runtime::{Images, OpContext};
use hythe_spec::ImageRef;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::files::IMAGE;

/// Where overlayfs works: `/tmp` may be stacked itself.
const ROOTS: &str = "/var/tmp";

/// See the module. Dropped, it removes whatever a trial that failed has left.
pub(crate) struct Root {
    directory: TempDir,
    tokio: tokio::runtime::Runtime,
    embedded: Embedded,
}

impl Root {
    /// With this image of a registry under the name that all trials use.
    pub(crate) fn new(image: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("he2e").tempdir_in(ROOTS).unwrap();
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = Config {
            root: directory.path().join("embedded"),
            shim: Some(crate::program::path().to_owned()),
            ..Config::default()
        };
        let embedded = tokio.block_on(hythe_driver_embedded::connect(config)).unwrap();
        let root = Self { directory, tokio, embedded };
        root.fetch(image);
        root
    }

    fn fetch(&self, image: &str) {
        let (remote, name): (ImageRef, ImageRef) = (image.parse().unwrap(), IMAGE.parse().unwrap());
        let (progress, _reports) = mpsc::channel(1);
        let cx = OpContext::new("set-up");
        self.tokio.block_on(async {
            Images::pull(&self.embedded, &cx, &remote, None, &progress).await.unwrap();
            Images::tag(&self.embedded, &cx, &remote, &name).await.unwrap();
            Images::remove(&self.embedded, &cx, &remote).await.unwrap();
        });
    }

    /// What an agent is told of it.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("embedded")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.path().display())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.clear();
    }
}

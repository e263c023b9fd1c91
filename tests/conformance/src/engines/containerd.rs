//! containerd, in a namespace and a root of its own; this program supervises the streams of its tasks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_driver_containerd::{Config, Containerd};
use hythe_runtime::layers::{Settings, standard};
use hythe_runtime::{Images, OpContext};
use hythe_spec::ImageRef;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::embedded_image::archive;
use crate::environment::{Environment, Socket};
use crate::failure::Outcome;
use crate::need::Need;
use crate::subject::{Breakable, Subject};

/// Where the snapshots' file systems can be mounted, and logs written.
const ROOTS: &str = "/var/tmp";
/// What it has not, and why.
const WITHOUT: [(Need, &str); 2] = [
    (Need::Build, "building images is not implemented for containerd yet"),
    (Need::Push, "pushing images is not implemented for containerd yet"),
];

pub(super) async fn subject(engine: &Socket, environment: &Environment, image: &ImageRef) -> Outcome<Subject> {
    let root = Arc::new(tempfile::Builder::new().prefix("hythe-conformance-").tempdir_in(ROOTS)?);
    // Two daemons share directories of one namespace, whatever their own state directory is.
    let namespace = format!("hythe-test-{}", std::process::id());
    let containerd = connect(&engine.socket, root.path(), &namespace).await?;
    load(&containerd, root.path(), image).await?;
    let socket = engine.socket.clone();
    Ok(Subject {
        name: "containerd",
        runtime: standard(Arc::new(containerd), &Settings::default()),
        real: true,
        image: image.clone(),
        engine_cli: None,
        breakable: Some(Box::new(move || Box::pin(breakable(socket.clone(), Arc::clone(&root), namespace.clone())))),
        registry: environment.registry.as_ref().map(|registry| registry.address.clone()),
        registry_auth: environment.registry_auth.as_ref().map(|registry| registry.address.clone()),
        without: WITHOUT.to_vec(),
    })
}

async fn connect(socket: &Path, root: &Path, namespace: &str) -> Outcome<Containerd> {
    let (socket, root, namespace) = (socket.to_owned(), root.to_owned(), namespace.to_owned());
    Ok(hythe_driver_containerd::connect(Config { socket, root, namespace, ..Config::default() }).await?)
}

async fn load(containerd: &Containerd, root: &Path, image: &ImageRef) -> Outcome {
    let busybox = std::env::var_os("HYTHE_TEST_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from);
    let path = root.join("test-image.tar");
    std::fs::write(&path, archive(&std::fs::read(busybox)?, image)?)?;
    let (progress, _reports) = mpsc::channel(1);
    Images::load(containerd, &OpContext::new("set-up"), &path, None, &progress).await?;
    Ok(std::fs::remove_file(path)?)
}

/// A socket of our own that hands everything on, until it is cut with all its connections.
async fn breakable(socket: PathBuf, root: Arc<TempDir>, namespace: String) -> Outcome<Breakable> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("containerd.sock");
    let listener = UnixListener::bind(&path)?;
    let relay = tokio::spawn(async move {
        // Dropping the set ends every connection.
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let socket = socket.clone();
            connections.spawn(async move {
                if let Ok(mut far) = UnixStream::connect(&socket).await {
                    // How a connection ends is for its two ends to know.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    let runtime = standard(Arc::new(connect(&path, root.path(), &namespace).await?), &Settings::default());
    let sever = Box::new(move || {
        relay.abort();
        drop((directory, root));
    });
    Ok(Breakable { runtime, sever })
}

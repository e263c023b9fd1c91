//! Docker's API: dockerd, or Podman's service that speaks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_driver_docker::Config;
use hythe_runtime::layers::{Settings, standard};
use hythe_runtime::{OpContext, Runtime};
use hythe_spec::ImageRef;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::engine_cli::DockerHand;
use crate::environment::{Environment, Socket};
use crate::failure::Outcome;
use crate::need::Need;
use crate::subject::{Breakable, Subject};

async fn connect(name: &str, socket: &Path) -> Outcome<Arc<dyn Runtime>> {
    let host = Some(format!("unix://{}", socket.display()));
    let config = Config { name: name.to_owned(), host, ..Config::default() };
    let docker = hythe_driver_docker::connect(config).await?;
    Ok(standard(Arc::new(docker), &Settings::default()))
}

pub(super) async fn subject(
    name: &'static str,
    engine: &Socket,
    environment: &Environment,
    image: &ImageRef,
) -> Outcome<Subject> {
    let socket = engine.socket.clone();
    let runtime = connect(name, &socket).await?;
    let mut without = vec![COPY_UP];
    if name == "podman-api" {
        without.push(BUILD_NETWORK);
    } else {
        without.push(ARCHIVE_SETUID);
        if !takes_sizes(&runtime.probe(&OpContext::default()).await?.version) {
            without.push(SIZED_START);
        }
    }
    let engine_cli = DockerHand::new(socket.clone());
    if engine_cli.keeps_images_in_containerd().await? {
        without.push(SNAPSHOT_MOUNTS);
    }
    Ok(Subject {
        name,
        runtime,
        real: true,
        image: image.clone(),
        engine_cli: Some(Box::new(engine_cli)),
        breakable: Some(Box::new(move || Box::pin(breakable(name, socket.clone())))),
        registry: environment.registry.as_ref().map(|registry| registry.address.clone()),
        registry_auth: environment.registry_auth.as_ref().map(|registry| registry.address.clone()),
        without,
    })
}

/// API 1.42, where the size of a terminal goes with its start, came with Docker 23.
fn takes_sizes(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_none_or(|major| major >= 23)
}

const SIZED_START: (Need, &str) = (Need::SizedStart, "Docker before 23 sizes a terminal only once its process runs");
const ARCHIVE_SETUID: (Need, &str) =
    (Need::ArchiveSetuid, "dockerd takes the setuid bit off a file as it makes a second name of it from an archive");
const SNAPSHOT_MOUNTS: (Need, &str) =
    (Need::SnapshotMounts, "dockerd does not say where the layers of images are that its containerd keeps");
const COPY_UP: (Need, &str) = (Need::CopyUp, "the engine copies into a volume by names, which may be links by then");
const BUILD_NETWORK: (Need, &str) =
    (Need::NetworkedBuild, "Podman's Docker-compatible API gives builds the host's network, whatever is asked");

/// A socket of our own that hands everything on, until it is cut with all its connections.
async fn breakable(name: &'static str, socket: PathBuf) -> Outcome<Breakable> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("engine.sock");
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
    let runtime = connect(name, &path).await?;
    let sever = Box::new(move || {
        relay.abort();
        drop(directory);
    });
    Ok(Breakable { runtime, sever })
}

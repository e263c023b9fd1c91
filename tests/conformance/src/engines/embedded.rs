//! The embedded runtime, in a root of its own; this program is its shim.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_driver_embedded::{Config, Embedded, NetworkBy};
use hythe_network::plugins_supported;
use hythe_runtime::layers::{Settings, standard};
use hythe_runtime::{Images, OpContext};
use hythe_spec::ImageRef;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::embedded_image::archive;
use crate::engine_cli::EmbeddedHand;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::need::Need;
use crate::rootless;
use crate::subject::{Breakable, Subject};

/// Where overlayfs works: a memory file system would do too, but not one that is itself stacked.
const ROOTS: &str = "/var/tmp";

/// What a user with other ids leaves, that user cannot remove: whoever started this process does, with its home.
fn roots() -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    rootless::results().and_then(|_| home()).unwrap_or_else(|| PathBuf::from(ROOTS))
}

/// What an unprivileged user has not.
const WITHOUT_ROOT: [(Need, &str); 2] = [
    (Need::Pause, "rootless, there are no cgroups, and so no freezer"),
    // With the ids of `/etc/subuid` they may belong to others: without this one.
    (Need::Owners, "rootless without subordinate ids, all files belong to one user"),
];

/// The one whose networks are the work of CNI plugins.
pub(super) const BY_PLUGINS: &str = "embedded-cni";

/// `None`: nobody asked for it, or not as this user; or it needs plugins that are not there.
pub(super) async fn subject(
    environment: &Environment,
    image: &ImageRef,
    network: NetworkBy,
) -> Outcome<Option<Subject>> {
    let wanted = environment.registry.is_some() || std::env::var_os("HYTHE_TEST_EMBEDDED").is_some();
    let is_root = rustix::process::geteuid().is_root();
    if !wanted || is_root == rootless::results().is_some() {
        return Ok(None);
    }
    if network == NetworkBy::Cni
        && let Err(error) = plugins_supported(&Config::default().cni_path)
    {
        println!("`{BY_PLUGINS}` is not judged: {error}");
        return Ok(None);
    }
    let root = Arc::new(tempfile::Builder::new().prefix("hythe-conformance-").tempdir_in(roots())?);
    let embedded = connect(root.path(), network).await?;
    let registry = environment.registry.as_ref().map(|registry| registry.address.clone());
    match &registry {
        Some(address) => pull(&embedded, address, image).await?,
        None => load(&embedded, root.path(), image).await?,
    }
    let hand = EmbeddedHand::new(embedded.clone());
    Ok(Some(Subject {
        name: match network {
            NetworkBy::Cni => BY_PLUGINS,
            NetworkBy::Native if is_root => "embedded",
            NetworkBy::Native => rootless::name(),
        },
        runtime: standard(Arc::new(embedded), &Settings::default()),
        real: true,
        image: image.clone(),
        engine_cli: Some(Box::new(hand)),
        breakable: Some(Box::new(move || Box::pin(breakable(Arc::clone(&root), network)))),
        registry,
        registry_auth: environment.registry_auth.as_ref().map(|registry| registry.address.clone()),
        without: match (is_root, rootless::has_ids()) {
            (true, _) => Vec::new(),
            (false, true) => WITHOUT_ROOT[..1].to_vec(),
            (false, false) => WITHOUT_ROOT.to_vec(),
        },
    }))
}

async fn connect(root: &Path, network: NetworkBy) -> Outcome<Embedded> {
    Ok(hythe_driver_embedded::connect(Config { root: root.to_owned(), network, ..Config::default() }).await?)
}

async fn pull(embedded: &Embedded, address: &str, image: &ImageRef) -> Outcome {
    let there: ImageRef =
        format!("{address}/hythe-test:1").parse().map_err(|_| Failure::new(format!("`{address}` is no registry")))?;
    let (progress, _reports) = mpsc::channel(1);
    Images::pull(embedded, &OpContext::new("set-up"), &there, None, &progress).await?;
    Ok(Images::tag(embedded, &OpContext::new("set-up"), &there, image).await?)
}

async fn load(embedded: &Embedded, root: &Path, image: &ImageRef) -> Outcome {
    let busybox = std::env::var_os("HYTHE_TEST_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from);
    let path = root.join("test-image.tar");
    std::fs::write(&path, archive(&std::fs::read(busybox)?, image)?)?;
    let (progress, _reports) = mpsc::channel(1);
    Images::load(embedded, &OpContext::new("set-up"), &path, None, &progress).await?;
    Ok(std::fs::remove_file(path)?)
}

/// One whose directory is taken away.
async fn breakable(beside: Arc<TempDir>, network: NetworkBy) -> Outcome<Breakable> {
    let root = tempfile::Builder::new().prefix("broken-").tempdir_in(beside.path())?.keep();
    let runtime = standard(Arc::new(connect(&root, network).await?), &Settings::default());
    let sever = Box::new(move || std::fs::remove_dir_all(root).unwrap());
    Ok(Breakable { runtime, sever })
}

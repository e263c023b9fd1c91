//! Virtual machines, in a root of their own; this program is their supervisor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_driver_vm::{Config, Vm};
use hythe_runtime::layers::{Settings, standard};
use hythe_runtime::{Images, OpContext};
use hythe_spec::ImageRef;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::embedded_image::archive;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::need::Need;
use crate::subject::{Breakable, Subject};

/// Disks are sparse files, which not every memory file system has room for.
const ROOTS: &str = "/var/tmp";
/// The kernel of guests, where no environment names one.
const KERNEL: &str = "HYTHE_TEST_KERNEL";

/// What it has not, and why.
const WITHOUT: [(Need, &str); 5] = [
    (Need::Build, "images are not built with virtual machines"),
    (Need::NetworkedBuild, "images are not built with virtual machines"),
    (Need::FirstProcess, "the first process of a guest is Hythe's init, always"),
    (Need::SharedVolumes, "a volume is a disk, which one machine at a time has"),
    (Need::Pause, "nobody but its supervisor can pause a virtual machine"),
];

/// `None`: no kernel is there for guests.
pub(super) async fn subject(environment: &Environment, image: &ImageRef) -> Outcome<Option<Subject>> {
    let configured = environment.vm.as_ref().map(|vm| vm.kernel.clone());
    let Some(kernel) = configured.or_else(|| std::env::var_os(KERNEL).map(PathBuf::from)) else { return Ok(None) };
    let root = Arc::new(tempfile::Builder::new().prefix("hythe-conformance-").tempdir_in(ROOTS)?);
    let vm = connect(root.path(), &kernel).await?;
    load(&vm, root.path(), image).await?;
    Ok(Some(Subject {
        name: "vm",
        runtime: standard(Arc::new(vm), &Settings::default()),
        real: true,
        image: image.clone(),
        engine_cli: None,
        breakable: Some(Box::new(move || Box::pin(breakable(Arc::clone(&root), kernel.clone())))),
        registry: environment.registry.as_ref().map(|registry| registry.address.clone()),
        registry_auth: environment.registry_auth.as_ref().map(|registry| registry.address.clone()),
        without: WITHOUT.to_vec(),
    }))
}

async fn connect(root: &Path, kernel: &Path) -> Outcome<Vm> {
    let config = Config { root: root.to_owned(), kernel: Some(kernel.to_owned()), ..Config::default() };
    Ok(hythe_driver_vm::connect(config).await?)
}

async fn load(vm: &Vm, root: &Path, image: &ImageRef) -> Outcome {
    let busybox = std::env::var_os("HYTHE_TEST_BUSYBOX").map_or_else(|| PathBuf::from("/bin/busybox"), PathBuf::from);
    let path = root.join("test-image.tar");
    std::fs::write(&path, archive(&std::fs::read(busybox)?, image)?)?;
    let (progress, _reports) = mpsc::channel(1);
    Images::load(vm, &OpContext::new("set-up"), &path, None, &progress).await?;
    Ok(std::fs::remove_file(path)?)
}

/// One whose directory is taken away.
async fn breakable(beside: Arc<TempDir>, kernel: PathBuf) -> Outcome<Breakable> {
    let root = tempfile::Builder::new().prefix("broken-").tempdir_in(beside.path())?.keep();
    let runtime = standard(Arc::new(connect(&root, &kernel).await?), &Settings::default());
    let sever = Box::new(move || std::fs::remove_dir_all(root).unwrap());
    Ok(Breakable { runtime, sever })
}

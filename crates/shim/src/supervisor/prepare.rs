//! Everything between a launch and the creator: file system, network namespace, ids, and the document that libcontainer reads.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};

use super::Network;
use crate::directory::Directory;
use crate::error::{Doing, Fault};
use crate::files::replace;
use crate::namespace::Joined;
use crate::record::{Launch, Process};
use crate::users::Guise;
use crate::{rootfs, users};

/// What must live as long as the container.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) bundle: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) network: Value,
    /// Of the first process.
    pub(crate) guise: Option<Guise>,
    _namespace: Option<OwnedFd>,
}

pub(crate) fn prepare(
    directory: &Directory,
    launch: &Launch,
    network: &mut dyn Network,
    joined: Option<&Joined>,
) -> Result<Prepared, Fault> {
    if launch.own_network {
        network.reserve(launch)?;
        joined.map_or(Ok(()), Joined::enter_network)?;
    }
    let root = rootfs::mount_layers(directory, launch)?;
    if joined.is_some() {
        rootfs::mount_own_groups()?;
    }
    let opened = rootfs::open_root(&root)?;
    rootfs::make_directory(&opened, &launch.process.workdir)?;
    for volume in &launch.take_up {
        rootfs::take_up(&opened, volume)?;
    }
    let mut spec = launch.spec.clone();
    spec["root"]["path"] = json!(root);
    let (first, guise) = process(&root, &launch.process, spec["process"]["env"].take(), &spec["process"]["rlimits"])?;
    spec["process"] = first;
    let namespace = launch.own_network.then(own_network).transpose()?;
    let mut told = Value::Null;
    if let Some(namespace) = &namespace {
        let path = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        told = network.attach(launch, Path::new(&path))?;
        join_network(&mut spec, &path);
    }
    let bundle = directory.path().to_owned();
    replace(&bundle.join("config.json"), &serde_json::to_vec(&spec).doing("write")?, false)
        .doing("write the container's document")?;
    Ok(Prepared { bundle, root, network: told, guise, _namespace: namespace })
}

/// A process in the words of the specification. Directory, capabilities and filter are the executor's.
pub(crate) fn process(
    root: &Path,
    process: &Process,
    env: Value,
    rlimits: &Value,
) -> Result<(Value, Option<Guise>), Fault> {
    let (ids, guise) = users::resolve(rootfs::open_root(root)?, process.user.as_deref())?.here();
    let mut document = json!({
        "terminal": process.tty,
        "user": { "uid": ids.uid, "gid": ids.gid, "additionalGids": ids.more },
        "args": process.arguments,
        "env": env,
        "cwd": "/",
    });
    if process.no_new_privileges {
        document["noNewPrivileges"] = json!(true);
    }
    if !rlimits.is_null() {
        document["rlimits"] = rlimits.clone();
    }
    Ok((document, guise))
}

/// A new network namespace, while this process stays in its own; it lives as long as somebody has it.
fn own_network() -> Result<OwnedFd, Fault> {
    let open = || File::open("/proc/self/ns/net").doing("open a network namespace");
    let outside = open()?;
    unshare(CloneFlags::CLONE_NEWNET).doing("make a network namespace")?;
    let inside = open();
    setns(&outside, CloneFlags::CLONE_NEWNET).doing("go back to the network")?;
    Ok(inside?.into())
}

fn join_network(spec: &mut Value, path: &str) {
    let namespaces = spec.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut);
    for namespace in namespaces.into_iter().flatten().filter(|one| one["type"] == "network") {
        namespace["path"] = json!(path);
    }
}

/// What an executed process's document is named, and gone with the value.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) PathBuf);

impl Document {
    pub(crate) fn write(path: PathBuf, document: &Value) -> Result<Self, Fault> {
        replace(&path, &serde_json::to_vec(document).doing("write")?, false).doing("write the process's document")?;
        Ok(Self(path))
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        // Absent is what is wanted.
        let _ = fs::remove_file(&self.0);
    }
}

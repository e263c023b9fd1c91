//! Everything between a configuration and the process that calls libcontainer: file system, network namespace, ids, and the document that libcontainer reads.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use super::Network;
use crate::copy_up::copy_up;
use crate::directory::Directory;
use crate::error::{Doing, ShimError};
use crate::files::replace;
use crate::namespace::Joined;
use crate::record::{Config, Process};
use crate::users::Credentials;
use crate::{cgroup_setup, devices, mount_points, rootfs, sysctls, users};

/// What must live as long as the container.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) bundle: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) network: Value,
    /// Of the first process.
    pub(crate) env: Vec<String>,
    /// Of the first process.
    pub(crate) credentials: Option<Credentials>,
    namespace: Option<OwnedFd>,
}

impl Prepared {
    /// What the container's document names by number.
    pub(crate) fn named(&self) -> Vec<RawFd> {
        self.namespace.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

pub(crate) fn prepare(
    directory: &Directory,
    config: &Config,
    network: &mut dyn Network,
    joined: Option<&Joined>,
) -> Result<Prepared, ShimError> {
    if config.own_network {
        network.reserve(config)?;
        joined.map_or(Ok(()), Joined::enter_network)?;
    }
    let root = rootfs::mount_layers(directory, config)?;
    if joined.is_some() {
        rootfs::mount_own_groups()?;
    }
    mount_engine(directory)?;
    let opened = rootfs::open_root(&root)?;
    rootfs::make_directory(&opened, &config.process.workdir)?;
    for volume in &config.copy_up {
        copy_up(&opened, volume)?;
    }
    let mut spec = config.spec.clone();
    spec["root"]["path"] = json!(root);
    let env = spec["process"]["env"].take();
    let rlimits = spec["process"]["rlimits"].take();
    let mut described = process(&root, &config.process, variables(&env), &rlimits)?;
    confine(&mut described.document, config);
    spec["process"] = described.document;
    mount_points::prepare(&opened, &mut spec)?;
    devices::grant(&mut spec, &config.devices, config.user_namespace.is_some())?;
    cgroup_setup::prepare(&mut spec, config.user_namespace.is_some())?;
    let namespace = config.own_network.then(own_network).transpose()?;
    let mut told = Value::Null;
    if let Some(namespace) = &namespace {
        let path = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        told = network.attach(config, Path::new(&path))?;
        join_network(&mut spec, &path);
    }
    sysctls::check(&spec, namespace.as_ref())?;
    let bundle = directory.path().to_owned();
    replace(&bundle.join("config.json"), &serde_json::to_vec(&spec).doing("write")?, false)
        .doing("write the container's document")?;
    let (env, credentials) = (described.env, described.credentials);
    Ok(Prepared { bundle, root, network: told, env, credentials, namespace })
}

/// In memory, so that a full disk keeps nobody from running a process beside the main one.
fn mount_engine(directory: &Directory) -> Result<(), ShimError> {
    let engine = directory.engine();
    std::fs::create_dir_all(&engine).doing(format_args!("make `{}`", engine.display()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tmpfs", &engine, c"tmpfs", flags, Some(c"mode=0700"))
        .doing(format_args!("mount memory at `{}`", engine.display()))
}

fn variables(env: &Value) -> Vec<String> {
    env.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The container's AppArmor profile, for every process of it.
pub(crate) fn confine(document: &mut Value, config: &Config) {
    let profile = &config.spec["process"]["apparmorProfile"];
    if profile.is_string() {
        document["apparmorProfile"] = profile.clone();
    }
}

/// A process as it is handed to libcontainer, and what is seen to here.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) document: Value,
    pub(crate) env: Vec<String>,
    pub(crate) credentials: Option<Credentials>,
}

/// A process in the words of the specification. Directory, environment, capabilities and filter are the executor's.
pub(crate) fn process(
    root: &Path,
    process: &Process,
    mut env: Vec<String>,
    rlimits: &Value,
) -> Result<Described, ShimError> {
    if let Some(nameless) = env.iter().find(|variable| variable.starts_with('=')) {
        return Err(ShimError::invalid(format!("the environment variable `{nameless}` has no name")));
    }
    let ids = users::resolve(rootfs::open_root(root)?, process.user.as_deref(), &process.groups)?;
    let (ids, credentials) = ids.here()?;
    let has_home = |variable: &String| variable.strip_prefix("HOME=").is_some_and(|home| !home.is_empty());
    if !env.iter().any(has_home) {
        env.retain(|variable| !variable.starts_with("HOME="));
        env.push(format!("HOME={}", ids.home));
    }
    let mut document = json!({
        "terminal": process.tty,
        "user": { "uid": ids.uid, "gid": ids.gid, "additionalGids": ids.more },
        "args": process.arguments,
        // Without one libcontainer would ask the C library of the image's users, inside the container.
        "env": ["HOME=/"],
        "cwd": "/",
    });
    if process.no_new_privileges {
        document["noNewPrivileges"] = json!(true);
    }
    if !rlimits.is_null() {
        document["rlimits"] = rlimits.clone();
    }
    Ok(Described { document, env, credentials })
}

/// A new network namespace, while this process stays in its own; it lives as long as somebody has it.
///
/// # Errors
/// This user may not make one.
pub fn own_network() -> Result<OwnedFd, ShimError> {
    let open = || File::open("/proc/self/ns/net").doing("open a network namespace");
    let outside = open()?;
    unshare(CloneFlags::CLONE_NEWNET).doing("make a network namespace")?;
    let inside = open();
    setns(&outside, CloneFlags::CLONE_NEWNET).doing("go back to the network")?;
    Ok(inside?.into())
}

/// The container joins the network namespace of this path.
pub(super) fn join_network(spec: &mut Value, path: &str) {
    let namespaces = spec.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut);
    for namespace in namespaces.into_iter().flatten().filter(|one| one["type"] == "network") {
        namespace["path"] = json!(path);
    }
}

/// The document of an executed process, in memory: it needs no room on the disk.
#[derive(Debug)]
pub(crate) struct Document(File);

impl Document {
    pub(crate) fn write(document: &Value) -> Result<Self, ShimError> {
        let memory = rustix::fs::memfd_create(c"process", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(memory.doing("make the process's document")?);
        let bytes = serde_json::to_vec(document).doing("write")?;
        file.write_all(&bytes).doing("write the process's document")?;
        Ok(Self(file))
    }

    /// Its number, which its path names.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.number()))
    }
}

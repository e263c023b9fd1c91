//! Things engines leave outside their own directories: noted before they run, put back when all are down.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use super::{firewall, process};

/// Where every containerd keeps the sockets of its shims.
const SHIM_SOCKETS: &str = "/run/containerd/s";
const CGROUPS: &str = "/sys/fs/cgroup";
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Paths that podman, docker or containerd make wherever their roots are.
const OUTSIDE: &[&str] = &[
    "/opt/containerd",
    "/run/containerd",
    "/run/containers",
    "/run/docker",
    "/run/libpod",
    NAMESPACES,
    "/run/runc",
    "/var/lib/cni",
    "/var/lib/containers",
];
/// Files among them, each with the program that anybody still using it would have running.
const FILES: &[(&str, &str)] = &[
    ("/etc/docker/key.json", "dockerd"),
    ("/run/containers/networks/aardvark.lock", "conmon"),
    ("/run/containers/networks/ipam.db", "conmon"),
    ("/var/lib/containers/cache/blob-info-cache-v1.boltdb", "conmon"),
];
/// A directory podman mounts on itself.
const NAMESPACES: &str = "/run/netns";
/// Control groups the engines put their containers under.
const GROUPS: &[&str] = &["docker", "libpod_parent", "conmon", "machine.slice"];

/// How the machine was before the first engine came up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Before {
    ip_forward: bool,
    netavark_chains: bool,
    #[serde(default)]
    cni_chains: bool,
    absent: Vec<PathBuf>,
    shim_sockets: Vec<PathBuf>,
}

impl Before {
    pub(crate) fn note() -> Self {
        Self {
            ip_forward: ip_forward(),
            netavark_chains: firewall::has_netavark(),
            cni_chains: firewall::has_cni(),
            absent: outside().into_iter().filter(|path| !path.exists()).collect(),
            shim_sockets: entries(Path::new(SHIM_SOCKETS)),
        }
    }

    /// Puts back what is provably ours; what has content by now belongs to somebody else and stays.
    pub(crate) fn restore(&self) {
        if !self.netavark_chains {
            firewall::remove_idle_netavark();
        }
        if !self.cni_chains {
            firewall::remove_idle_cni();
        }
        for (path, user) in FILES {
            if self.lacked(path) && !process::any_named(user) {
                let _ = fs::remove_file(path);
            }
        }
        if self.lacked(NAMESPACES) && entries(Path::new(NAMESPACES)).is_empty() {
            let _ = unmount(NAMESPACES, UnmountFlags::empty());
        }
        remove_dead_sockets(&self.shim_sockets);
        self.absent.iter().for_each(|path| remove_empty(path));
        if !self.ip_forward && ip_forward() && !firewall::has_engine() {
            let _ = fs::write(IP_FORWARD, "0\n");
        }
    }

    fn lacked(&self, path: &str) -> bool {
        self.absent.iter().any(|absent| absent == Path::new(path))
    }
}

/// Lets containers be reached; done here so that dockerd finds it done and leaves the FORWARD policy alone.
pub(crate) fn enable_forwarding() {
    if !ip_forward() {
        let _ = fs::write(IP_FORWARD, "1\n");
    }
}

/// Removes the control groups and records of containers whose own supervisor was killed before it could.
pub(crate) fn forget(ids: &[String]) {
    let ours = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ids.iter().any(|id| name.contains(id.as_str()))
    };
    let parents = outside().into_iter().filter(|path| path.starts_with(CGROUPS));
    let groups = parents.flat_map(|parent| entries(&parent));
    groups.filter(|path| ours(path)).for_each(|path| remove_empty(&path));
    for record in entries(Path::new("/run/runc")).into_iter().filter(|path| ours(path)) {
        let _ = fs::remove_dir_all(record);
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(directory).into_iter().flatten().flatten();
    read.map(|entry| entry.path()).collect()
}

fn ip_forward() -> bool {
    fs::read_to_string(IP_FORWARD).is_ok_and(|value| value.trim() == "1")
}

fn outside() -> Vec<PathBuf> {
    let hierarchies = entries(Path::new(CGROUPS))
        .into_iter()
        .chain([PathBuf::from(CGROUPS)])
        .filter(|path| path.is_dir() && !path.is_symlink());
    let groups = hierarchies.flat_map(|path| GROUPS.iter().map(move |group| path.join(group)));
    let files = FILES.iter().map(|(path, _)| path);
    let fixed = OUTSIDE.iter().chain(files).map(PathBuf::from);
    fixed.chain(groups).collect()
}

/// Removes new sockets nobody listens on, left by shims that were killed.
fn remove_dead_sockets(known: &[PathBuf]) {
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    for path in entries(Path::new(SHIM_SOCKETS)) {
        if !known.contains(&path) && UnixStream::connect(&path).is_err_and(refused) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes what holds nothing but directories.
fn remove_empty(path: &Path) {
    let inner = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_empty(&entry.path());
    }
    let _ = fs::remove_dir(path);
}

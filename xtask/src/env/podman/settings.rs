//! The files that keep a private podman from touching the machine's own: settings, default network, the program itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::super::session::Session;
use crate::failure::{Context, Failure, Result};
use crate::run;

/// What a machine may lack the right to raise: see the limits a container gets by default.
const WANTED_LIMITS: [(&str, &str, u64); 2] =
    [("nofile", "Max open files", 1_048_576), ("nproc", "Max processes", 30_000)];

/// Writes the program and every file it is pointed at.
pub(super) fn write(session: &Session) -> Result<()> {
    let layout = &session.layout;
    let podman = layout.podman();
    for directory in ["store", "run", "tmp", "copies", "networks"] {
        let path = podman.join(directory);
        fs::create_dir_all(&path).context(|| format!("creating `{}`", path.display()))?;
    }
    put(&podman.join("containers.conf"), &containers_conf(session)?)?;
    put(&podman.join("storage.conf"), &storage_conf(&podman))?;
    put(&podman.join("registries.conf"), REGISTRIES_CONF)?;
    put(&podman.join("networks/podman.json"), &default_network(session))?;
    let program = layout.podman_program();
    fs::create_dir_all(layout.service("bin")).context(|| format!("creating {layout}"))?;
    put(&program, &wrapper(&podman)?)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .context(|| format!("making `{}` executable", program.display()))
}

const REGISTRIES_CONF: &str = r#"unqualified-search-registries = []

[[registry]]
location = "127.0.0.1"
insecure = true

[[registry]]
prefix = "*.localhost"
insecure = true
"#;

fn containers_conf(session: &Session) -> Result<String> {
    let podman = session.layout.podman();
    let podman = podman.display();
    let pools: Vec<_> =
        session.state.pool.podman_created().iter().map(|base| format!("{{ base = \"{base}\", size = 24 }}")).collect();
    Ok(format!(
        r#"[containers]
default_ulimits = [{limits}]
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
image_copy_tmp_dir = "{podman}/copies"
lock_type = "file"
runtime = "runc"

[network]
network_backend = "netavark"
network_config_dir = "{podman}/networks"
default_subnet = "{subnet}"
default_subnet_pools = [{pools}]
"#,
        limits = limits()?,
        subnet = session.state.pool.podman_default(),
        pools = pools.join(", "),
    ))
}

/// The defaults, no higher than this process may give: without the right to raise limits podman would fail to start anything.
fn limits() -> Result<String> {
    let text = fs::read_to_string("/proc/self/limits").context(|| "reading the process limits".into())?;
    let hard = |label: &str| {
        let line = text.lines().find(|line| line.starts_with(label))?;
        line[label.len()..].split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let limits: Vec<_> = WANTED_LIMITS
        .iter()
        .map(|(name, label, wanted)| (name, hard(label).map_or(*wanted, |hard| hard.min(*wanted))))
        .map(|(name, limit)| format!("\"{name}={limit}:{limit}\""))
        .collect();
    Ok(limits.join(", "))
}

fn storage_conf(podman: &Path) -> String {
    let driver = if is_overlay(podman) { "vfs" } else { "overlay" };
    let podman = podman.display();
    format!("[storage]\ndriver = \"{driver}\"\ngraphroot = \"{podman}/store\"\nrunroot = \"{podman}/run\"\n")
}

/// An overlay cannot be stacked on an overlay.
fn is_overlay(path: &Path) -> bool {
    const OVERLAYFS: i64 = 0x794c_7630;
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == OVERLAYFS)
}

/// The default network, with a bridge and addresses that are not those of the machine's own podman.
fn default_network(session: &Session) -> String {
    let pool = session.state.pool;
    let network = json!({
        "name": "podman",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": format!("hyp-{}", session.layout.id()),
        "created": "2000-01-01T00:00:00Z",
        "subnets": [{ "subnet": pool.podman_default(), "gateway": pool.podman_gateway() }],
        "ipv6_enabled": false,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": { "driver": "host-local" },
    });
    format!("{network:#}\n")
}

fn wrapper(podman: &Path) -> Result<String> {
    let real = run::find("podman").ok_or_else(|| Failure::new("`podman` is not installed"))?;
    let (real, podman) = (real.display(), podman.display());
    Ok(format!(
        r#"#!/bin/sh
# The machine's podman with a store, networks and settings of its own.
export CONTAINERS_CONF={podman}/containers.conf
export CONTAINERS_STORAGE_CONF={podman}/storage.conf
export CONTAINERS_REGISTRIES_CONF={podman}/registries.conf
export TMPDIR={podman}/copies
exec {real} --root {podman}/store --runroot {podman}/run --tmpdir {podman}/tmp --network-config-dir {podman}/networks "$@"
"#
    ))
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).context(|| format!("writing `{}`", path.display()))
}

//! A private dockerd with its own containerd, bridge, address ranges and firewall chains.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Endpoint;
use super::process;
use super::session::Session;
use super::state::Socket;
use super::{firewall, host_changes, image, links};
use crate::failure::{Context, Failure, Result};
use crate::packages::Need;
use crate::run;

/// Programs dockerd needs.
pub(crate) const NEEDS: &[Need] = &[
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
];

/// Set, the daemon keeps its images in its containerd, as Docker 29 does by itself; Docker since 24 takes it.
const CONTAINERD_STORE: &str = "HYTHE_ENV_CONTAINERD_STORE";

/// The name of the daemon's service.
pub(crate) const SERVICE: &str = "docker";

const PATIENCE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);
/// `filters={"type":["custom"]}`
const CREATED_NETWORKS: &str = "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D";

/// Starts the daemon and loads the test image.
pub(crate) fn up(session: &mut Session) -> Result<()> {
    let socket = session.layout.docker_socket();
    if !(session.is_running(SERVICE) && answers(&socket)) {
        session.end(SERVICE, GRACE)?;
        start(session, &socket)?;
    }
    load_image(session, &socket)?;
    session.state.description.docker = Some(Socket { socket });
    let containerd = session.layout.docker().join("run/containerd/containerd.sock");
    session.state.description.containerd = Some(Socket { socket: containerd });
    session.save()
}

/// Removes every container and network the proper way, then ends the daemon.
pub(crate) fn down(session: &mut Session) -> Result<()> {
    let socket = session.layout.docker_socket();
    session.state.description.docker = None;
    session.state.description.containerd = None;
    if session.is_running(SERVICE) && answers(&socket) {
        for (path, id) in removable(&socket) {
            let _ = Endpoint::Unix(&socket).ask("DELETE", &format!("{path}/{id}?force=1&v=1"));
        }
    }
    session.end(SERVICE, GRACE)
}

/// Ids of everything made in the daemon: containers, networks, volumes.
pub(crate) fn objects(socket: &Path) -> Vec<String> {
    let volumes = get(socket, "/volumes").map(|value| ids(&value["Volumes"], "Name"));
    removable(socket)
        .into_iter()
        .map(|(path, id)| format!("docker {} {id}", path.trim_start_matches('/')))
        .chain(volumes.unwrap_or_default().into_iter().map(|name| format!("docker volumes {name}")))
        .collect()
}

fn removable(socket: &Path) -> Vec<(&'static str, String)> {
    [("/containers", "/containers/json?all=1"), ("/networks", CREATED_NETWORKS)]
        .into_iter()
        .flat_map(|(path, list)| {
            let listed = get(socket, list).unwrap_or_default();
            ids(&listed, "Id").into_iter().map(move |id| (path, id))
        })
        .collect()
}

fn ids(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| Some(item[key].as_str()?.to_owned())).collect()
}

fn get(socket: &Path, path: &str) -> Option<Value> {
    let reply = Endpoint::Unix(socket).ask("GET", path).ok()?;
    serde_json::from_slice(&reply.body).ok()
}

fn answers(socket: &Path) -> bool {
    Endpoint::Unix(socket).ask("GET", "/_ping").is_ok_and(|reply| reply.is_success())
}

fn start(session: &mut Session, socket: &Path) -> Result<()> {
    let directory = session.layout.docker();
    let shims = directory.join("bin");
    let bridge = format!("hyd-{}", session.layout.id());
    host_changes::enable_forwarding();
    firewall::write_shims(&shims, &session.layout.id())?;
    links::ensure_bridge(&bridge, &session.state.pool.docker_bridge())?;
    let settings = directory.join("daemon.json");
    fs::write(&settings, format!("{:#}\n", configuration(session, &bridge, socket)))
        .context(|| format!("writing `{}`", settings.display()))?;
    forget_dead(&directory.join("pid"));
    forget_dead(&directory.join("run/containerd/containerd.pid"));
    let program = run::find("dockerd").ok_or_else(|| Failure::new("`dockerd` is not installed"))?;
    let mut command = process::daemon(&program, Some(&shims));
    command.arg("--config-file").arg(&settings);
    let process = session.start(SERVICE, &mut command)?;
    process::wait_until(&session.layout, SERVICE, process, PATIENCE, || answers(socket))
}

/// Removes the number of a daemon that was killed: taken for running, it would keep the next one from starting.
fn forget_dead(path: &Path) {
    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    if pid.and_then(process::Process::of).is_none() {
        let _ = fs::remove_file(path);
    }
}

fn configuration(session: &Session, bridge: &str, socket: &Path) -> Value {
    let directory = session.layout.docker();
    let pools = session.state.pool.docker_created();
    let pools: Vec<_> = pools.iter().map(|base| json!({ "base": base, "size": 24 })).collect();
    json!({
        "features": { "containerd-snapshotter": std::env::var_os(CONTAINERD_STORE).is_some() },
        "bridge": bridge,
        "data-root": directory.join("data"),
        "default-address-pools": pools,
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "exec-root": directory.join("run"),
        "group": "root",
        "hosts": [format!("unix://{}", socket.display())],
        "insecure-registries": ["127.0.0.0/8"],
        "pidfile": directory.join("pid"),
    })
}

fn load_image(session: &mut Session, socket: &Path) -> Result<()> {
    let engine = Endpoint::Unix(socket);
    let asking = || "asking the private dockerd".to_owned();
    let there = engine.ask("GET", &format!("/images/{}/json", image::NAME)).context(asking)?;
    if there.is_success() {
        return Ok(());
    }
    let archive = session.image()?.archive();
    let content = [("Content-Type", "application/x-tar")];
    let reply = engine.send("POST", "/images/load?quiet=1", &content, &archive).context(asking)?;
    let said = String::from_utf8_lossy(&reply.body).into_owned();
    if reply.is_success() && !said.contains("\"error\"") {
        return Ok(());
    }
    Err(Failure::new(format!("dockerd did not load the test image: {}", said.trim())))
}

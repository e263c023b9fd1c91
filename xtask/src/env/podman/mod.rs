//! A private podman: no daemon, but a program with its own store, networks and settings; and its API service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::http::Endpoint;
use super::process::{self, Process};
use super::session::Session;
use super::state::{Program, Socket, Sshd};
use super::{host_changes, image};
use crate::failure::{Failure, Result};
use crate::packages::{self, Need};
use crate::run;

mod settings;

/// Programs podman needs.
pub(crate) const NEEDS: &[Need] = &[
    ("podman", "podman"),
    ("runc", "runc"),
    ("conmon", "conmon"),
    // What `--init` runs as pid 1.
    ("catatonit", "catatonit"),
    ("netavark", "netavark"),
    ("aardvark-dns", "aardvark-dns"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
];

/// Programs podman needs besides when it does not run as root.
pub(crate) const ROOTLESS_NEEDS: &[Need] = &[("newuidmap", "uidmap"), ("slirp4netns", "slirp4netns")];

/// Programs of those who reach podman through ssh.
const SSH_NEEDS: &[Need] = &[("ssh", "openssh-client"), ("ssh-keygen", "openssh-client")];

/// The name of the API service.
pub(crate) const SERVICE: &str = "podman-api";

const POLICY: [&str; 2] = ["/etc/containers/policy.json", ".config/containers/policy.json"];
const SERVICE_PATIENCE: Duration = Duration::from_secs(30);
const SERVICE_GRACE: Duration = Duration::from_secs(5);
/// Makes `bin/podman` and everything it refers to, and loads the test image.
pub(crate) fn up(session: &mut Session) -> Result<()> {
    require_policy()?;
    host_changes::enable_forwarding();
    if session.state.description.podman.is_none() {
        settings::write(session)?;
    }
    let program = session.layout.podman_program();
    if !run::succeeds(Command::new(&program).args(["image", "exists", image::NAME])) {
        let archive = session.image()?.archive();
        run::filter(Command::new(&program).args(["load", "--quiet"]), &archive)?;
    }
    session.state.description.podman = Some(Program { program });
    session.save()
}

/// Starts the API service over the same store.
pub(crate) fn up_api(session: &mut Session) -> Result<()> {
    up(session)?;
    let socket = session.layout.podman_socket();
    if session.is_running(SERVICE) && answers(&socket) {
        return Ok(());
    }
    session.end(SERVICE, SERVICE_GRACE)?;
    let program = session.layout.podman_program();
    let address = format!("unix://{}", socket.display());
    let mut command = process::daemon(&program, None);
    command.args(["system", "service", "--time=0", &address]);
    let process = session.start(SERVICE, &mut command)?;
    process::wait_until(&session.layout, SERVICE, process, SERVICE_PATIENCE, || answers(&socket))?;
    session.state.description.podman_api = Some(Socket { socket });
    session.state.description.sshd = sshd(session);
    session.save()
}

/// A server for those who reach the service through ssh; nothing of it is installed.
fn sshd(session: &Session) -> Option<Sshd> {
    let missing = packages::ensure(SSH_NEEDS).unwrap_or_else(|failure| Some(failure.to_string()));
    if let Some(reason) = missing {
        eprintln!("xtask: no ssh client: {reason}");
        return None;
    }
    let unpacked = session.layout.service("openssh-server");
    let program = unpacked.join("usr/sbin/sshd");
    if !program.is_file() {
        for package in ["openssh-server", "libwrap0"] {
            if let Err(failure) = packages::unpack(package, &unpacked) {
                eprintln!("xtask: no ssh server: {failure}");
                return None;
            }
        }
    }
    let libraries = unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    program.is_file().then_some(Sshd { program, libraries })
}

/// Ends the API service.
pub(crate) fn down_api(session: &mut Session) -> Result<()> {
    session.state.description.podman_api = None;
    session.end(SERVICE, SERVICE_GRACE)
}

/// Removes every container, pod, network and volume, so that their mounts, rules and locks go the proper way.
pub(crate) fn down(session: &mut Session) -> Result<()> {
    down_api(session)?;
    let program = session.layout.podman_program();
    if program.exists() {
        let groups = grouped(&program);
        for words in [
            ["container", "rm", "--all", "--force", "--time=0"].as_slice(),
            &["pod", "rm", "--all", "--force"],
            &["network", "prune", "--force"],
            &["volume", "rm", "--all", "--force"],
        ] {
            run::succeeds(Command::new(&program).args(words));
        }
        host_changes::forget(&groups);
        if !rustix::process::geteuid().is_root() {
            leave_user_namespace(session)?;
        }
    }
    session.state.description.podman = None;
    Ok(())
}

/// Without root, files belong to users that exist only inside podman's user namespace, which a process of its own keeps open.
fn leave_user_namespace(session: &Session) -> Result<()> {
    let mut command = Command::new(session.layout.podman_program());
    let store = session.layout.podman();
    run::succeeds(command.args(["unshare", "rm", "-rf"]).arg(store.join("store")));
    let pid = fs::read_to_string(store.join("tmp/pause.pid")).unwrap_or_default();
    match pid.trim().parse().ok().and_then(Process::of) {
        Some(pause) => pause.end(SERVICE_GRACE),
        None => Ok(()),
    }
}

/// Full ids of containers and pods, which control groups and the low-level runtime's records are named after.
fn grouped(program: &Path) -> Vec<String> {
    ["container", "pod"]
        .iter()
        .flat_map(|kind| {
            let mut command = Command::new(program);
            command.args([kind, "ps", "--quiet", "--no-trunc"]);
            if *kind == "container" {
                command.arg("--all");
            }
            let listed = run::output(&mut command).unwrap_or_default();
            listed.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Ids of everything the store holds: containers, networks, volumes.
pub(crate) fn objects(program: &Path) -> Vec<String> {
    [
        ["container", "ls", "--all", "--quiet", "--no-trunc"].as_slice(),
        &["network", "ls", "--quiet"],
        &["volume", "ls", "--quiet"],
    ]
    .iter()
    .flat_map(|words| {
        let listed = run::output(Command::new(program).args(*words)).unwrap_or_default();
        let name = |id: &str| format!("podman {} {id}", words[0]);
        listed.lines().map(name).collect::<Vec<_>>()
    })
    .collect()
}

fn answers(socket: &Path) -> bool {
    Endpoint::Unix(socket).ask("GET", "/_ping").is_ok_and(|reply| reply.is_success())
}

/// Podman takes its signature policy from fixed places only.
fn require_policy() -> Result<()> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    if POLICY.iter().any(|path| home.join(path).exists()) {
        return Ok(());
    }
    Err(Failure::new(format!("podman needs `{}`, which is missing", POLICY[0])))
}

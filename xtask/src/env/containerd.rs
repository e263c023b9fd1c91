//! A private containerd, for the driver that speaks to it directly: its own root, state and socket, no CRI.
//!
//! `/run/containerd/{s,fifo,runc}` are shared by all daemons whatever their state is, so tests take a namespace of their own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::process;
use super::session::Session;
use super::state::Socket;
use crate::failure::{Context, Failure, Result};
use crate::packages::Need;
use crate::run;

/// Programs it needs.
pub(crate) const NEEDS: &[Need] = &[("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc")];

/// The name of the daemon's service.
const SERVICE: &str = "containerd";
const PATIENCE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);

/// Starts the daemon.
pub(crate) fn up(session: &mut Session) -> Result<()> {
    let socket = session.layout.containerd().join("c.sock");
    if !(session.is_running(SERVICE) && answers(&socket)) {
        session.end(SERVICE, GRACE)?;
        start(session, &socket)?;
    }
    session.state.description.own_containerd = Some(Socket { socket });
    session.save()
}

/// Removes what tests left, then ends the daemon.
pub(crate) fn down(session: &mut Session) -> Result<()> {
    let socket = session.layout.containerd().join("c.sock");
    session.state.description.own_containerd = None;
    if session.is_running(SERVICE) && answers(&socket) {
        for (namespace, container) in containers(&socket) {
            // What is left is swept with the directory.
            let _ = ctr(&socket, &["-n", &namespace, "tasks", "rm", "-f", &container]);
            let _ = ctr(&socket, &["-n", &namespace, "containers", "rm", &container]);
        }
    }
    session.end(SERVICE, GRACE)
}

/// Names of what is left in the daemon.
pub(crate) fn objects(socket: &Path) -> Vec<String> {
    containers(socket).into_iter().map(|(namespace, id)| format!("containerd container {namespace}/{id}")).collect()
}

fn containers(socket: &Path) -> Vec<(String, String)> {
    let lines = |text: Option<String>| -> Vec<String> { text.unwrap_or_default().lines().map(str::to_owned).collect() };
    let of = |namespace: String| {
        let ids = lines(ctr(socket, &["-n", &namespace, "containers", "ls", "-q"]));
        ids.into_iter().map(move |id| (namespace.clone(), id))
    };
    lines(ctr(socket, &["namespaces", "ls", "-q"])).into_iter().flat_map(of).collect()
}

fn ctr(socket: &Path, words: &[&str]) -> Option<String> {
    let output = run::command("ctr").arg("--address").arg(socket).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn answers(socket: &Path) -> bool {
    socket.exists() && ctr(socket, &["version"]).is_some()
}

fn start(session: &mut Session, socket: &Path) -> Result<()> {
    let directory = session.layout.containerd();
    fs::create_dir_all(&directory).context(|| format!("creating `{}`", directory.display()))?;
    let settings = directory.join("config.toml");
    fs::write(&settings, configuration(&directory, socket)).context(|| format!("writing `{}`", settings.display()))?;
    let program = run::find("containerd").ok_or_else(|| Failure::new("`containerd` is not installed"))?;
    let mut command = process::daemon(&program, None);
    command.arg("--config").arg(&settings);
    let process = session.start(SERVICE, &mut command)?;
    process::wait_until(&session.layout, SERVICE, process, PATIENCE, || answers(socket))
}

fn configuration(directory: &Path, socket: &Path) -> String {
    let (root, state) = (directory.join("root"), directory.join("state"));
    format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\n  address = {:?}\n[ttrpc]\n  address = {:?}\n",
        root.display().to_string(),
        state.display().to_string(),
        socket.display().to_string(),
        format!("{}.ttrpc", socket.display()),
    )
}

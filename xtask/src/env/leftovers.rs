//! What exists of an environment at one moment, as comparable lines: the leak check compares two of these.

use std::collections::BTreeSet;

use super::layout::Layout;
use super::state::State;
use super::{containerd, docker, firewall, links, podman, process, sweep};
use crate::failure::Result;

/// One line per container, network, volume, mount, process and interface.
pub(crate) type Leftovers = BTreeSet<String>;

/// Everything there is now; nothing when there is no environment.
pub(crate) fn all() -> Result<Leftovers> {
    let layout = Layout::discover()?;
    let mut leftovers = Leftovers::new();
    let processes = process::belonging_to(layout.root()).into_iter();
    leftovers.extend(processes.map(|(process, line)| format!("process {} {line}", process.pid())));
    let mounts = sweep::mounts(layout.root()).into_iter();
    leftovers.extend(mounts.map(|mount| format!("mount {}", mount.display())));
    if let Some(state) = State::load(&layout.state()) {
        leftovers.extend(of_engines(&state, &layout));
    }
    Ok(leftovers)
}

fn of_engines(state: &State, layout: &Layout) -> Vec<String> {
    let description = &state.description;
    let podman = description.podman.as_ref().map(|podman| podman::objects(&podman.program));
    let docker = description.docker.as_ref().map(|docker| docker::objects(&docker.socket));
    let containerd = description.own_containerd.as_ref().map(|daemon| containerd::objects(&daemon.socket));
    let interfaces = links::bridges(state.pool).into_iter().chain(links::cables(state.pool));
    let rules = firewall::leftovers(&layout.id(), state.pool).into_iter();
    podman
        .into_iter()
        .chain(docker)
        .chain(containerd)
        .flatten()
        .chain(interfaces.map(|name| format!("interface {name}")))
        .chain(rules.map(|rule| format!("firewall {rule}")))
        .collect()
}

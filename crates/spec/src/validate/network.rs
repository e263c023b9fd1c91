//! A component's network against its ports and its profile.

use super::Problem;
use crate::{Component, ExtraHost, Network, Port};

pub(super) fn check(path: &str, component: &Component) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !component.permissions.opens_network() && component.network != Network::None {
        let message = format!("the profile `{}` opens no network", component.permissions.profile);
        problems.push(
            Problem::new(format!("{path}.network"), message).related(format!("{path}.permissions"), "the profile"),
        );
    }
    let ports = component.ports.iter().enumerate().map(|(at, port)| (format!("{path}.ports[{at}]"), port));
    match component.network {
        Network::None => problems.extend(ports.take(1).map(|(at, _)| without_network(path, at, component))),
        Network::Host => problems.extend(ports.filter_map(|(at, port)| on_host(at, port))),
        Network::Service | Network::Named { .. } => {}
    }
    if let Network::Named { names } = &component.network
        && let Err(error) = Network::from_names(names.iter().map(String::as_str))
    {
        problems.push(Problem::new(format!("{path}.network"), error.message));
    }
    for line in &component.extra_hosts {
        let wrong = ExtraHost::new(&line.name, &line.address.to_string()).err();
        problems.extend(wrong.map(|error| Problem::new(format!("{path}.extra_hosts"), error.message)));
    }
    if component.ports.iter().any(|port| port.container_port == 0) {
        problems.push(Problem::new(format!("{path}.ports"), "a container port is between 1 and 65535"));
    }
    problems
}

fn without_network(path: &str, port: String, component: &Component) -> Problem {
    if component.permissions.opens_network() {
        return Problem::new(port, "ports are published, but there is no network")
            .related(format!("{path}.network"), "the network");
    }
    let profile = &component.permissions.profile;
    Problem::new(port, format!("ports are published, but the profile `{profile}` opens no network"))
        .hint("open it with `network.outbound` in the profile, or publish no ports")
        .related(format!("{path}.permissions"), "the profile")
}

fn on_host(path: String, port: &Port) -> Option<Problem> {
    let number = port.container_port;
    if port.host_port.is_some_and(|host| host != number) {
        let problem = Problem::new(path, format!("on the host's network, port {number} cannot be another host port"));
        return Some(problem.hint(format!("write `{number}`")));
    }
    let problem = || Problem::new(path, "on the host's network, the workload itself chooses the address it listens on");
    port.host_ip.map(|_| problem().hint(format!("write `{number}`")))
}

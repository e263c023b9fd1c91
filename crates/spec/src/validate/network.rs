//! A component's network against its ports and its profile.

use super::{MANY_PORTS, MAX_PORTS, Problem, too_many_ports};
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
    problems.extend(resolver(path, component));
    if component.ports.len() > MAX_PORTS {
        problems.push(Problem::new(format!("{path}.ports"), too_many_ports()).hint(MANY_PORTS));
    }
    if component.ports.iter().any(|port| port.container_port == 0) {
        problems.push(Problem::new(format!("{path}.ports"), "a container port is between 1 and 65535"));
    }
    problems
}

/// Words of a `resolv.conf`.
fn resolver(path: &str, component: &Component) -> Vec<Problem> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    let is_domain = |name: &String| {
        let bare = name.strip_suffix('.').unwrap_or(name);
        name.len() <= 253 && bare.split('.').all(|part| !part.is_empty() && part.bytes().all(is_part))
    };
    let is_none = component.dns_search == ["."];
    let domains = component.dns_search.iter().enumerate().filter(|(_, name)| !is_none && !is_domain(name));
    let mut problems: Vec<Problem> = domains
        .map(|(at, name)| {
            let message = format!("`{}` is not a domain", name.escape_debug());
            let problem = Problem::new(format!("{path}.dns_search[{at}]"), message);
            problem.hint("write `example.com`, or `.` alone for none")
        })
        .collect();
    let is_option = |option: &String| {
        let (name, value) = option.split_once(':').unwrap_or((option, "0"));
        !name.is_empty() && name.bytes().all(is_part) && !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())
    };
    let options = component.dns_options.iter().enumerate().filter(|(_, option)| !is_option(option));
    problems.extend(options.map(|(at, option)| {
        let message = format!("`{}` is not an option of the resolver", option.escape_debug());
        Problem::new(format!("{path}.dns_options[{at}]"), message).hint("write `ndots:2`, `timeout:1`, `rotate`")
    }));
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

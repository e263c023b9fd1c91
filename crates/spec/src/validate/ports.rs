//! One host port cannot be published twice.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Problem;
use crate::{Component, Network, Port, Protocol, Service};

struct Listener<'a> {
    path: String,
    port: &'a Port,
    host_port: u16,
}

pub(super) fn conflicts(service: &Service) -> Vec<Problem> {
    let listeners: Vec<Listener<'_>> = service
        .components
        .iter()
        .enumerate()
        .flat_map(|(at, component)| {
            let listener = move |(index, port)| listener(component, format!("components[{at}].ports[{index}]"), port);
            component.ports.iter().enumerate().filter_map(listener)
        })
        .collect();
    let mut by_number: HashMap<(u16, Protocol), Vec<&Listener<'_>>> = HashMap::new();
    let mut problems = Vec::new();
    for later in &listeners {
        let earlier = by_number.entry((later.host_port, later.port.protocol)).or_default();
        if let Some(first) = earlier.iter().find(|first| overlap(first.port.host_ip, later.port.host_ip)) {
            let message = format!("host port {}/{} is published twice", later.host_port, later.port.protocol);
            problems.push(Problem::new(&later.path, message).related(&first.path, "published here"));
        } else {
            earlier.push(later);
        }
    }
    problems
}

fn listener<'a>(component: &Component, path: String, port: &'a Port) -> Option<Listener<'a>> {
    let host_port = match component.network {
        Network::Host => Some(port.container_port),
        Network::None | Network::Service | Network::Named { .. } => port.host_port,
    };
    host_port.map(|host_port| Listener { path, port, host_port })
}

/// No address is every address; `0.0.0.0` is every IPv4 one, `::` every IPv6 one.
fn overlap(one: Option<IpAddr>, two: Option<IpAddr>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => {
            one == two || (one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified()))
        }
        _ => true,
    }
}

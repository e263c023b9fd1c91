//! Networks, ports, names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hythe_runtime::{NetworkMode, Observed, PlanNetwork, State};
use hythe_spec::{ExtraHost, HostAddress, Port};
use serde_json::json;

use super::found::Found;

pub(super) fn networks(desired: &PlanNetwork, seen: &Observed, found: &mut Found) {
    let (mode, attachments) = match desired {
        PlanNetwork::None => (NetworkMode::None, [].as_slice()),
        PlanNetwork::Host => (NetworkMode::Host, [].as_slice()),
        PlanNetwork::Networks { attachments } => (NetworkMode::Networks, attachments.as_slice()),
    };
    found.same("network", &mode, &seen.network_mode);
    if mode != seen.network_mode {
        return;
    }
    let asked: BTreeSet<&str> = attachments.iter().map(|attachment| attachment.network.as_str()).collect();
    let have: BTreeSet<&str> = seen.networks.iter().map(|network| network.name.as_str()).collect();
    found.members("networks", &asked, &have, true);
    for attachment in attachments {
        let connected = seen.networks.iter().find(|network| network.name == attachment.network);
        let Some(aliases) = connected.and_then(|network| network.aliases.as_ref()) else {
            continue;
        };
        let asked: BTreeSet<&str> = attachment.aliases.iter().map(String::as_str).collect();
        let have: BTreeSet<&str> = aliases.iter().map(String::as_str).collect();
        // Engines add the id and the host name.
        found.members(&format!("networks.{}.aliases", attachment.network), &asked, &have, false);
    }
}

/// Published ports; an engine holds them while the instance runs.
pub(super) fn ports(network: &PlanNetwork, desired: &[Port], seen: &Observed, found: &mut Found) {
    let held = matches!(seen.state, State::Running | State::Paused | State::Stopping);
    if !held || !matches!(network, PlanNetwork::Networks { .. }) || seen.network_mode != NetworkMode::Networks {
        return;
    }
    let field = |port: &Port| format!("ports.{}/{}", port.container_port, port.protocol);
    for port in desired.iter().filter(|port| !seen.ports.iter().any(|other| serves(port, other))) {
        found.missing(field(port), json!(port.to_string()));
    }
    for other in seen.ports.iter().filter(|other| !desired.iter().any(|port| serves(port, other))) {
        found.unexpected(field(other), json!(other.to_string()));
    }
}

fn serves(desired: &Port, observed: &Port) -> bool {
    let Port { host_ip, host_port, container_port, protocol } = desired;
    (*container_port, *protocol) == (observed.container_port, observed.protocol)
        && host_port.is_none_or(|port| observed.host_port == Some(port))
        && (host_ip == &observed.host_ip || everywhere(*host_ip) && everywhere(observed.host_ip))
}

fn everywhere(address: Option<IpAddr>) -> bool {
    address.is_none_or(|address| address.is_unspecified())
}

/// Unasked, name servers are the engine's, which may be configured; without a network there are none.
pub(super) fn dns(network: &PlanNetwork, desired: &Vec<IpAddr>, seen: &Observed, found: &mut Found) {
    if !desired.is_empty() && *network != PlanNetwork::None {
        found.same_if_reported("dns", desired, seen.dns.as_ref());
    }
}

/// As name servers: unasked, the engine's.
pub(super) fn resolver(
    network: &PlanNetwork,
    search: &Vec<String>,
    options: &Vec<String>,
    seen: &Observed,
    found: &mut Found,
) {
    let is_asked = |words: &Vec<String>| !words.is_empty() && *network != PlanNetwork::None;
    if is_asked(search) {
        found.same_if_reported("dns_search", search, seen.dns_search.as_ref());
    }
    if is_asked(options) {
        found.same_if_reported("dns_options", options, seen.dns_options.as_ref());
    }
}

/// The host's own address is the engine's or the driver's choice.
pub(super) fn hosts(desired: &[ExtraHost], seen: &Observed, found: &mut Found) {
    let Some(have) = &seen.extra_hosts else {
        return;
    };
    let fits = |asked: &ExtraHost, other: &ExtraHost| {
        asked.name == other.name && (asked.address == HostAddress::HostGateway || asked.address == other.address)
    };
    for asked in desired.iter().filter(|asked| !have.iter().any(|other| fits(asked, other))) {
        match have.iter().find(|other| other.name == asked.name) {
            Some(other) => found.same(format!("extra_hosts.{}", asked.name), &asked.to_string(), &other.to_string()),
            None => found.missing(format!("extra_hosts.{}", asked.name), json!(asked.to_string())),
        }
    }
    for other in have.iter().filter(|other| !desired.iter().any(|asked| asked.name == other.name)) {
        found.unexpected(format!("extra_hosts.{}", other.name), json!(other.to_string()));
    }
}

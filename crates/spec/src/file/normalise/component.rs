//! One component.

use std::net::IpAddr;

use super::context::{Context, list, strings};
use super::{depends_on, environment, grants, health, mounts, permissions, resources, secrets};
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::ComponentFile;
use crate::file::shapes::Or;
use crate::port::Ports;
use crate::validate::{MANY_PORTS, MAX_PORTS, too_many_ports};
use crate::{Component, ExtraHost, ImageRef, Network, ParseError, Port, PullPolicy};

/// What stands in for an image that cannot be read, so that the other errors are found too.
const NO_IMAGE: &str = "localhost/unreadable:0";

/// Reads the component at this index; errors are noted and leave the field at its default.
pub(super) fn component(index: usize, raw: &At<ComponentFile>, cx: &mut Context<'_>) -> Component {
    let path = format!("components[{index}]");
    let At { value: raw, place } = raw;
    let name = raw.name.as_ref().map_or(format!("component-{index}"), |name| name.value.clone());
    cx.places.put(path.clone(), raw.name.as_ref().map_or(place, |name| &name.place));
    let image = raw.image.as_ref().and_then(|image| cx.parse::<ImageRef>(image)).or_else(|| NO_IMAGE.parse().ok());
    let fallback = || ImageRef { domain: String::new(), path: String::new(), tag: None, digest: None };
    let mut component = Component::new(&name, image.unwrap_or_else(fallback));
    process(raw, &mut component, cx);
    surroundings(&path, raw, &mut component, cx);
    component.env = environment::environment(&path, raw, cx);
    component.labels = environment::labels(raw.labels.as_ref(), cx);
    component.resources = resources::resources(&path, raw, cx);
    component.logs = resources::logs(raw, cx);
    component.depends_on = depends_on::depends_on(raw, cx);
    (component.health, component.no_health) = health::health(raw.health.as_ref(), cx);
    component
}

fn process(raw: &ComponentFile, component: &mut Component, cx: &mut Context<'_>) {
    let flag = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| at.value);
    let command = cx.either(("command", raw.command.as_ref()), ("cmd", raw.cmd.as_ref()));
    component.command = command.and_then(|words| cx.command(words));
    component.entrypoint = raw.entrypoint.as_ref().and_then(|words| cx.command(words));
    let pull = raw.pull_policy.as_ref().and_then(|word| cx.choose(word, "pull policy", &PullPolicy::WORDS));
    component.pull_policy = pull.unwrap_or_default();
    component.runtime = raw.runtime.as_ref().and_then(|runtime| cx.parse(runtime));
    component.platform = raw.platform.as_ref().and_then(|platform| cx.parse(platform));
    component.restart = raw.restart.as_ref().and_then(|restart| cx.parse(restart)).unwrap_or_default();
    component.stop_signal = cx.parse_scalar(raw.stop_signal.as_ref());
    component.stop_grace = cx.parse_scalar(raw.stop_grace.as_ref()).unwrap_or(Component::DEFAULT_STOP_GRACE);
    component.user = raw.user.as_ref().map(|user| user.value.text());
    component.workdir = raw.workdir.as_ref().map(|workdir| workdir.value.clone());
    component.read_only = flag(&raw.read_only);
    component.init = flag(&raw.init);
    component.tty = flag(&raw.tty);
    component.stdin = flag(&raw.stdin);
}

fn surroundings(path: &str, raw: &ComponentFile, component: &mut Component, cx: &mut Context<'_>) {
    component.hostname = raw.hostname.as_ref().map(|hostname| hostname.value.clone());
    component.network = network(raw, cx);
    component.dns = dns(raw, cx);
    component.extra_hosts = extra_hosts(raw, cx);
    component.dns_search = raw.dns_search.as_ref().map(list).unwrap_or_default();
    component.dns_options = raw.dns_options.as_ref().map(list).unwrap_or_default();
    grants::grants(path, raw, component, cx);
    component.ports = ports(path, raw, cx);
    component.mounts = mounts::mounts(path, raw, cx);
    component.on_config_change = raw.on_config_change.as_ref().and_then(|word| cx.parse(word)).unwrap_or_default();
    component.secrets = secrets::secrets(path, raw, cx);
    if let Some(permissions) = permissions::permissions(raw.permissions.as_ref(), cx) {
        component.permissions = permissions;
    }
    close_network(raw, component, cx);
}

/// A profile that opens nothing leaves the component without a network, whatever it asked for.
fn close_network(raw: &ComponentFile, component: &mut Component, cx: &mut Context<'_>) {
    if component.permissions.opens_network() {
        return;
    }
    if let Some(network) = raw.network.as_ref().filter(|_| component.network != Network::None) {
        let message = format!("the profile `{}` opens no network, but one is asked for", component.permissions.profile);
        let place = raw.permissions.as_ref().map(|permissions| cx.places.find(&permissions.place.path));
        let finding = cx.findings.error(&network.place, message);
        finding.hint("open it with `network.outbound` in the profile, or leave `network` out");
        finding.related(&place.unwrap_or_default(), "the profile");
    }
    component.network = Network::None;
}

fn network(raw: &ComponentFile, cx: &mut Context<'_>) -> Network {
    let Some(asked) = &raw.network else {
        return Network::default();
    };
    let network = match &asked.value {
        Or::First(text) => text.parse(),
        Or::Second(names) => Network::from_names(names.iter().map(|name| name.value.as_str())),
    };
    cx.findings.check(&asked.place, network).unwrap_or_default()
}

fn dns(raw: &ComponentFile, cx: &mut Context<'_>) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for server in strings(raw.dns.as_ref()) {
        let address = server
            .value
            .parse::<IpAddr>()
            .map_err(|_| ParseError::new(format!("`{}` is not an IP address", server.value)));
        servers.extend(cx.findings.check(&server.place, address));
    }
    servers
}

fn extra_hosts(raw: &ComponentFile, cx: &mut Context<'_>) -> Vec<ExtraHost> {
    let Some(hosts) = &raw.extra_hosts else {
        return Vec::new();
    };
    match &hosts.value {
        Or::First(table) => {
            let line = |(name, address): &(At<String>, At<String>)| {
                cx.findings.check(&address.place, ExtraHost::new(&name.value, &address.value))
            };
            table.0.iter().filter_map(line).collect()
        }
        Or::Second(list) => list.iter().filter_map(|line| cx.parse(line)).collect(),
    }
}

fn ports(path: &str, raw: &ComponentFile, cx: &mut Context<'_>) -> Vec<Port> {
    let mut ports: Vec<(Port, Place)> = Vec::new();
    let mut wanted = 0;
    for item in raw.ports.iter().flat_map(|list| &list.value) {
        let Some(spread) = cx.findings.check(&item.place, Ports::parse(&item.value.text())) else { continue };
        let before = wanted;
        wanted += spread.len();
        if wanted <= MAX_PORTS {
            ports.extend(spread.spread().map(|port| (port, item.place.clone())));
        } else if before <= MAX_PORTS {
            cx.findings.error(&item.place, too_many_ports()).hint(MANY_PORTS);
        }
    }
    ports.sort_by(|(one, _), (two, _)| one.cmp(two));
    for (index, (_, place)) in ports.iter().enumerate() {
        cx.places.put(format!("{path}.ports[{index}]"), place);
    }
    ports.into_iter().map(|(port, _)| port).collect()
}

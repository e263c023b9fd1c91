//! Instances found on the host, in the types of the API.

use std::net::IpAddr;

use hythe_discovery::{Change, FoundInstance, FoundNetwork, Hints, RuntimeConnection, Snapshot};
use hythe_runtime::identity::COMPONENT_SPEC;
use hythe_runtime::{Identity, State};
use hythe_spec::{Port, mask};

/// Which part of everything a reader asked for.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) all: bool,
    pub(crate) foreign: bool,
    pub(crate) runtime: Option<String>,
    /// Whether labels are shown as they are.
    pub(crate) show_secrets: bool,
}

impl View {
    fn of_runtime(&self, name: &str) -> bool {
        self.runtime.as_deref().is_none_or(|wanted| wanted == name)
    }

    fn shows(&self, found: &FoundInstance) -> bool {
        self.of_runtime(&found.runtime) && (!self.foreign || found.is_foreign())
    }

    /// Everything of the snapshot that was asked for.
    pub(crate) fn snapshot(&self, snapshot: &Snapshot) -> hythe_api::InstanceSnapshot {
        let runtimes = snapshot.runtimes.iter().filter(|runtime| self.of_runtime(&runtime.name));
        let instances = snapshot.instances.iter().filter(|found| self.shows(found) && (self.all || found.is_live()));
        hythe_api::InstanceSnapshot {
            runtimes: runtimes.map(connection).collect(),
            instances: instances.map(|found| self.instance(found)).collect(),
        }
    }

    /// The change, if it is of what was asked for.
    pub(crate) fn change(&self, change: &Change) -> Option<hythe_api::InstanceChange> {
        use hythe_api::InstanceChange as Wire;
        let shown = match change.instance() {
            Some(found) => self.shows(found),
            None => self.of_runtime(change.runtime()),
        };
        Some(match change {
            _ if !shown => return None,
            Change::Created(_) | Change::Removed(_) if !self.all => return None,
            Change::Updated(found, _) if !self.all && !found.is_live() => return None,
            Change::Created(found) => Wire::Created { instance: self.boxed(found) },
            Change::Started(found) => Wire::Started { instance: self.boxed(found) },
            Change::Stopped(found, exit) => Wire::Stopped {
                instance: self.boxed(found),
                signal: exit.as_ref().and_then(|exit| exit.signal).map(|signal| signal.to_string()),
                oom: exit.as_ref().is_some_and(|exit| exit.is_oom()),
            },
            Change::Updated(found, what) => Wire::Updated { instance: self.boxed(found), what: what.clone() },
            Change::Removed(found) => Wire::Removed { instance: self.boxed(found) },
            Change::Disconnected(runtime, reason) => {
                Wire::RuntimeDisconnected { runtime: runtime.clone(), reason: reason.clone() }
            }
            Change::Reconnected(runtime) => Wire::RuntimeReconnected { runtime: runtime.clone() },
        })
    }
}

impl View {
    fn boxed(&self, found: &FoundInstance) -> Box<hythe_api::FoundInstance> {
        Box::new(self.instance(found))
    }

    fn instance(&self, found: &FoundInstance) -> hythe_api::FoundInstance {
        // The copy of the component is long, and nobody's business.
        let labels = found.labels.iter().filter(|(key, _)| *key != COMPONENT_SPEC);
        hythe_api::FoundInstance {
            runtime: found.runtime.clone(),
            id: found.id.clone(),
            name: found.name.clone(),
            display_name: found.display_name.clone(),
            image: found.image.clone(),
            state: state(found.state),
            health: found.health.map(|health| word(&health)),
            exit_code: found.exit_code.filter(|_| !found.is_live()),
            owner: found.owner.to_string(),
            foreign: found.is_foreign(),
            hythe: found.identity.as_ref().map(workload),
            compose: found.compose.as_ref().map(|compose| hythe_api::ComposeOf {
                project: compose.project.clone(),
                service: compose.service.clone(),
                number: compose.number,
            }),
            ports: found.ports.iter().filter_map(|port| self::port(port, &found.hints)).collect(),
            networks: found.networks.iter().map(network).collect(),
            labels: labels.map(|(key, value)| (key.clone(), self.label(key, value))).collect(),
            hints: hints(&found.hints),
            created: found.created,
            started: found.started,
            complete: found.complete,
        }
    }

    fn label(&self, key: &str, value: &str) -> String {
        if self.show_secrets { value.to_owned() } else { mask::variable(key, value) }
    }
}

fn connection(runtime: &RuntimeConnection) -> hythe_api::RuntimeConnection {
    hythe_api::RuntimeConnection {
        name: runtime.name.clone(),
        connected: runtime.connected,
        error: runtime.error.clone(),
    }
}

const fn state(state: State) -> hythe_api::InstanceState {
    use hythe_api::InstanceState as Wire;
    match state {
        State::Created => Wire::Created,
        State::Pending => Wire::Pending,
        State::Running => Wire::Running,
        State::Paused => Wire::Paused,
        State::Stopping => Wire::Stopping,
        State::Exited => Wire::Exited,
        State::Removing => Wire::Removing,
        State::Unknown => Wire::Unknown,
    }
}

/// The word that stands for an enum's value.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn workload(identity: &Identity) -> hythe_api::WorkloadOf {
    hythe_api::WorkloadOf {
        agent: identity.owner.clone(),
        service: identity.service.clone(),
        component: identity.component.clone(),
        workload: identity.workload(),
        generation: identity.generation,
        attempt: identity.attempt,
    }
}

fn port(port: &Port, hints: &Hints) -> Option<hythe_api::InstancePort> {
    let everywhere = IpAddr::from([0, 0, 0, 0]);
    Some(hythe_api::InstancePort {
        host_ip: port.host_ip.unwrap_or(everywhere).to_string(),
        host_port: port.host_port?,
        container_port: port.container_port,
        protocol: port.protocol,
        service_type: hints.type_of_port(port.container_port, port.protocol),
    })
}

fn network(network: &FoundNetwork) -> hythe_api::InstanceNetwork {
    let addresses = network.addresses.iter().map(ToString::to_string).collect();
    hythe_api::InstanceNetwork { name: network.name.clone(), addresses }
}

fn hints(hints: &Hints) -> hythe_api::InstanceHints {
    let Hints {
        enabled,
        name,
        dns_name,
        service_type,
        port,
        proxy_port,
        proxy_remote,
        certmesh,
        health,
        hosts,
        txt,
        sources,
        problems,
    } = hints.clone();
    hythe_api::InstanceHints {
        enabled,
        name,
        dns_name,
        service_type,
        port,
        proxy_port,
        proxy_remote,
        certmesh,
        health_kind: health.kind.map(|kind| word(&kind)),
        health_path: health.path,
        health_interval: health.interval.map(|time| time.0),
        health_timeout: health.timeout.map(|time| time.0),
        hosts,
        txt,
        sources,
        problems,
    }
}

//! One instance as other tools see it: the same shape from every runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hythe_runtime::{Compose, EngineHealth, Identity, Listed, Observed, Owner, State};
use hythe_spec::Port;
use jiff::Timestamp;

use crate::Hints;
use crate::display_name::display_name;

/// An instance found on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundInstance {
    /// Runtime it was found on.
    pub runtime: String,
    /// The engine's id.
    pub id: String,
    /// The engine's name.
    pub name: String,
    /// What people call it, unique on the runtime among what runs.
    pub display_name: String,
    /// Image reference as the engine shows it.
    pub image: String,
    /// State.
    pub state: State,
    /// What the engine's own health check says.
    pub health: Option<EngineHealth>,
    /// Exit code of the last run, where it does not run.
    pub exit_code: Option<i32>,
    /// What manages it.
    pub owner: Owner,
    /// Which workload it is, where it is one of Hythe's.
    pub identity: Option<Identity>,
    /// Compose project and service.
    pub compose: Option<Compose>,
    /// Published ports, sorted.
    pub ports: Vec<Port>,
    /// Networks, sorted by name.
    pub networks: Vec<FoundNetwork>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// What labels and environment hint at.
    pub hints: Hints,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// It was inspected; else addresses, health, start and hints from the environment may be missing.
    pub complete: bool,
}

/// A network of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNetwork {
    /// Its name.
    pub name: String,
    /// Addresses of the instance in it, sorted.
    pub addresses: Vec<IpAddr>,
}

impl FoundInstance {
    /// From a row of a list.
    pub(crate) fn of_row(runtime: &str, row: Listed, agent: &str) -> Self {
        let Listed { id, name, labels, identity, image, state, exit_code, created, ports, networks } = row;
        let owner = Owner::of(&labels, agent);
        let networks = networks.into_iter().map(|name| FoundNetwork { name, addresses: Vec::new() }).collect();
        Self {
            runtime: runtime.to_owned(),
            id: id.0,
            display_name: display_name(&labels, &name, &owner),
            name,
            image,
            state,
            health: None,
            exit_code,
            owner,
            identity,
            compose: Compose::of(&labels),
            ports,
            networks,
            hints: Hints::read(&labels, &BTreeMap::new()),
            labels,
            created,
            started: None,
            complete: false,
        }
    }

    /// From an inspection.
    pub(crate) fn of_observed(runtime: &str, seen: Observed, agent: &str) -> Self {
        let hints = Hints::read(&seen.labels, &seen.env);
        let networks = seen
            .networks
            .iter()
            .map(|network| FoundNetwork { name: network.name.clone(), addresses: network.addresses.clone() })
            .collect();
        let (health, started) = (seen.health, seen.started);
        Self { networks, hints, health, started, complete: true, ..Self::of_row(runtime, seen.listed(), agent) }
    }

    /// From an event, for an instance that is gone already.
    pub(crate) fn of_event(
        runtime: &str,
        id: &str,
        name: Option<&str>,
        identity: Option<&Identity>,
        agent: &str,
    ) -> Self {
        let row = Listed {
            id: hythe_runtime::InstanceId(id.to_owned()),
            name: name.unwrap_or(id).to_owned(),
            labels: identity.map(Identity::labels).unwrap_or_default(),
            identity: identity.cloned(),
            image: String::new(),
            state: State::Unknown,
            exit_code: None,
            created: None,
            ports: Vec::new(),
            networks: Vec::new(),
        };
        Self::of_row(runtime, row, agent)
    }

    /// It has a process. An unknown state is not taken for ended.
    pub fn is_live(&self) -> bool {
        match self.state {
            State::Running | State::Paused | State::Stopping | State::Unknown => true,
            State::Created | State::Pending | State::Exited | State::Removing => false,
        }
    }

    /// It is not this agent's.
    pub fn is_foreign(&self) -> bool {
        self.owner.is_foreign()
    }

    /// A row of a list, with what only an inspection gives kept from before until the next one.
    pub(crate) fn with_details_of(self, before: &Self) -> Self {
        if self.complete || before.is_live() != self.is_live() {
            return self;
        }
        let addresses = |name: &str| {
            let network = before.networks.iter().find(|network| network.name == name);
            network.map(|network| network.addresses.clone()).unwrap_or_default()
        };
        let networks = self
            .networks
            .iter()
            .map(|network| FoundNetwork { name: network.name.clone(), addresses: addresses(&network.name) })
            .collect();
        let (hints, health, started) = (before.hints.clone(), before.health, before.started);
        Self { networks, hints, health, started, ..self }
    }

    /// Under another name.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        let display_name = display_name(&self.labels, name, &self.owner);
        Self { name: name.to_owned(), display_name, ..self.clone() }
    }

    /// What changed, in a few words; empty: nothing visible.
    pub(crate) fn changes_to(&self, now: &Self) -> Vec<String> {
        let health = now.health.and_then(|health| serde_json::to_value(health).ok());
        let health = health.as_ref().and_then(serde_json::Value::as_str).unwrap_or("none");
        let changes = [
            (self.name != now.name, "rename".to_owned()),
            (self.image != now.image, "image".to_owned()),
            (self.state != now.state, "state".to_owned()),
            (self.health != now.health, format!("health {health}")),
            (self.ports != now.ports, "ports".to_owned()),
            (self.labels != now.labels, "labels".to_owned()),
            (self.hints != now.hints, "hints".to_owned()),
            (self.started != now.started, "started".to_owned()),
        ];
        let changes = changes.into_iter().filter(|(changed, _)| *changed).map(|(_, what)| what);
        changes.chain(self.network_changes_to(now)).collect()
    }

    /// Networks joined and left, and addresses that are others.
    fn network_changes_to(&self, now: &Self) -> Vec<String> {
        let names = |found: &Self| found.networks.iter().map(|network| network.name.clone()).collect::<BTreeSet<_>>();
        let (before, after) = (names(self), names(now));
        let left = before.difference(&after).map(|name| format!("network disconnect {name}"));
        let joined = after.difference(&before).map(|name| format!("network connect {name}"));
        let moves: Vec<String> = left.chain(joined).collect();
        let others = moves.is_empty() && self.networks != now.networks;
        moves.into_iter().chain(others.then(|| "addresses".to_owned())).collect()
    }
}

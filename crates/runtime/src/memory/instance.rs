//! What the engine records of an instance.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use hythe_spec::{Mount, MountSource, Port, Seccomp, Signal};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::console::Console;
use super::files::SharedTree;
use super::process::Run;
use crate::{
    Exit, Identity, ImageConfig, InstanceId, NetworkMode, Observed, ObservedMount, ObservedNetwork, ObservedSeccomp,
    ObservedSecurity, Plan, PlanNetwork, Security, State,
};

/// One message to a main process's stdin; `None` is its end.
pub(super) type Input = Option<Bytes>;

/// An instance; everything but the process itself.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: InstanceId,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) identity: Option<Identity>,
    pub(super) plan: Plan,
    pub(super) image_id: String,
    pub(super) config: ImageConfig,
    pub(super) root: SharedTree,
    pub(super) console: Arc<Console>,
    pub(super) created: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Option<Timestamp>,
    pub(super) exit: Option<Exit>,
    /// The current run, while there is one.
    pub(super) run: Option<Arc<Run>>,
    pub(super) stdin: Option<mpsc::Sender<Input>>,
    pub(super) paused: bool,
    pub(super) stopping: bool,
    /// Killed for want of memory, told by whoever killed it.
    pub(super) oom: bool,
    /// Ports with what was picked for them.
    pub(super) ports: Vec<Port>,
    /// Last number of its addresses.
    pub(super) number: u8,
}

impl Instance {
    pub(super) fn state(&self) -> State {
        match (&self.run, &self.exit) {
            (Some(_), _) if self.stopping => State::Stopping,
            (Some(_), _) if self.paused => State::Paused,
            (Some(_), _) => State::Running,
            (None, Some(_)) => State::Exited,
            (None, None) => State::Created,
        }
    }

    pub(super) fn stop_signal(&self) -> Signal {
        self.plan.stop_signal.or(self.config.stop_signal).unwrap_or(Signal::TERM)
    }

    /// Entrypoint and command as they count.
    pub(super) fn arguments(&self) -> (Vec<String>, Vec<String>) {
        let entrypoint = self.plan.entrypoint.clone().unwrap_or_else(|| self.config.entrypoint.clone());
        let inherited = if self.plan.entrypoint.is_some() { Vec::new() } else { self.config.command.clone() };
        (entrypoint, self.plan.command.clone().unwrap_or(inherited))
    }

    pub(super) fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.config.env.clone();
        env.insert("HOSTNAME".to_owned(), self.plan.hostname.clone());
        env.extend(self.plan.env.clone());
        env
    }

    pub(super) fn user(&self) -> Option<String> {
        self.plan.user.clone().or_else(|| self.config.user.clone())
    }

    pub(super) fn workdir(&self) -> Option<String> {
        self.plan.workdir.clone().or_else(|| self.config.workdir.clone())
    }

    pub(super) fn uses_volume(&self, name: &str) -> bool {
        self.plan.mounts.iter().any(|m| matches!(&m.source, MountSource::Volume { name: used, .. } if used == name))
    }

    pub(super) fn uses_network(&self, name: &str) -> bool {
        match &self.plan.network {
            PlanNetwork::None | PlanNetwork::Host => false,
            PlanNetwork::Bridged { attachments } => attachments.iter().any(|used| used.network == name),
        }
    }

    pub(super) fn observed(&self) -> Observed {
        let (entrypoint, command) = self.arguments();
        Observed {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            identity: self.identity.clone(),
            image: self.plan.image.to_string(),
            image_id: Some(self.image_id.clone()),
            state: self.state(),
            pid: None,
            created: Some(self.created),
            started: self.started,
            finished: self.finished,
            restarts: 0,
            exit: self.exit.clone(),
            health: None,
            networks: self.networks(),
            ports: self.ports.clone(),
            mounts: self.plan.mounts.iter().map(observed_mount).collect(),
            entrypoint,
            command,
            env: self.env(),
            given_env: Some(self.plan.env.keys().cloned().collect()),
            user: self.user(),
            workdir: self.workdir(),
            hostname: Some(self.plan.hostname.clone()),
            network_mode: network_mode(&self.plan.network),
            dns: Some(self.plan.dns.clone()),
            extra_hosts: Some(sorted(self.plan.extra_hosts.clone())),
            resources: self.plan.resources.clone(),
            own_limits: false,
            read_only: self.plan.read_only,
            init: Some(self.plan.init),
            tty: Some(self.plan.tty),
            stdin: Some(self.plan.stdin),
            stop_signal: self.plan.stop_signal.or(self.config.stop_signal),
            stop_grace: Some(self.plan.stop_grace),
            security: security(&self.plan.security),
            engine_restart: Some("no".to_owned()),
            auto_remove: false,
            beyond: Vec::new(),
        }
    }

    fn networks(&self) -> Vec<ObservedNetwork> {
        let PlanNetwork::Bridged { attachments } = &self.plan.network else { return Vec::new() };
        let address = |at: usize| IpAddr::V4(Ipv4Addr::new(10, 89, u8::try_from(at).unwrap_or(u8::MAX), self.number));
        let observe = |(at, attachment): (usize, &crate::Attachment)| {
            let aliases = Some(sorted(attachment.aliases.clone()));
            let addresses = if self.run.is_some() { vec![address(at)] } else { Vec::new() };
            ObservedNetwork { name: attachment.network.clone(), addresses, aliases }
        };
        let mut networks: Vec<ObservedNetwork> = attachments.iter().enumerate().map(observe).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }
}

fn observed_mount(mount: &Mount) -> ObservedMount {
    let (kind, source) = match &mount.source {
        MountSource::Volume { name, .. } => ("volume", name.clone()),
        MountSource::Bind { path, .. } => ("bind", path.clone()),
        MountSource::Tmpfs { .. } => ("tmpfs", String::new()),
    };
    ObservedMount {
        target: mount.target.clone(),
        kind: kind.to_owned(),
        source,
        read_only: mount.read_only,
        options: options_of(&mount.source),
        given: true,
    }
}

/// In the words that engines have for them.
fn options_of(source: &MountSource) -> Vec<String> {
    match source {
        MountSource::Volume { .. } => Vec::new(),
        MountSource::Bind { propagation, .. } => propagation.iter().cloned().collect(),
        MountSource::Tmpfs { size, mode } => {
            let mode = mode.map(|mode| format!("mode={mode:o}"));
            mode.into_iter().chain(size.map(|size| format!("size={}", size.0))).collect()
        }
    }
}

fn network_mode(network: &PlanNetwork) -> NetworkMode {
    match network {
        PlanNetwork::None => NetworkMode::None,
        PlanNetwork::Host => NetworkMode::Host,
        PlanNetwork::Bridged { .. } => NetworkMode::Bridged,
    }
}

fn security(security: &Security) -> ObservedSecurity {
    let Security { capabilities, seccomp, no_new_privileges, privileged } = security;
    let seccomp = match seccomp {
        Seccomp::Default => ObservedSeccomp::Default,
        Seccomp::Unconfined => ObservedSeccomp::Unconfined,
        Seccomp::File(_) => ObservedSeccomp::Profile,
    };
    ObservedSecurity {
        capabilities: Some(capabilities.clone()),
        privileged: Some(*privileged),
        seccomp: Some(seccomp),
        no_new_privileges: Some(*no_new_privileges),
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

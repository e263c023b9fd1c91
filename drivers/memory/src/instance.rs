//! What the engine records of an instance.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hythe_runtime::{ErrorKind, Exit, Identity, ImageConfig, InstanceId, Pending, Plan, PlanNetwork, State};
use hythe_spec::{MountSource, Port, Signal};
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::console::Console;
use crate::files::SharedTree;
use crate::process::Run;

/// One message to a main process's stdin; `None` is its end.
pub(crate) type Input = Option<Bytes>;

/// An instance; everything but the process itself.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) identity: Option<Identity>,
    pub(crate) plan: Plan,
    pub(crate) image_id: String,
    pub(crate) config: ImageConfig,
    pub(crate) root: SharedTree,
    pub(crate) console: Arc<Console>,
    pub(crate) created: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) exit: Option<Exit>,
    /// What it waits for before it is started.
    pub(crate) pending: Option<Pending>,
    /// Why it could not be started once it was its turn.
    pub(crate) start_failure: Option<(ErrorKind, String)>,
    /// The current run, while there is one.
    pub(crate) run: Option<Arc<Run>>,
    pub(crate) stdin: Option<mpsc::Sender<Input>>,
    pub(crate) paused: bool,
    pub(crate) stopping: bool,
    /// OOM-killed, as reported by whoever killed it.
    pub(crate) oom: bool,
    /// Ports with what was picked for them.
    pub(crate) ports: Vec<Port>,
    /// Last number of its addresses.
    pub(crate) number: u8,
}

impl Instance {
    pub(crate) fn state(&self) -> State {
        match (&self.run, &self.exit) {
            (Some(_), _) if self.stopping => State::Stopping,
            (Some(_), _) if self.paused => State::Paused,
            (Some(_), _) => State::Running,
            (None, _) if self.pending.is_some() => State::Pending,
            (None, Some(_)) => State::Exited,
            (None, None) => State::Created,
        }
    }

    pub(crate) fn stop_signal(&self) -> Signal {
        self.plan.stop_signal.or(self.config.stop_signal).unwrap_or(Signal::TERM)
    }

    /// Entrypoint and command as they count.
    pub(crate) fn arguments(&self) -> (Vec<String>, Vec<String>) {
        let entrypoint = self.plan.entrypoint.clone().unwrap_or_else(|| self.config.entrypoint.clone());
        let inherited = if self.plan.entrypoint.is_some() { Vec::new() } else { self.config.command.clone() };
        (entrypoint, self.plan.command.clone().unwrap_or(inherited))
    }

    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let mut env = self.config.env.clone();
        env.insert("HOSTNAME".to_owned(), self.plan.hostname.clone());
        env.extend(self.plan.env.clone());
        env
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.plan.user.clone().or_else(|| self.config.user.clone())
    }

    pub(crate) fn workdir(&self) -> Option<String> {
        self.plan.workdir.clone().or_else(|| self.config.workdir.clone())
    }

    pub(crate) fn uses_volume(&self, name: &str) -> bool {
        self.plan.mounts.iter().any(|m| matches!(&m.source, MountSource::Volume { name: used, .. } if used == name))
    }

    pub(crate) fn uses_network(&self, name: &str) -> bool {
        match &self.plan.network {
            PlanNetwork::None | PlanNetwork::Host => false,
            PlanNetwork::Networks { attachments } => attachments.iter().any(|used| used.network == name),
        }
    }
}

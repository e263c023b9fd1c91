//! Out-of-band changes, for tests: what an administrator, the kernel or a failure does to a real engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use hythe_runtime::{
    Attachment, Error, ErrorKind, Event, EventKind, InstanceId, NetworkInfo, Observed, Plan, PlanNetwork, Result,
};
use hythe_spec::Signal;

use crate::engine::{Engine, Volume, World};
use crate::error::not_running;
use crate::files::SharedTree;
use crate::instance::Instance;
use crate::lifecycle::{run_foreign, send};
use crate::translate::observed;

const OPERATION: &str = "control";

/// Changes the engine's state out of band; instances are named by id or name.
#[derive(Debug, Clone)]
pub struct MemoryControl {
    engine: Arc<Engine>,
}

impl MemoryControl {
    pub(crate) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Sends a signal to the main process, as `kill(1)` on the host does. Not running: `Conflict`.
    pub fn kill(&self, instance: &str, signal: Signal) -> Result<()> {
        let named = self.engine.world().named(instance);
        send(&self.engine, OPERATION, &named, signal)
    }

    /// The kernel OOM-kills the main process.
    pub fn out_of_memory(&self, instance: &str) -> Result<()> {
        self.on(instance, |engine, instance, now| {
            let run = instance.run.clone().ok_or_else(|| not_running(OPERATION, instance))?;
            instance.oom = true;
            engine.events.report(instance, now, EventKind::OutOfMemory);
            run.main.deliver(Signal::KILL.0);
            Ok(())
        })
    }

    /// Freezes an instance.
    pub fn pause(&self, instance: &str) -> Result<()> {
        self.freeze(instance, true, EventKind::Paused)
    }

    /// Thaws an instance.
    pub fn unpause(&self, instance: &str) -> Result<()> {
        self.freeze(instance, false, EventKind::Unpaused)
    }

    fn freeze(&self, instance: &str, frozen: bool, kind: EventKind) -> Result<()> {
        self.on(instance, |engine, instance, now| {
            let run = instance.run.clone().ok_or_else(|| not_running(OPERATION, instance))?;
            instance.paused = frozen;
            run.freeze(frozen);
            engine.events.report(instance, now, kind);
            Ok(())
        })
    }

    /// Gives an instance another name.
    pub fn rename(&self, instance: &str, name: &str) -> Result<()> {
        self.on(instance, |engine, instance, now| {
            instance.name = name.to_owned();
            engine.events.report(instance, now, EventKind::Updated { what: "rename".to_owned() });
            Ok(())
        })
    }

    /// Joins an instance to a network. One without a bridge, or in it already: `Conflict`.
    pub fn connect(&self, instance: &str, network: &str) -> Result<()> {
        let attachment = Attachment { network: network.to_owned(), aliases: Vec::new() };
        self.rewire(instance, network, "connect", |attachments| {
            let is_new = attachments.iter().all(|held| held.network != attachment.network);
            if is_new {
                attachments.push(attachment);
            }
            is_new
        })
    }

    /// Takes an instance out of a network. Not in it: `Conflict`.
    pub fn disconnect(&self, instance: &str, network: &str) -> Result<()> {
        self.rewire(instance, network, "disconnect", |attachments| {
            let before = attachments.len();
            attachments.retain(|held| held.network != network);
            attachments.len() != before
        })
    }

    fn rewire(
        &self,
        instance: &str,
        network: &str,
        what: &str,
        change: impl FnOnce(&mut Vec<Attachment>) -> bool,
    ) -> Result<()> {
        self.on(instance, |engine, instance, now| {
            let changed = match &mut instance.plan.network {
                PlanNetwork::Networks { attachments } => change(attachments),
                PlanNetwork::None | PlanNetwork::Host => false,
            };
            if !changed {
                let words = format!("instance `{}` cannot {what} network `{network}`", instance.name);
                return Err(Error::new(ErrorKind::Conflict, OPERATION, words));
            }
            engine.events.report(instance, now, EventKind::Updated { what: format!("network {what} {network}") });
            Ok(())
        })
    }

    /// Kills and removes an instance, as `rm -f` does.
    pub async fn remove(&self, instance: &str) -> Result<()> {
        let run = self.on(instance, |_, instance, _| Ok(instance.run.clone()))?;
        if let Some(run) = run {
            run.main.deliver(Signal::KILL.0);
            run.ended.cancelled().await;
        }
        let mut world = self.engine.world();
        let id = world.find(OPERATION, &world.named(instance))?.id.clone();
        let now = world.now();
        if let Some(gone) = world.instances.remove(&id) {
            self.engine.events.report(&gone, now, EventKind::Removed);
        }
        Ok(())
    }

    /// Starts an instance of the plan under this name that is not managed by Hythe.
    pub fn run_foreign(&self, name: &str, plan: &Plan) -> Result<InstanceId> {
        run_foreign(&self.engine, name, plan)
    }

    /// Puts a label on an instance, as if somebody had made it so.
    pub fn label(&self, instance: &str, key: &str, value: &str) -> Result<()> {
        self.on(instance, |_, instance, _| {
            instance.labels.insert(key.to_owned(), value.to_owned());
            Ok(())
        })
    }

    /// Makes a network that is not managed by Hythe.
    pub fn foreign_network(&self, name: &str) {
        let info = NetworkInfo {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            driver: "bridge".to_owned(),
            subnets: Vec::new(),
        };
        self.engine.world().networks.insert(name.to_owned(), info);
    }

    /// Takes a network away, whoever owns it.
    pub fn remove_network(&self, name: &str) {
        self.engine.world().networks.remove(name);
    }

    /// Takes a volume away, whoever owns it.
    pub fn remove_volume(&self, name: &str) {
        self.engine.world().volumes.remove(name);
    }

    /// Makes a volume that is not managed by Hythe.
    pub fn foreign_volume(&self, name: &str) {
        let volume = Volume { labels: BTreeMap::new(), tree: SharedTree::default(), used: false };
        self.engine.world().volumes.insert(name.to_owned(), volume);
    }

    /// The plan an instance was made from.
    pub fn plan(&self, instance: &str) -> Result<Plan> {
        self.on(instance, |_, instance, _| Ok(instance.plan.clone()))
    }

    /// How many instances there are, whoever owns them.
    pub fn count(&self) -> usize {
        self.engine.world().instances.len()
    }

    /// Every instance as it is, whoever owns it and whether the engine answers or not.
    pub fn observed(&self) -> Vec<Observed> {
        self.engine.world().instances.values().map(observed).collect()
    }

    /// Names of all networks and of all volumes.
    pub fn belongings(&self) -> (Vec<String>, Vec<String>) {
        let world = self.engine.world();
        (world.networks.keys().cloned().collect(), world.volumes.keys().cloned().collect())
    }

    /// Every event, oldest first, as long as it is kept.
    pub fn history(&self) -> Vec<Event> {
        self.engine.events.all()
    }

    /// The engine goes down: every operation and stream fails with `Unavailable` and these words. Instances live on.
    pub fn down(&self, words: &str) {
        self.engine.set_down(Some(words.to_owned()));
    }

    /// The engine is back.
    pub fn up(&self) {
        self.engine.set_down(None);
    }

    /// The answer of the next `times` operations of this name is lost: they act, the caller sees `Unavailable`.
    /// Names are those in errors: `create`, `run`, `start`, `stop`, `remove`, `inspect`, `list`, `watch`, `pull` …
    pub fn lose_replies(&self, operation: &str, times: u32) {
        self.engine.lose_replies(operation, times);
    }

    /// The next `times` instances that end do so without an event, as when a stream loses one and does not say so.
    pub fn lose_ends(&self, times: u32) {
        self.engine.events.lose_ends(times);
    }

    fn on<T>(
        &self,
        instance: &str,
        act: impl FnOnce(&Engine, &mut Instance, jiff::Timestamp) -> Result<T>,
    ) -> Result<T> {
        let mut world = self.engine.world();
        let now = World::now(&mut world);
        let named = world.named(instance);
        act(&self.engine, world.find_mut(OPERATION, &named)?, now)
    }
}

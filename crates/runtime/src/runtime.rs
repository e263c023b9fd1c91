//! The trait every driver implements, with its contract.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use hythe_spec::{RuntimeKind, Signal};
use serde::{Deserialize, Serialize};

use crate::{
    Archives, Capability, Cursor, Error, ErrorKind, EventStream, Exec, Images, InstanceId, InstanceRef, Listed, Logs,
    Networks, Observed, OpContext, Plan, Result, Snapshots, Stats, Volumes,
};

/// What was found when the runtime was connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// Name in the agent's configuration, unique in the agent; equals the kind unless configured.
    pub name: String,
    /// Kind.
    pub kind: RuntimeKind,
    /// Program or socket behind it, for people.
    pub endpoint: String,
    /// Engine that answers there: `podman`, `docker`, …
    pub engine: String,
    /// The engine's version.
    pub version: String,
    /// The engine's own id where it has one; two endpoints with one id are one engine.
    pub engine_id: Option<String>,
    /// The engine runs without root's rights.
    pub rootless: bool,
}

/// A healthy answer of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The engine's version now.
    pub version: String,
    /// What works but should be known: lowered limits, missing controllers.
    pub warnings: Vec<String>,
}

/// How to stop an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// First signal; `None`: the one the instance was made with.
    pub signal: Option<Signal>,
    /// Time until KILL.
    pub grace: Duration,
}

/// Refuses a number that is no signal's.
///
/// # Errors
/// `Invalid`.
pub fn check_signal(operation: &'static str, signal: Signal) -> Result<()> {
    if signal.is_valid() {
        return Ok(());
    }
    let words = format!("`{}` is not a signal", signal.0);
    Err(Error::new(ErrorKind::Invalid, operation, words).hint("a signal number is between 1 and 64"))
}

/// Which instances to list; an empty filter lists every one of the engine, foreign ones too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Labels that must be there with these values.
    pub labels: BTreeMap<String, String>,
}

impl Filter {
    /// Whatever carries this agent's owner label.
    pub fn owned_by(owner: &str) -> Self {
        Self { labels: BTreeMap::from([(crate::identity::OWNER.to_owned(), owner.to_owned())]) }
    }
}

/// One configured runtime.
///
/// # For every operation
/// - *Absent is not broken*: an instance that does not exist is `NotFound`; an engine that cannot be reached, dies or
///   answers nonsense is `Unavailable`; never one for the other.
/// - *Cancellation*: dropping the future, or `cx.cancel`, stops the waiting, never the engine halfway through ours; the outcome is then unknown and every
///   operation may simply be repeated.
/// - *Waiting*: `create`, `run` and `start` may take minutes where an engine schedules, pulls or boots first. From the moment that the instance is in
///   the engine under its name and the call only waits, the driver reports to [`OpContext::waiting`] what it waits for, again with each progress. The instance is
///   [`State::Pending`](crate::State::Pending) meanwhile; a caller that withdraws leaves it so, and a call repeated waits on. Only silence ends such a call with `Timeout`.
/// - *Errors* keep the engine's words in the message.
/// - *Concurrency*: any number of calls at once, also for the same instance.
/// - An [`InstanceRef`] is exact: an id is a whole id and a name a whole name. What an engine would find by the first digits is `NotFound`.
/// - What carries no label of ours may be listed and inspected. It is changed only by its id, as the record of an adopted instance has it; by a
///   name it is refused with `Conflict`.
#[async_trait]
pub trait Runtime: Send + Sync + fmt::Debug + 'static {
    /// What was found at connect.
    fn info(&self) -> &RuntimeInfo;

    /// Which parts of a plan this configured runtime can honour now. A plan that needs more is refused by the capability layer before any call.
    fn capability(&self) -> &Capability;

    /// Asks the engine whether it works. `Unavailable` with its words where it does not. Bounded to a few seconds.
    async fn probe(&self, cx: &OpContext) -> Result<Health>;

    /// Makes an instance without starting it.
    ///
    /// Requires: the image, networks and volumes of the plan exist in the engine (a missing one is `NotFound` naming it; nothing is pulled).
    /// Guarantees: the instance is named [`Plan::name`] and carries [`Plan::labels_and_annotations`].
    /// Idempotent on that name: if it exists with our labels of the same owner, generation, attempt and plan hash, its id is returned and nothing is made;
    /// if the name is held by anything else, `AlreadyExists` naming the holder. Two racing calls return the same id.
    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId>;

    /// [`Runtime::create`] and [`Runtime::start`] in as few engine calls as the engine has.
    ///
    /// Idempotent on the plan's name, and an attempt runs once: one that was made but never started is started, one that runs or has run already is
    /// left as it is and its id returned. On an error of starting the instance stays behind under its name, state `Created` or `Exited`.
    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId>;

    /// Starts an instance; success means its main process was executed. Running already: success. One that has run before starts again with its
    /// files and its log, where the runtime has [`Feature::RestartInPlace`](crate::Feature::RestartInPlace); elsewhere that is `Unsupported`, and the
    /// caller makes the next attempt.
    ///
    /// A command that cannot be executed is `Invalid` with the path (the observed exit code is 127 absent, 126 not executable); a host port that is taken is `Conflict`.
    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()>;

    /// Stops an instance: signal, grace, KILL. Returns when its main process is gone, at the latest a bounded time after the grace.
    ///
    /// Not running already: success. Paused: it ends stopped. Pending: it never starts. Absent: `NotFound`.
    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()>;

    /// Sends a signal to the main process, which may live on; returns once it is sent.
    ///
    /// A number outside of 1 to 64: `Invalid`. Not running: `Conflict`. Absent: `NotFound`. Repeating it sends it again.
    /// Paused: it arrives once the instance goes on, for which an engine may end the pause by itself; KILL ends it always.
    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()>;

    /// Removes an instance and the anonymous volumes made with it; named volumes stay. Absent: success. Running or
    /// pending: `Conflict`.
    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()>;

    /// Everything about one instance. Absent: `NotFound`.
    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed>;

    /// All instances that match, in a constant number of engine calls, sorted by name. An instance that vanishes meanwhile is simply absent.
    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>>;

    /// Everything that happens after `from`. Where that is older than what the engine keeps, or not a place in this engine's events, the stream
    /// begins with [`EventKind::Gap`](crate::EventKind::Gap) and goes on from what is there. When the future resolves the subscription stands: a change that comes later is in the stream (an earlier one may be repeated).
    ///
    /// The stream ends with an error when the engine goes away; dropping it ends the subscription.
    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream>;

    /// Images, where the engine keeps them.
    fn images(&self) -> Option<&dyn Images>;

    /// Logs, where the engine keeps them.
    fn logs(&self) -> Option<&dyn Logs>;

    /// Processes inside instances.
    fn exec(&self) -> Option<&dyn Exec>;

    /// Resource use.
    fn stats(&self) -> Option<&dyn Stats>;

    /// Networks.
    fn networks(&self) -> Option<&dyn Networks>;

    /// Named volumes.
    fn volumes(&self) -> Option<&dyn Volumes>;

    /// Versions of instances' files.
    fn snapshots(&self) -> Option<&dyn Snapshots>;

    /// Files of instances.
    fn archives(&self) -> Option<&dyn Archives>;

    /// Exactly what would be given to the engine for this plan (an argument vector, a JSON document), from the same pure translation that [`Runtime::create`] uses,
    /// with every value as it is: whoever shows it masks it with [`hythe_spec::mask::document`]. No engine call.
    fn explain(&self, plan: &Plan) -> Result<serde_json::Value>;
}

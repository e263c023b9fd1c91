//! The records: one per service, one per workload.

use hythe_spec::vocabulary::{Desired, HealthState, WorkloadState as Phase};
use hythe_spec::{Component, Service};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ExitRecord, InstanceRecord};

/// How far the things are that an instance needs before it can be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prerequisites {
    /// Nothing was seen to.
    #[default]
    Nothing,
    /// Its volumes are there.
    Volumes,
    /// The engine is asked for the instance; what it lacks it will say.
    Ready,
    /// The engine lacks something: networks are made, then the image is fetched.
    Missing,
    /// Its networks are there, its image is fetched.
    Networks,
    /// Everything was seen to; what the engine lacks now is an error.
    Complete,
}

/// What the next instance needs is had while the current one goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Generation of the next instance.
    pub generation: u64,
    /// How far its needs are seen to.
    #[serde(rename = "supply")]
    pub prerequisites: Prerequisites,
    /// Tries that failed in a row.
    pub failures: u32,
    /// When it is tried again, where that is waited for.
    pub next_try: Option<Timestamp>,
}

/// Why a generation could not be brought up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Generation that failed.
    pub generation: u64,
    /// Kind of the error, as on the wire.
    pub kind: String,
    /// The error.
    pub message: String,
    /// The user's next step.
    pub hint: Option<String>,
    /// Its last log lines.
    #[serde(default)]
    pub lines: Vec<String>,
}

/// Where a workload was placed and why not elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Name of the runtime.
    pub runtime: String,
    /// Runtimes considered before it.
    pub rejected: Vec<Rejection>,
}

/// Why a runtime was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Name of the runtime.
    pub runtime: String,
    /// Reasons.
    pub reasons: Vec<String>,
}

/// A service as desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// What is desired.
    pub desired: Service,
    /// When that last changed.
    pub updated: Timestamp,
    /// It is being removed; kept until all that belongs to it is gone.
    #[serde(default)]
    pub removing: Option<Removing>,
}

/// How a service is being removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removing {
    /// Its own volumes go too.
    pub volumes: bool,
    /// Runtimes on which something may belong to it.
    pub runtimes: Vec<String>,
}

/// What is desired of a workload. Written by whoever accepts a change, under one lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredRecord {
    /// Workload name.
    pub name: String,
    /// Service name.
    pub service: String,
    /// What it is made from.
    #[serde(rename = "recipe")]
    pub spec: ComponentSpec,
    /// Counts accepted changes, from 1.
    pub generation: u64,
    /// Whether it should run.
    pub desired: Desired,
    /// Milliseconds until KILL for this stop, over the component's own grace.
    #[serde(default)]
    pub grace: Option<u64>,
    /// Where it runs.
    pub placement: Placement,
    /// Counts explicit requests; a new one is tried at once whatever failed before.
    #[serde(default)]
    #[serde(rename = "asked")]
    pub requests: u64,
    /// The request, by that count, which last asked for a new start of the main process.
    #[serde(default)]
    pub restart: u64,
    /// Out-of-band changes are healed.
    #[serde(default)]
    pub heal: bool,
    /// Generations of its dependencies that were accepted with this one: it waits for those, not for what ran before.
    #[serde(default)]
    pub needs: std::collections::BTreeMap<String, u64>,
    /// Another component waits for it to do its work: that it runs is no outcome yet.
    #[serde(default)]
    pub completes: bool,
    /// Requests that restarted or replaced a dependency after which it is restarted too: how many there were, by
    /// dependency.
    #[serde(default)]
    pub follow: std::collections::BTreeMap<String, u64>,
    /// When its image is fetched, as the last deploy has it.
    #[serde(default)]
    pub pull: hythe_spec::PullPolicy,
    /// The request, by the count of `requests`, which last asked for its image to be fetched again.
    #[serde(default)]
    pub refresh: u64,
    /// The request, by the count of `requests`, which last asked for the main process to be sent a signal because mounted
    /// files have changed.
    #[serde(default)]
    pub reload: u64,
    /// Image of its component as it was deployed, in whose place a snapshot was restored; `spec` has the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_over: Option<hythe_spec::ImageRef>,
}

impl DesiredRecord {
    /// Of a workload that somebody asks for the first time.
    pub fn new(service: &str, spec: ComponentSpec, generation: u64, desired: Desired, runtime: &str) -> Self {
        Self {
            name: hythe_spec::service::workload_name(service, &spec.component.name),
            service: service.to_owned(),
            spec,
            generation,
            desired,
            grace: None,
            placement: Placement { runtime: runtime.to_owned(), rejected: Vec::new() },
            requests: 1,
            restart: 0,
            heal: false,
            needs: std::collections::BTreeMap::new(),
            completes: false,
            follow: std::collections::BTreeMap::new(),
            pull: hythe_spec::PullPolicy::default(),
            refresh: 0,
            reload: 0,
            restored_over: None,
        }
    }
}

/// What an instance is made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// The component.
    pub component: Component,
    /// Labels of the service.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Fingerprint of both.
    pub hash: String,
}

/// What is known of a workload. Written by its own task alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedRecord {
    /// What it does.
    pub phase: Phase,
    /// Result of its probes.
    pub health: HealthState,
    /// Why it is in this phase, where that needs saying.
    pub message: Option<String>,
    /// The instance of the newest attempt, from the moment it is `Pending`.
    pub current: Option<InstanceRecord>,
    /// The instance it replaces, kept until the new one is good.
    pub previous: Option<InstanceRecord>,
    /// A generation that failed and was rolled back; not tried again by itself.
    #[serde(rename = "gave_up")]
    pub rolled_back_from: Option<u64>,
    /// Highest attempt of the current generation.
    pub attempt: u32,
    /// Restarts by the agent since this generation began.
    pub restarts: u32,
    /// Failed runs in a row; decides the back-off.
    pub failures: u32,
    /// When it is tried again, where it waits for that.
    pub next_try: Option<Timestamp>,
    /// How it last ended.
    pub exit: Option<ExitRecord>,
    /// Generation that `attempt` counts in.
    #[serde(default)]
    pub generation: u64,
    /// The newest request that was taken up.
    #[serde(default)]
    #[serde(rename = "asked")]
    pub requests_seen: u64,
    /// The newest request for a new start that was taken up.
    #[serde(default)]
    pub restarted: u64,
    /// The newest request to stop that was carried out.
    #[serde(default)]
    #[serde(rename = "halted")]
    pub stop_handled: u64,
    /// How far the needs of the current instance are seen to.
    #[serde(default)]
    #[serde(rename = "supply")]
    pub prerequisites: Prerequisites,
    /// The needs of the instance that is to take over from the current one.
    #[serde(default)]
    pub ahead: Option<Ahead>,
    /// It failed because of a dependency, and is tried again once that is as it must be.
    #[serde(default)]
    pub blocked: bool,
    /// The current instance failed for good; its last log lines are still to be read.
    #[serde(default)]
    #[serde(rename = "failing")]
    pub failure_pending: Option<Failure>,
    /// The current instance failed for good and goes; what it replaced comes back.
    #[serde(default)]
    #[serde(rename = "undo")]
    pub rollback: Option<Failure>,
    /// Why a generation failed, the last one that did.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Its main process is to be stopped and started again, and why.
    #[serde(default)]
    #[serde(rename = "kick")]
    pub restart_requested: Option<String>,
    /// The current instance is to be replaced by one like it, and why.
    #[serde(default)]
    #[serde(rename = "renew")]
    pub replace_requested: Option<String>,
    /// The engine may have instances of this workload that nobody knows.
    #[serde(default)]
    #[serde(rename = "sweep")]
    pub prune_strays: bool,
    /// When its engine was last lost.
    #[serde(default)]
    pub lost: Option<Timestamp>,
    /// Of `follow` in what is desired, those after which it was started.
    #[serde(default)]
    pub followed: std::collections::BTreeMap<String, u64>,
    /// A dependency after which it is to be restarted has failed, so that nobody waits for that.
    #[serde(default)]
    pub follow_stalled: bool,
    /// The newest request for its image to be fetched again that was carried out.
    #[serde(default)]
    pub refreshed: u64,
    /// Why the image could not be fetched again while the instance runs on.
    #[serde(default)]
    pub refresh_failure: Option<Failure>,
    /// The newest request to have changed files read again that was carried out, by a signal or by a start.
    #[serde(default)]
    pub reloaded: u64,
    /// When this record last changed.
    pub updated: Timestamp,
}

impl ObservedRecord {
    /// Of a workload that has only been accepted.
    pub fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Pending,
            health: HealthState::None,
            message: None,
            current: None,
            previous: None,
            rolled_back_from: None,
            attempt: 0,
            restarts: 0,
            failures: 0,
            next_try: None,
            exit: None,
            generation: 0,
            requests_seen: 0,
            restarted: 0,
            stop_handled: 0,
            prerequisites: Prerequisites::Nothing,
            ahead: None,
            blocked: false,
            failure_pending: None,
            rollback: None,
            failure: None,
            restart_requested: None,
            replace_requested: None,
            prune_strays: false,
            lost: None,
            followed: std::collections::BTreeMap::new(),
            follow_stalled: false,
            refreshed: 0,
            refresh_failure: None,
            reloaded: 0,
            updated: now,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// An agent of an earlier version wrote them so, and one that is set back reads them so.
    #[test]
    fn records_keep_their_keys_in_the_database() {
        let component = Component::new("web", "localhost/web:1".parse().unwrap());
        let spec = ComponentSpec { component, labels: std::collections::BTreeMap::new(), hash: "h".to_owned() };
        let current = InstanceRecord::pending("memory", "web-1-1".to_owned(), spec, 1, 1);
        let observed = ObservedRecord { current: Some(current), ..ObservedRecord::new(Timestamp::UNIX_EPOCH) };
        let written = serde_json::to_value(&observed).unwrap();
        let own = ["gave_up", "halted", "supply", "failing", "undo", "kick", "renew", "sweep", "asked", "phase"];
        assert!(own.iter().all(|key| written.get(key).is_some()), "{written:#}");
        let current = &written["current"];
        assert!(["proven", "tried", "recipe"].iter().all(|key| current.get(key).is_some()), "{current:#}");
        assert_eq!((&current["life"], &written["supply"]), (&"intended".into(), &"nothing".into()));
        assert_eq!(serde_json::from_value::<ObservedRecord>(written).unwrap(), observed);
        let spec = observed.current.unwrap().spec;
        let desired = serde_json::to_value(DesiredRecord::new("shop", spec, 1, Desired::Running, "memory")).unwrap();
        let own = ["recipe", "asked", "restart", "heal", "needs", "refresh", "reload"];
        assert!(own.iter().all(|key| desired.get(key).is_some()), "{desired:#}");
    }
}

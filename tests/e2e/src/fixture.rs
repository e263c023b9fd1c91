//! What a trial has: one runtime, an agent for it, a service name nobody else uses, and somebody who cleans up.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::agent::Agent;
use crate::engine::Engine;
use crate::environment::Environment;
use crate::program::Ran;
use crate::subject::Subject;
use crate::trial::caught;
use crate::wait;

/// The surroundings of one trial.
pub(crate) struct Fixture<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) subject: &'a Subject,
    pub(crate) agent: Agent,
    /// Name for a service, unique in this run and on this machine.
    pub(crate) service: String,
}

impl<'a> Fixture<'a> {
    pub(crate) fn new(environment: &'a Environment, subject: &'a Subject) -> Self {
        Self { environment, subject, agent: Agent::start(&subject.config()), service: unique_name() }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.subject.engine
    }

    pub(crate) fn hythe(&self, words: &[&str]) -> Ran {
        self.agent.hythe(words)
    }

    /// Writes a service file; its path.
    pub(crate) fn file(&self, text: &str) -> String {
        let path = self.agent.path("service.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Deploys what the text describes and waits for the outcome.
    pub(crate) fn deploy(&self, text: &str) -> Ran {
        self.hythe(&["deploy", "--wait", &self.file(text)])
    }

    /// All workloads, at rest or not.
    pub(crate) fn workloads(&self) -> Vec<Value> {
        let listed = self.hythe(&["ps", "-a", "--json"]).ok().json();
        listed.as_array().cloned().unwrap_or_default()
    }

    /// A workload as `ps` shows it; null where there is none.
    pub(crate) fn workload(&self, name: &str) -> Value {
        self.workloads().into_iter().find(|workload| workload["name"] == name).unwrap_or_default()
    }

    /// The only workload of the service that bears its name.
    pub(crate) fn it(&self) -> Value {
        self.workload(&self.service)
    }

    /// Waits until the workload of the service's name is in this state.
    #[track_caller]
    pub(crate) fn await_state(&self, state: &str) -> Value {
        wait::until(&format!("`{}` is {state}", self.service), || self.it(), |workload| workload["state"] == state)
    }

    /// Names and instance ids of all workloads.
    pub(crate) fn ids(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.workloads().iter().map(|workload| (text(&workload["name"]), text(&workload["instance"]["id"]))).collect()
    }

    /// Where desired and observed differ, as `status` says.
    pub(crate) fn differences(&self) -> Vec<Value> {
        let status = self.hythe(&["status", &self.service, "--json"]).ok().json();
        let workloads = status["workloads"].as_array().cloned().unwrap_or_default();
        workloads.iter().flat_map(|workload| workload["differences"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// Events of the service so far, oldest first.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.hythe(&["events", "--service", &self.service, "--json"]).ok().json_lines()
    }

    /// Label of everything of the service.
    pub(crate) fn service_label(&self) -> String {
        format!("hythe.service={}", self.service)
    }

    /// Asserts how many instances of the service the engine has, running or not; true of memory by default.
    #[track_caller]
    pub(crate) fn has_instances(&self, count: usize) {
        if self.subject.engine_is_real() {
            let found = self.engine().instances(&self.service_label());
            assert_eq!(found.len(), count, "instances in the engine: {found:?}");
        }
    }

    /// Undeploys all that is deployed, then proves that the engine has nothing of ours; the fault where it has.
    pub(crate) fn clean(&mut self) -> Result<(), String> {
        let undeployed = caught(|| self.undeploy_all());
        self.agent.kill();
        let mut left = caught(|| self.engine().sweep(&self.agent.owner_label()))?;
        left.extend(caught(|| self.engine().leftovers())?);
        undeployed.map_err(|fault| format!("cleaning up failed: {fault}"))?;
        if left.is_empty() { Ok(()) } else { Err(format!("left in the engine after undeploy: {}", left.join(", "))) }
    }

    fn undeploy_all(&mut self) {
        self.agent.start_again();
        let services = self.hythe(&["services", "--json"]).ok().json();
        for service in services.as_array().into_iter().flatten() {
            let gone = self.hythe(&["undeploy", "--volumes", service["name"].as_str().unwrap_or_default()]);
            // A removal that the trial began may end in between.
            assert!(matches!(gone.code, Some(0 | 3)), "{gone:?}");
        }
        let snapshots = self.hythe(&["snapshot", "ls", "--json"]).ok().json();
        for snapshot in snapshots.as_array().into_iter().flatten() {
            self.hythe(&["snapshot", "rm", snapshot["name"].as_str().unwrap_or_default()]).ok();
        }
    }
}

/// Short, and different in every trial of every run.
pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("e{:x}n{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

//! What the agent says and what the engine says, at one moment.

use std::fmt;

use serde_json::Value;

use crate::engine::Row;
use crate::fixture::Fixture;

/// What is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    /// `hythe status` of the service; null where the agent knows no such service.
    pub(super) status: Value,
    /// Instances that carry the agent's label.
    pub(super) instances: Vec<Row>,
    pub(super) networks: usize,
    pub(super) volumes: usize,
}

const NOT_FOUND: i32 = 3;

impl Look {
    /// Looks once; the reason where the agent did not answer.
    pub(super) fn take(fixture: &Fixture<'_>) -> Result<Self, String> {
        Self::status(fixture).map(|status| Self::with(fixture, status))
    }

    /// What the agent says; the reason where it did not answer.
    pub(super) fn status(fixture: &Fixture<'_>) -> Result<Value, String> {
        let asked = fixture.hythe(&["status", &fixture.service, "--json"]);
        match asked.code {
            Some(0) => Ok(asked.json()),
            Some(NOT_FOUND) => Ok(Value::Null),
            _ => Err(format!("{asked:?}")),
        }
    }

    /// What the engine says besides.
    pub(super) fn with(fixture: &Fixture<'_>, status: Value) -> Self {
        let (engine, label) = (fixture.engine(), fixture.agent.owner_label());
        Self {
            status,
            instances: engine.rows(&label),
            networks: engine.networks(&label).len(),
            volumes: engine.volumes(&label).len(),
        }
    }

    /// The only workload as `ps` would show it.
    pub(super) fn workload(&self) -> &Value {
        &self.status["workloads"][0]["workload"]
    }

    pub(super) fn generation(&self) -> u64 {
        self.workload()["generation"].as_u64().unwrap_or_default()
    }

    pub(super) fn id(&self) -> &str {
        self.workload()["instance"]["id"].as_str().unwrap_or_default()
    }

    fn differences(&self) -> Vec<&Value> {
        self.status["workloads"][0]["differences"].as_array().into_iter().flatten().collect()
    }

    fn is(&self, good: bool, what: &str) -> Result<(), String> {
        if good { Ok(()) } else { Err(format!("{what}: {self}")) }
    }

    /// There is one instance, of this generation and running or not, and it is the one that the agent knows.
    fn is_one(&self, generation: u64, running: bool) -> Result<(), String> {
        let wanted = Row { id: self.id().to_owned(), running, generation };
        self.is(self.instances == [wanted], &format!("not one instance of generation {generation}, running: {running}"))
    }

    fn is_said(&self, state: &str, desired: &str) -> Result<(), String> {
        let workload = self.workload();
        let good = workload["state"] == state && workload["desired"] == desired;
        self.is(good, &format!("not {state} as desired"))
    }

    fn differs_only_in(&self, fields: &[&str]) -> Result<(), String> {
        let known = |found: &&Value| fields.iter().any(|field| found["field"] == *field);
        self.is(self.differences().iter().all(known), "differs from what is desired")
    }

    fn is_healthy(&self) -> Result<(), String> {
        self.is(self.workload()["health"] == "healthy", "not healthy")
    }

    fn keeps(&self, volumes: usize) -> Result<(), String> {
        let good = self.networks == 1 && self.volumes == volumes;
        self.is(good, &format!("not one network and {volumes} volumes"))
    }

    /// Runs as desired, in one healthy instance, with nothing else of ours in the engine but a network and so many volumes.
    pub(super) fn runs(&self, generation: u64, volumes: usize) -> Result<(), String> {
        self.is_said("running", "running")?;
        self.is_healthy()?;
        self.differs_only_in(&[])?;
        self.is_one(generation, true)?;
        self.keeps(volumes)
    }

    /// Generation `failed` was given up, and the instance of the one before runs.
    pub(super) fn is_rolled_back(&self, failed: u64, good: u64, volumes: usize) -> Result<(), String> {
        self.is_said("running", "running")?;
        self.is_healthy()?;
        self.differs_only_in(&["generation"])?;
        let message = self.workload()["message"].as_str().unwrap_or_default();
        let told = message.contains("rolled back") && message.contains(&failed.to_string());
        self.is(told && self.generation() == failed, &format!("generation {failed} was not rolled back"))?;
        self.is_one(good, true)?;
        self.keeps(volumes)
    }

    /// Stopped on purpose, with its instance kept.
    pub(super) fn is_stopped(&self, generation: u64, volumes: usize) -> Result<(), String> {
        self.is_said("stopped", "stopped")?;
        self.differs_only_in(&[])?;
        self.is_one(generation, false)?;
        self.keeps(volumes)
    }

    /// The same instance as in an earlier look.
    pub(super) fn is_same_as(&self, earlier: &Self) -> Result<(), String> {
        self.is(self.id() == earlier.id(), &format!("not instance {}", earlier.id()))
    }

    /// Its end with that code was noticed.
    pub(super) fn ended_with(&self, code: i32) -> Result<(), String> {
        self.is(self.workload()["exit"]["code"] == code, &format!("its end with {code} was not noticed"))
    }

    /// Nothing is left, in the agent or in the engine.
    pub(super) fn is_gone(&self) -> Result<(), String> {
        let nothing = Self { status: Value::Null, instances: Vec::new(), networks: 0, volumes: 0 };
        self.is(*self == nothing, "not all is gone")
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, networks, volumes, .. } = self;
        write!(f, "instances {instances:?}, networks {networks}, volumes {volumes}, ")?;
        write!(f, "differences {:?}, workload {:#}", self.differences(), self.workload())
    }
}

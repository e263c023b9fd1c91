//! Desired against observed, field by field. Pure but for the one look at the engine.

use std::collections::BTreeMap;

use hythe_runtime::{Observed, OpContext, Plan, PlanNetwork, State};
use hythe_spec::MountSource;
use hythe_store::Desired;
use serde_json::{Value, json};

use crate::directory::Cell;
use crate::{Controller, worker};

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Field of the component, or `state`.
    pub field: String,
    /// What is desired.
    pub desired: Value,
    /// What is observed.
    pub observed: Value,
    /// Why: `missing`, `stopped`, `extra`, `changed by hand`, `unreachable`, `not yet`.
    pub cause: &'static str,
}

impl Controller {
    /// Where a workload's instance differs from what is desired, as its engine says now.
    pub async fn differences(&self, cell: &Cell) -> Vec<Difference> {
        let running = cell.desired.desired == Desired::Running;
        let Some(current) = &cell.observed.current else {
            return if running { vec![state("running", "absent", "missing")] } else { Vec::new() };
        };
        let seen = match self.runtimes.get(&current.runtime) {
            Ok(runtime) => runtime.inspect(&OpContext::new("status"), &worker::reference(current)).await,
            Err(error) => Err(error),
        };
        match seen {
            Ok(seen) => {
                let mut found = state_difference(running, seen.state);
                found.extend(generation_difference(cell, current.generation));
                found.extend(fields(&self.plan_of_current(cell), &seen));
                found.retain(|difference| !(current.adopted && difference.field.starts_with("labels.hythe.")));
                found
            }
            Err(error) if error.is_not_found() && running => {
                vec![state("running", "absent", "missing")]
            }
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => vec![state(if running { "running" } else { "stopped" }, error.message(), "unreachable")],
        }
    }

    /// The plan that the current instance was made from.
    fn plan_of_current(&self, cell: &Cell) -> Plan {
        let current = cell.observed.current.as_ref();
        let recipe = current.map_or(&cell.desired.recipe, |current| &current.recipe);
        let (generation, attempt) = current.map_or((0, 0), |current| (current.generation, current.attempt));
        self.plan_of(&cell.desired.service, recipe, generation, attempt)
    }
}

fn state(desired: &str, observed: &str, cause: &'static str) -> Difference {
    Difference { field: "state".to_owned(), desired: json!(desired), observed: json!(observed), cause }
}

fn state_difference(running: bool, seen: State) -> Vec<Difference> {
    match (running, seen) {
        (true, State::Running) | (false, State::Exited | State::Created) => Vec::new(),
        (true, State::Exited | State::Created) => vec![state("running", "stopped", "stopped")],
        (true, other) => vec![state("running", &format!("{other:?}").to_lowercase(), "changed by hand")],
        (false, _) => vec![state("stopped", "running", "extra")],
    }
}

fn generation_difference(cell: &Cell, current: u64) -> Option<Difference> {
    (current != cell.desired.generation).then(|| Difference {
        field: "generation".to_owned(),
        desired: json!(cell.desired.generation),
        observed: json!(current),
        cause: if cell.observed.gave_up.is_some() { "rolled back" } else { "not yet" },
    })
}

/// What the plan says and the instance does not have. Only what was asked for is compared: engines add variables, mounts and labels of their own.
fn fields(plan: &Plan, seen: &Observed) -> Vec<Difference> {
    let mut found = Vec::new();
    subset("env", &plan.env, &seen.env, &mut found);
    subset("labels", &plan.all_labels(), &seen.labels, &mut found);
    let mut differ = |field: &str, desired: Value, observed: Value| {
        if desired != observed {
            found.push(Difference { field: field.to_owned(), desired, observed, cause: "changed by hand" });
        }
    };
    if let Some(command) = &plan.command {
        differ("command", json!(command), json!(seen.command));
    }
    if let Some(user) = &plan.user {
        differ("user", json!(user), json!(seen.user));
    }
    if let Some(workdir) = &plan.workdir {
        differ("workdir", json!(workdir), json!(seen.workdir));
    }
    differ("read_only", json!(plan.read_only), json!(seen.read_only));
    differ("memory", json!(plan.resources.memory), json!(seen.resources.memory));
    differ("cpus", json!(plan.resources.cpus), json!(seen.resources.cpus));
    // Engines set a limit of their own where none was asked for.
    if plan.resources.pids.is_some() {
        differ("pids", json!(plan.resources.pids), json!(seen.resources.pids));
    }
    if let PlanNetwork::Bridged { attachments } = &plan.network {
        let mut asked: Vec<&str> = attachments.iter().map(|attachment| attachment.network.as_str()).collect();
        asked.sort_unstable();
        let have: Vec<&str> = seen.networks.iter().map(|network| network.name.as_str()).collect();
        differ("networks", json!(asked), json!(have));
    }
    differ("mounts", asked_mounts(plan), seen_mounts(plan, seen));
    if seen.state == State::Running {
        let published = |port: &&hythe_spec::Port| port.host_port.is_some();
        let key = |port: &hythe_spec::Port| json!([port.host_port, port.container_port, port.protocol]);
        let asked: Vec<Value> = plan.ports.iter().filter(published).map(key).collect();
        let have: Vec<Value> = seen.ports.iter().map(key).collect();
        let missing: Vec<&Value> = asked.iter().filter(|port| !have.contains(port)).collect();
        if !missing.is_empty() {
            differ("ports", json!(asked), json!(have));
        }
    }
    found
}

fn asked_mounts(plan: &Plan) -> Value {
    let mounts = plan.mounts.iter().map(|mount| {
        let kind = match mount.source {
            MountSource::Volume { .. } => "volume",
            MountSource::Bind { .. } => "bind",
            MountSource::Tmpfs { .. } => "tmpfs",
        };
        (mount.target.as_str(), (kind, mount.read_only))
    });
    json!(mounts.collect::<BTreeMap<_, _>>())
}

fn seen_mounts(plan: &Plan, seen: &Observed) -> Value {
    let asked = |target: &str| plan.mounts.iter().any(|mount| mount.target == target);
    let mounts = seen.mounts.iter().filter(|mount| asked(&mount.target));
    json!(
        mounts.map(|mount| (mount.target.as_str(), (mount.kind.as_str(), mount.read_only))).collect::<BTreeMap<_, _>>()
    )
}

fn subset(field: &str, asked: &BTreeMap<String, String>, have: &BTreeMap<String, String>, found: &mut Vec<Difference>) {
    for (key, value) in asked {
        if have.get(key) != Some(value) {
            found.push(Difference {
                field: format!("{field}.{key}"),
                desired: json!(value),
                observed: json!(have.get(key)),
                cause: "changed by hand",
            });
        }
    }
}

//! Services: deploying, explaining, listing.

use hythe_spec::Service;
use hythe_spec::vocabulary::{ComponentAction, OpenEnum};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Workload, WorkloadStatus};

/// How to deploy (query of `PUT /v1/services/{name}`, whose body is the normalised service).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeployQuery {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Only this component, the others stay as they are.
    pub component: Option<String>,
    /// Replace every instance, changed or not.
    pub force: bool,
    /// When images are fetched, in place of what the components say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<hythe_spec::PullPolicy>,
    /// Show secrets in the differences.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub show_secrets: bool,
    /// Names of secrets, separated by commas, that are set before the deploy: a dry run does not miss them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_be_set: Option<String>,
}

/// What a deploy does or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deploy {
    /// The service.
    pub service: String,
    /// Whether anything is done.
    pub outcome: DeployOutcome,
    /// The operation to follow, when accepted.
    pub operation: Option<String>,
    /// One per component.
    pub components: Vec<ComponentPlan>,
    /// Difference to what is desired so far, field by field.
    pub changes: Vec<hythe_spec::diff::Change>,
    /// What should be known, for people.
    pub warnings: Vec<String>,
}

/// What happens to one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ComponentPlan {
    /// Component name.
    pub component: String,
    /// Workload name.
    pub workload: String,
    /// What the deploy does to it.
    pub action: OpenEnum<ComponentAction>,
    /// Generation it has afterwards.
    pub generation: u64,
    /// Where it runs and why.
    pub placement: Option<Placement>,
}

/// Whether a deploy changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeployOutcome {
    /// Nothing changed, nothing is touched.
    Unchanged,
    /// It is being done.
    Accepted,
    /// It would be done (dry run).
    Planned,
}

/// Where a component runs and why not elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Name of the runtime chosen.
    pub runtime: String,
    /// Every other runtime considered before it.
    pub rejected: Vec<Rejection>,
}

/// Why a runtime was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejection {
    /// Name of the runtime.
    pub runtime: String,
    /// Reasons.
    pub reasons: Vec<String>,
}

/// Body of stop, start and restart; also names what `DELETE` leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Scope {
    /// Only this component.
    pub component: Option<String>,
    /// Milliseconds until KILL, over the component's own grace.
    pub grace: Option<u64>,
}

/// Body of kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Kill {
    /// Only this component.
    pub component: Option<String>,
    /// Number of the signal; 9, KILL, unless it is given.
    pub signal: hythe_spec::Signal,
}

impl Default for Kill {
    fn default() -> Self {
        Self { component: None, signal: hythe_spec::Signal::KILL }
    }
}

/// Query of `DELETE /v1/services/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Undeploy {
    /// Also remove the named volumes that the service owns, with their data.
    pub volumes: bool,
}

/// One row of `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRow {
    /// Service name.
    pub name: String,
    /// It should run.
    pub active: bool,
    /// Number of components.
    pub components: usize,
    /// Number of them that run and are not unhealthy.
    pub running: usize,
    /// When its desired state last changed.
    pub updated: Timestamp,
}

/// `GET /v1/services/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDetail {
    /// What is desired.
    pub desired: Service,
    /// What is there.
    pub workloads: Vec<Workload>,
}

/// `GET /v1/services/{name}/status`: desired against observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// Service name.
    pub service: String,
    /// One per component.
    pub workloads: Vec<WorkloadStatus>,
    /// The newest events, oldest first.
    pub events: Vec<crate::Event>,
}

/// Body of `POST /v1/explain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explain {
    /// The normalised service.
    pub service: Service,
    /// Name of the runtime; absent: where placement would put it.
    pub runtime: Option<String>,
}

/// What a driver would give its engine for one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// Component name.
    pub component: String,
    /// Name of the runtime.
    pub runtime: String,
    /// It has no health check of its own, so it is probed by its image's, where that has one.
    #[serde(default)]
    pub image_health: bool,
    /// An argument vector or a JSON document, secrets masked unless `show_secrets` was asked for.
    pub native: serde_json::Value,
}

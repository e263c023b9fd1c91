//! The rules that hold between the parts of a normalised service, wherever it came from.

mod component;
mod dependencies;
mod grants;
mod mounts;
mod names;
mod network;
mod permissions;
mod ports;
mod secrets;

use std::collections::HashMap;

pub(crate) use component::{MAX_STRING, is_host_name};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Service;

/// Longest `<service>-<component>`: what an attempt's name adds still fits into a DNS label of 63 characters.
pub const MAX_WORKLOAD_NAME: usize = 50;
/// Longest name of a service.
pub const MAX_SERVICE_NAME: usize = 40;

/// The most components of a service.
pub const MAX_COMPONENTS: usize = 1000;

pub(crate) fn too_many_components() -> String {
    format!("a service has at most {MAX_COMPONENTS} components")
}

/// The most published ports of a component: an engine has a rule or a process for each.
pub const MAX_PORTS: usize = 1024;
pub(crate) const MANY_PORTS: &str =
    "publish fewer, or use `network = \"host\"` without `ports`, where every port of the workload is the host's";

pub(crate) fn too_many_ports() -> String {
    format!("a component publishes at most {MAX_PORTS} ports")
}

/// The most files of a log.
pub const MAX_LOG_FILES: u32 = 1000;

/// One rule that a service breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// The part of the normalised service: `components[1].ports[0]`.
    pub path: String,
    /// What is wrong, lower case, no final period.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
    /// Other parts that have to do with it, each with what is there.
    pub related: Vec<(String, String)>,
}

impl Problem {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: None, related: Vec::new() }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn related(mut self, path: impl Into<String>, message: impl Into<String>) -> Self {
        self.related.push((path.into(), message.into()));
        self
    }
}

impl Service {
    /// Every rule the service breaks; none for a service that may be deployed.
    pub fn validate(&self) -> Vec<Problem> {
        if self.components.len() > MAX_COMPONENTS {
            return vec![Problem::new("components", too_many_components())];
        }
        let mut problems = names::service(self);
        for (index, component) in self.components.iter().enumerate() {
            let path = format!("components[{index}]");
            problems.extend(component::check(&path, component));
            problems.extend(network::check(&path, component));
            problems.extend(grants::check(&path, component));
            problems.extend(secrets::check(&path, component));
        }
        problems.extend(names::labels("labels", &self.labels));
        problems.extend(unique_names(self));
        problems.extend(ports::conflicts(self));
        problems.extend(dependencies::check(self));
        problems
    }
}

fn unique_names(service: &Service) -> Vec<Problem> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut problems = Vec::new();
    for (index, component) in service.components.iter().enumerate() {
        if let Some(first) = seen.insert(&component.name, index) {
            let problem =
                Problem::new(format!("components[{index}].name"), format!("the name `{}` is taken", component.name));
            problems.push(problem.related(format!("components[{first}].name"), "by this component"));
        }
    }
    problems
}

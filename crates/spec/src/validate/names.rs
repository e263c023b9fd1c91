//! Names that every runtime accepts.

use std::collections::BTreeMap;

use super::{MAX_SERVICE_NAME, MAX_WORKLOAD_NAME, Problem};
use crate::Service;

const LABEL_FORM: &str = "use lower-case letters, digits and `-`, with a letter or digit at both ends";
const RESERVED_LABEL: &str = "hythe.";

pub(super) fn service(service: &Service) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_dns_label(&service.name) {
        problems.push(Problem::new("name", format!("`{}` is not a DNS label", service.name)).hint(LABEL_FORM));
    } else if service.name.len() > MAX_SERVICE_NAME {
        problems.push(Problem::new("name", format!("a service name has at most {MAX_SERVICE_NAME} characters")));
    }
    if service.node.is_some() {
        problems.push(Problem::new("node", "`node` is reserved: a service runs on the agent it is sent to"));
    }
    if service.components.is_empty() {
        problems.push(Problem::new("components", "a service has at least one component"));
    }
    for (index, component) in service.components.iter().enumerate() {
        let path = format!("components[{index}].name");
        let workload = service.workload_name(&component.name);
        if !is_dns_label(&component.name) {
            problems.push(Problem::new(path, format!("`{}` is not a DNS label", component.name)).hint(LABEL_FORM));
        } else if workload.len() > MAX_WORKLOAD_NAME {
            let message = format!("the workload name `{workload}` is longer than {MAX_WORKLOAD_NAME} characters");
            problems.push(Problem::new(path, message).hint("shorten the name of the service or of the component"));
        }
    }
    problems
}

/// Labels that a user may set: a key, none of ours.
pub(super) fn labels(path: &str, labels: &BTreeMap<String, String>) -> Vec<Problem> {
    let problem = |key: &String| {
        let path = format!("{path}.{key}");
        if key.is_empty() {
            Some(Problem::new(path, "a label needs a key"))
        } else if let Some(wrong) = key.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '=') {
            let message = format!("the key of a label cannot contain `{}`", wrong.escape_debug());
            Some(Problem::new(path, message).hint("use letters, digits, `.`, `-`, `_` and `/`"))
        } else if key.starts_with(RESERVED_LABEL) {
            Some(Problem::new(path, format!("labels that start with `{RESERVED_LABEL}` are reserved")))
        } else {
            None
        }
    };
    labels.keys().filter_map(problem).collect()
}

pub(super) fn is_dns_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() <= 63
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
}

/// Host names are DNS labels of either case, joined by dots; Linux takes at most 64 bytes.
pub(super) fn is_hostname(name: &str) -> bool {
    name.len() <= 64 && name.split('.').all(|label| is_dns_label(&label.to_ascii_lowercase()))
}

//! Whose a container is, by the labels that other tools put on theirs: what is kept by somebody else is listed, and left to them.

use std::collections::BTreeMap;

/// Labels by which a tool knows its own, and the tool.
const MARKS: [(&str, &str); 10] = [
    (COMPOSE_PROJECT, "Compose"),
    ("io.podman.compose.project", "Compose"),
    ("PODMAN_SYSTEMD_UNIT", "systemd"),
    ("io.kubernetes.pod.name", "Kubernetes"),
    ("io.kubernetes.pod.uid", "Kubernetes"),
    ("io.kubernetes.container.name", "Kubernetes"),
    ("com.docker.swarm.service.name", "Swarm"),
    ("com.docker.stack.namespace", "Swarm"),
    ("com.hashicorp.nomad.alloc_id", "Nomad"),
    ("hythe.owner", "Hythe"),
];

/// Beginnings of labels that mean something to the tool that wrote them and must not be on a container of ours.
const FAMILIES: [&str; 7] = [
    "com.docker.compose.",
    "io.podman.compose.",
    "io.podman.annotations.",
    "io.kubernetes.",
    "com.docker.swarm.",
    "com.docker.stack.",
    "com.hashicorp.nomad.",
];

/// Label by which Compose knows its own.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";

/// The tool that keeps a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name, for people.
    pub tool: &'static str,
    /// What the tool calls the project, unit, pod or agent.
    pub name: String,
}

impl Owner {
    /// What the labels say; `None`: nobody in particular.
    pub fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        MARKS.iter().find_map(|(label, tool)| labels.get(*label).map(|name| Self { tool, name: name.clone() }))
    }

    /// Whether it can be taken over by force: what keeps it does nothing until a user runs it again.
    pub fn is_compose(&self) -> bool {
        self.tool == "Compose"
    }
}

/// Project and service of a container made by Compose.
pub fn compose_names(labels: &BTreeMap<String, String>) -> Option<(&str, &str)> {
    let get = |family: &str, key: &str| labels.get(&format!("{family}{key}")).map(String::as_str);
    let project = get("com.docker.compose.", "project").or_else(|| get("io.podman.compose.", "project"))?;
    let service = get("com.docker.compose.", "service").or_else(|| get("io.podman.compose.", "service"))?;
    Some((project, service))
}

/// Whether a label is some tool's own.
pub fn is_theirs(label: &str) -> bool {
    label == "PODMAN_SYSTEMD_UNIT"
        || label.starts_with("hythe.")
        || FAMILIES.iter().any(|family| label.starts_with(family))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_tool_is_known_by_its_labels() {
        let tool = |key| Owner::of(&labels(&[(key, "x"), ("other", "y")])).unwrap().tool;
        assert_eq!(tool("com.docker.compose.project"), "Compose");
        assert_eq!(tool("PODMAN_SYSTEMD_UNIT"), "systemd");
        assert_eq!(tool("io.kubernetes.pod.uid"), "Kubernetes");
        assert_eq!(tool("hythe.owner"), "Hythe");
        assert_eq!(Owner::of(&labels(&[("maintainer", "me")])), None);
    }

    #[test]
    fn compose_says_project_and_service() {
        let both = labels(&[("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")]);
        assert_eq!(compose_names(&both), Some(("shop", "web")));
        assert_eq!(compose_names(&labels(&[("com.docker.compose.project", "shop")])), None);
    }
}

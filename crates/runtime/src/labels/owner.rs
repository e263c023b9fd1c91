//! Who made an instance and looks after it, by the labels its maker left.

use std::fmt;

use super::{Compose, Labels, first};
use crate::Identity;
use crate::identity::OWNER;

/// Kubernetes writes all of its own; another tool in its place may write less.
const POD: &[&str] =
    &["io.kubernetes.pod.name", "io.podman.pod.name", "io.kubernetes.pod.uid", "io.kubernetes.container.name"];
const POD_NAMESPACE: &[&str] = &["io.kubernetes.pod.namespace"];
const SWARM_SERVICE: &[&str] = &["com.docker.swarm.service.name", "com.docker.stack.namespace"];
const NOMAD: &[&str] = &["com.hashicorp.nomad.alloc_id"];
/// Quadlet and `podman generate systemd` both write it, and nothing tells them apart.
const UNIT: &[&str] = &["PODMAN_SYSTEMD_UNIT"];

/// Beginnings of labels that mean something to the tool that wrote them and must not be on an instance of ours.
const FAMILIES: &[&str] = &[
    "hythe.",
    "com.docker.compose.",
    "io.podman.compose.",
    "io.podman.annotations.",
    "io.kubernetes.",
    "com.docker.swarm.",
    "com.docker.stack.",
    "com.hashicorp.nomad.",
];

/// The owner of an instance. Only [`Owner::Agent`] is ours to change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// This agent.
    Agent,
    /// Another agent of Hythe, or this one with labels that cannot be read in full.
    Other(String),
    /// A pod: `namespace/pod`, or `pod`.
    Kubernetes(String),
    /// A Compose project.
    Compose(String),
    /// A service or a stack of a Swarm.
    Swarm(String),
    /// An allocation of Nomad.
    Nomad(String),
    /// A unit of systemd, written by hand or by Quadlet.
    Systemd(String),
    /// Nobody said.
    None,
}

impl Owner {
    /// What the labels say to the agent of this id.
    ///
    /// Some tools work for others (podman-compose makes a systemd unit of a project): the one that describes the instance counts.
    pub fn of(labels: &Labels, agent: &str) -> Self {
        if let Some(owner) = first(labels, &[OWNER]) {
            let ours = Identity::from_labels(labels).is_some_and(|identity| identity.owner == agent);
            return if ours { Self::Agent } else { Self::Other(owner.to_owned()) };
        }
        let pod = || {
            let name = first(labels, POD)?;
            let namespace = first(labels, POD_NAMESPACE);
            Some(Self::Kubernetes(namespace.map_or_else(|| name.to_owned(), |space| format!("{space}/{name}"))))
        };
        let named = |keys: &[&str], make: fn(String) -> Self| first(labels, keys).map(|name| make(name.to_owned()));
        pod()
            .or_else(|| named(SWARM_SERVICE, Self::Swarm))
            .or_else(|| named(NOMAD, Self::Nomad))
            .or_else(|| Compose::of(labels).map(|compose| Self::Compose(compose.project)))
            .or_else(|| named(UNIT, Self::Systemd))
            .unwrap_or(Self::None)
    }

    /// It is not this agent's, and never touched by it.
    pub fn is_foreign(&self) -> bool {
        *self != Self::Agent
    }

    /// The tool that keeps it, for people, and what the tool calls it; `None`: nobody in particular.
    pub fn manager(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Agent => Some(("Hythe", "this agent")),
            Self::Other(agent) => Some(("Hythe", agent)),
            Self::Kubernetes(pod) => Some(("Kubernetes", pod)),
            Self::Compose(project) => Some(("Compose", project)),
            Self::Swarm(service) => Some(("Swarm", service)),
            Self::Nomad(allocation) => Some(("Nomad", allocation)),
            Self::Systemd(unit) => Some(("systemd", unit)),
            Self::None => None,
        }
    }
}

/// Whether a label is the own of a tool that keeps instances.
pub fn is_managers(label: &str) -> bool {
    UNIT.contains(&label) || FAMILIES.iter().any(|family| label.starts_with(family))
}

/// `hythe`, `hythe:<agent>`, `kubernetes:<pod>`, `compose:<project>`, `swarm:<service>`, `nomad:<allocation>`, `systemd:<unit>`, `none`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("hythe"),
            Self::Other(agent) => write!(f, "hythe:{agent}"),
            Self::Kubernetes(pod) => write!(f, "kubernetes:{pod}"),
            Self::Compose(project) => write!(f, "compose:{project}"),
            Self::Swarm(service) => write!(f, "swarm:{service}"),
            Self::Nomad(allocation) => write!(f, "nomad:{allocation}"),
            Self::Systemd(unit) => write!(f, "systemd:{unit}"),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::labels;

    fn identity(owner: &str) -> Identity {
        Identity {
            owner: owner.to_owned(),
            service: "shop".to_owned(),
            component: "web".to_owned(),
            generation: 1,
            attempt: 1,
            plan_hash: "h".to_owned(),
        }
    }

    #[test]
    fn every_maker_is_known_by_its_labels() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[], "none"),
            (&[("maintainer", "somebody")], "none"),
            (&[("com.docker.compose.project", "shop")], "compose:shop"),
            (&[("io.podman.compose.project", "shop")], "compose:shop"),
            (
                &[("io.podman.compose.project", "shop"), ("PODMAN_SYSTEMD_UNIT", "podman-compose@shop.service")],
                "compose:shop",
            ),
            (&[("PODMAN_SYSTEMD_UNIT", "web.service")], "systemd:web.service"),
            (&[("PODMAN_SYSTEMD_UNIT", " ")], "none"),
            (&[("io.kubernetes.pod.name", "web-0")], "kubernetes:web-0"),
            (&[("io.kubernetes.pod.name", "web-0"), ("io.kubernetes.pod.namespace", "prod")], "kubernetes:prod/web-0"),
            (&[("io.kubernetes.pod.uid", "x"), ("other", "y")], "kubernetes:x"),
            (&[("io.kubernetes.pod.name", ""), ("io.kubernetes.container.name", "c")], "kubernetes:c"),
            (&[("com.docker.swarm.service.name", "api"), ("com.docker.stack.namespace", "s")], "swarm:api"),
            (&[("com.docker.stack.namespace", "s")], "swarm:s"),
            (&[("com.hashicorp.nomad.alloc_id", "1f")], "nomad:1f"),
            (&[("hythe.owner", "b")], "hythe:b"),
            (&[("hythe.owner", "b"), ("com.docker.compose.project", "shop")], "hythe:b"),
        ];
        for (pairs, expected) in table {
            let owner = Owner::of(&labels(pairs), "a");
            assert_eq!(owner.to_string(), *expected, "{pairs:?}");
            assert!(owner.is_foreign(), "{pairs:?}");
        }
    }

    #[test]
    fn every_manager_has_a_name_for_people() {
        let manager = |key: &str| {
            let owner = Owner::of(&labels(&[(key, "x"), ("other", "y")]), "a");
            owner.manager().map(|(tool, name)| (tool, name.to_owned()))
        };
        let table = [
            ("com.docker.compose.project", Some("Compose")),
            ("PODMAN_SYSTEMD_UNIT", Some("systemd")),
            ("io.kubernetes.pod.uid", Some("Kubernetes")),
            ("com.hashicorp.nomad.alloc_id", Some("Nomad")),
            ("com.docker.stack.namespace", Some("Swarm")),
            ("hythe.owner", Some("Hythe")),
            ("maintainer", None),
        ];
        for (key, tool) in table {
            assert_eq!(manager(key), tool.map(|tool| (tool, "x".to_owned())), "{key}");
            assert_eq!(is_managers(key), tool.is_some(), "{key}");
        }
        assert_eq!(Owner::of(&identity("a").labels(), "a").manager(), Some(("Hythe", "this agent")));
    }

    #[test]
    fn only_what_this_agent_made_and_labelled_in_full_is_not_foreign() {
        let mut own = identity("a").labels();
        assert_eq!(Owner::of(&own, "a"), Owner::Agent);
        assert!(!Owner::of(&own, "a").is_foreign());
        assert_eq!(Owner::of(&own, "b"), Owner::Other("a".to_owned()));
        own.remove(crate::identity::GENERATION);
        assert_eq!(Owner::of(&own, "a"), Owner::Other("a".to_owned()));
    }
}

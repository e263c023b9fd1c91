//! Who made an instance and looks after it, by the labels its maker left.

use std::fmt;

use super::{Compose, Labels, first};
use crate::Identity;
use crate::identity::OWNER;

const POD: &[&str] = &["io.kubernetes.pod.name", "io.podman.pod.name"];
const POD_NAMESPACE: &[&str] = &["io.kubernetes.pod.namespace"];
const SWARM_SERVICE: &[&str] = &["com.docker.swarm.service.name"];
/// Quadlet and `podman generate systemd` both write it, and nothing tells them apart.
const UNIT: &[&str] = &["PODMAN_SYSTEMD_UNIT"];

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
    /// A service of a Swarm.
    Swarm(String),
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
            .or_else(|| Compose::of(labels).map(|compose| Self::Compose(compose.project)))
            .or_else(|| named(UNIT, Self::Systemd))
            .unwrap_or(Self::None)
    }

    /// It is not this agent's, and never touched by it.
    pub fn is_foreign(&self) -> bool {
        *self != Self::Agent
    }
}

/// `hythe`, `hythe:<agent>`, `kubernetes:<pod>`, `compose:<project>`, `swarm:<service>`, `systemd:<unit>`, `none`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("hythe"),
            Self::Other(agent) => write!(f, "hythe:{agent}"),
            Self::Kubernetes(pod) => write!(f, "kubernetes:{pod}"),
            Self::Compose(project) => write!(f, "compose:{project}"),
            Self::Swarm(service) => write!(f, "swarm:{service}"),
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
            (&[("com.docker.swarm.service.name", "api"), ("com.docker.stack.namespace", "s")], "swarm:api"),
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
    fn only_what_this_agent_made_and_labelled_in_full_is_not_foreign() {
        let mut own = identity("a").labels();
        assert_eq!(Owner::of(&own, "a"), Owner::Agent);
        assert!(!Owner::of(&own, "a").is_foreign());
        assert_eq!(Owner::of(&own, "b"), Owner::Other("a".to_owned()));
        own.remove(crate::identity::GENERATION);
        assert_eq!(Owner::of(&own, "a"), Owner::Other("a".to_owned()));
    }
}

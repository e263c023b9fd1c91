//! Which Compose project and service an instance belongs to.

use serde::{Deserialize, Serialize};

use super::{Labels, first};

/// Docker Compose writes the first of each; podman-compose writes its own as well.
const PROJECT: &[&str] = &["com.docker.compose.project", "io.podman.compose.project"];
const SERVICE: &[&str] = &["com.docker.compose.service", "io.podman.compose.service"];
const NUMBER: &[&str] = &["com.docker.compose.container-number", "io.podman.compose.container-number"];

/// What Compose says of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compose {
    /// Project.
    pub project: String,
    /// Service; one-off and helper containers may have none.
    pub service: Option<String>,
    /// Number among the replicas of the service, from 1.
    pub number: Option<u32>,
}

impl Compose {
    /// What the labels say; `None`: Compose did not make it.
    pub fn of(labels: &Labels) -> Option<Self> {
        let project = first(labels, PROJECT)?.to_owned();
        let service = first(labels, SERVICE).map(str::to_owned);
        Some(Self { project, service, number: first(labels, NUMBER).and_then(|number| number.parse().ok()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::labels;

    #[test]
    fn compose_says_project_and_service() {
        let said = |pairs: &[(&str, &str)]| Compose::of(&labels(pairs)).map(|found| (found.project, found.service));
        let shop = |service: Option<&str>| Some(("shop".to_owned(), service.map(str::to_owned)));
        let docker = [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")];
        assert_eq!(said(&docker), shop(Some("web")));
        assert_eq!(said(&docker[..1]), shop(None));
        assert_eq!(
            said(&[("io.podman.compose.project", "shop"), ("io.podman.compose.service", "web")]),
            shop(Some("web"))
        );
        assert_eq!(said(&docker[1..]), None);
    }
}

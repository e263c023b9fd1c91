//! The name for people, unique among everything that runs at once.

use hythe_runtime::labels::{Labels, first};
use hythe_runtime::{Compose, Identity, Owner};

const POD_CONTAINER: &[&str] = &["io.kubernetes.container.name"];

/// `workload` for ours and `agent/workload` for another agent's, `project/service` (with `#n` for further replicas) for
/// Compose's, `namespace/pod/container` for Kubernetes', else the instance's own name.
pub(crate) fn display_name(labels: &Labels, name: &str, owner: &Owner) -> String {
    match owner {
        Owner::Agent | Owner::Other(_) => of_ours(labels, owner),
        Owner::Compose(_) => Compose::of(labels).and_then(|compose| of_compose(&compose)),
        Owner::Kubernetes(pod) => first(labels, POD_CONTAINER).map(|container| format!("{pod}/{container}")),
        Owner::Swarm(_) | Owner::Nomad(_) | Owner::Systemd(_) | Owner::None => None,
    }
    .unwrap_or_else(|| name.to_owned())
}

fn of_ours(labels: &Labels, owner: &Owner) -> Option<String> {
    let workload = Identity::from_labels(labels)?.workload();
    Some(match owner {
        Owner::Other(agent) => format!("{agent}/{workload}"),
        _ => workload,
    })
}

fn of_compose(compose: &Compose) -> Option<String> {
    let service = compose.service.as_ref()?;
    let name = format!("{}/{service}", compose.project);
    Some(match compose.number {
        Some(number) if number > 1 => format!("{name}#{number}"),
        _ => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::labels;

    fn shown(pairs: &[(&str, &str)]) -> String {
        let labels = labels(pairs);
        display_name(&labels, "container", &Owner::of(&labels, "a"))
    }

    #[test]
    fn services_of_two_projects_and_replicas_of_one_do_not_collide() {
        let compose = |project, number| {
            shown(&[
                ("com.docker.compose.project", project),
                ("com.docker.compose.service", "web"),
                ("com.docker.compose.container-number", number),
            ])
        };
        assert_eq!(
            [compose("shop", "1"), compose("blog", "1"), compose("shop", "2")],
            ["shop/web", "blog/web", "shop/web#2"]
        );
    }

    #[test]
    fn without_a_better_name_it_is_the_engines() {
        assert_eq!(shown(&[]), "container");
        assert_eq!(shown(&[("com.docker.compose.project", "shop")]), "container");
        assert_eq!(shown(&[("hythe.owner", "b")]), "container");
    }

    #[test]
    fn workloads_and_pods_have_their_names() {
        let identity = |owner: &str| Identity {
            owner: owner.to_owned(),
            service: "shop".to_owned(),
            component: "web".to_owned(),
            generation: 3,
            attempt: 1,
            plan_hash: String::new(),
        };
        let name = |owner| {
            let labels = identity(owner).labels();
            display_name(&labels, "shop-web-3-1", &Owner::of(&labels, "a"))
        };
        assert_eq!([name("a"), name("b")], ["shop-web", "b/shop-web"]);
        let pod = [
            ("io.kubernetes.pod.name", "p"),
            ("io.kubernetes.pod.namespace", "n"),
            ("io.kubernetes.container.name", "c"),
        ];
        assert_eq!(shown(&pod), "n/p/c");
    }
}

//! What the controller knows, in the words of the wire.

use std::net::IpAddr;

use hythe_controller::{DeployPlan, Report, RuntimeStatus, WorkloadState};
use hythe_runtime::{Capability, Support};
use hythe_store::{EventRecord, ExitRecord, InstanceRecord, OperationRecord, Phase};

/// A row of the list of workloads. Image and runtime are those of the instance that there is: after a rollback it is not the desired one.
pub(crate) fn workload(state: &WorkloadState) -> hythe_api::Workload {
    let (desired, observed) = (&state.desired, &state.observed);
    let current = observed.current.as_ref();
    let image = current.map_or(&desired.spec, |current| &current.spec).component.image.clone();
    let runtime = current.map_or(&desired.placement.runtime, |current| &current.runtime);
    hythe_api::Workload {
        name: desired.name.clone(),
        service: desired.service.clone(),
        component: desired.spec.component.name.clone(),
        runtime: runtime.clone(),
        image: image.to_string(),
        version: image.version().map(str::to_owned),
        restored_over: desired.restored_over.as_ref().map(ToString::to_string),
        generation: desired.generation,
        desired: desired.desired,
        state: observed.phase,
        health: observed.health,
        health_source: current.map(health_source).unwrap_or_default(),
        message: observed.message.clone(),
        instance: current.and_then(instance),
        ports: current.filter(|_| observed.phase == Phase::Running).map(ports).unwrap_or_default(),
        restarts: observed.restarts,
        failures: observed.failures,
        next_try: observed.next_try,
        exit: observed.exit.as_ref().map(exit),
        updated: observed.updated,
    }
}

fn health_source(instance: &InstanceRecord) -> hythe_api::HealthSource {
    match (&instance.spec.component.health, instance.health()) {
        (Some(_), _) => hythe_api::HealthSource::Component,
        (None, Some(_)) => hythe_api::HealthSource::Image,
        (None, None) => hythe_api::HealthSource::None,
    }
}

fn instance(record: &InstanceRecord) -> Option<hythe_api::Instance> {
    Some(hythe_api::Instance {
        id: record.id.clone()?,
        name: record.name.clone(),
        pid: record.pid,
        addresses: record.addresses.iter().map(|(network, address)| format!("{network}={address}")).collect(),
        started: record.started,
    })
}

fn ports(record: &InstanceRecord) -> Vec<hythe_api::PortBinding> {
    let everywhere = IpAddr::from([0, 0, 0, 0]);
    let binding = |port: &hythe_spec::Port| {
        Some(hythe_api::PortBinding {
            host_ip: port.host_ip.unwrap_or(everywhere).to_string(),
            host_port: port.host_port?,
            container_port: port.container_port,
            protocol: port.protocol,
        })
    };
    record.ports.iter().filter_map(binding).collect()
}

fn exit(record: &ExitRecord) -> hythe_api::Exit {
    hythe_api::Exit {
        code: record.code,
        signal: record.signal.map(|signal| hythe_spec::Signal(signal).to_string()),
        oom: record.oom,
        error: record.error.clone(),
        at: record.at,
        cause: record.cause.into(),
    }
}

/// A difference between desired and observed.
pub(crate) fn difference(found: hythe_controller::Difference) -> hythe_api::Difference {
    let hythe_controller::Difference { field, desired, observed, cause } = found;
    hythe_api::Difference { field, desired, observed, cause: cause.into() }
}

/// Why a workload is where it is.
pub(crate) fn placement(placement: &hythe_store::Placement) -> hythe_api::Placement {
    let rejected = placement.rejected.iter();
    hythe_api::Placement {
        runtime: placement.runtime.clone(),
        rejected: rejected
            .map(|rejection| hythe_api::Rejection {
                runtime: rejection.runtime.clone(),
                reasons: rejection.reasons.clone(),
            })
            .collect(),
    }
}

/// What a deploy does.
pub(crate) fn deploy(
    plan: &DeployPlan,
    outcome: hythe_api::DeployOutcome,
    operation: Option<String>,
    show_secrets: bool,
) -> hythe_api::Deploy {
    let component = |component: &hythe_controller::ComponentPlan| hythe_api::ComponentPlan {
        component: component.desired.spec.component.name.clone(),
        workload: component.desired.name.clone(),
        action: component.action.into(),
        generation: component.desired.generation,
        placement: Some(placement(&component.desired.placement)),
    };
    hythe_api::Deploy {
        service: plan.service.name.clone(),
        outcome,
        operation,
        components: plan.components.iter().map(component).collect(),
        changes: crate::masked::changes_unless(show_secrets, plan.changes.clone()),
        warnings: Vec::new(),
    }
}

/// An operation.
pub(crate) fn operation(record: &OperationRecord) -> hythe_api::Operation {
    hythe_api::Operation {
        id: record.id.clone(),
        kind: record.kind.clone(),
        subject: record.subject.clone(),
        state: record.state,
        started: record.started,
        finished: record.finished,
        error: record.error.as_ref().map(crate::error::stored_problem),
        result: record.result.clone(),
    }
}

/// A report of an operation.
pub(crate) fn progress(report: Report) -> hythe_api::Progress {
    hythe_api::Progress {
        workload: report.workload,
        phase: report.phase.into(),
        item: report.item,
        message: report.message,
        current: report.current,
        total: report.total,
    }
}

/// An event.
pub(crate) fn event(record: EventRecord) -> hythe_api::Event {
    let event = record.event;
    hythe_api::Event {
        cursor: record.cursor,
        time: event.time,
        runtime: event.runtime,
        service: event.service,
        workload: event.workload,
        kind: event.kind,
        message: event.message,
        details: event.details,
    }
}

/// A runtime with what it can do.
pub(crate) fn runtime(status: &RuntimeStatus, facets: Vec<String>, warnings: Vec<String>) -> hythe_api::Runtime {
    let table = status.capability.iter().flat_map(|capability| capability.table().collect::<Vec<_>>());
    let features = table.map(|(feature, support)| {
        let reason = match support {
            Support::Yes => None,
            Support::No { reason } => Some(reason),
        };
        hythe_api::FeatureSupport {
            feature: serde_json::to_value(feature)
                .ok()
                .and_then(|name| name.as_str().map(str::to_owned))
                .unwrap_or_default(),
            description: feature.describe().to_owned(),
            supported: reason.is_none(),
            reason,
        }
    });
    let info = status.info.as_ref();
    hythe_api::Runtime {
        name: status.name.clone(),
        kind: status.kind,
        healthy: status.error.is_none(),
        error: status.error.clone(),
        endpoint: info.map(|info| info.endpoint.clone()),
        engine: info.map(|info| info.engine.clone()),
        version: info.map(|info| info.version.clone()),
        rootless: info.is_some_and(|info| info.rootless),
        isolation: status.capability.as_ref().map(Capability::isolation),
        warnings,
        facets,
        features: features.collect(),
    }
}

#[cfg(test)]
mod tests {
    use hythe_spec::Component;
    use hythe_store::{ComponentSpec, Desired, DesiredRecord, ObservedRecord};
    use jiff::Timestamp;

    use super::*;

    fn spec(image: &str) -> ComponentSpec {
        let component = Component::new("web", image.parse().expect("a reference"));
        ComponentSpec { component, labels: std::collections::BTreeMap::new(), hash: image.to_owned() }
    }

    #[test]
    fn image_and_runtime_are_those_of_what_runs_not_of_what_failed() {
        let desired = DesiredRecord::new("shop", spec("web:2"), 2, Desired::Running, "docker");
        let mut observed = ObservedRecord::new(Timestamp::UNIX_EPOCH);
        let row = |observed: &ObservedRecord| {
            let row = workload(&WorkloadState { desired: desired.clone(), observed: observed.clone() });
            (row.image, row.version.unwrap_or_default(), row.runtime)
        };
        let shown = |image: &str, version: &str, runtime: &str| (image.into(), version.into(), runtime.into());
        assert_eq!(row(&observed), shown("docker.io/library/web:2", "2", "docker"));
        let name = "shop-web-1-1".to_owned();
        observed.current = Some(InstanceRecord::pending("podman", name, spec("web:1"), 1, 1));
        observed.rolled_back_from = Some(2);
        assert_eq!(row(&observed), shown("docker.io/library/web:1", "1", "podman"));
    }
}

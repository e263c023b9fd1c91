//! What the controller knows, in the words of the wire.

use std::net::IpAddr;

use hythe_controller::{Cell, DeployPlan, Report, RuntimeStatus};
use hythe_runtime::Support;
use hythe_store::{
    Desired, EventRecord, ExitRecord, HealthState, InstanceRecord, OperationRecord, OperationState, Phase,
};

/// A row of the list of workloads.
pub(crate) fn workload(cell: &Cell) -> hythe_api::Workload {
    let (desired, observed) = (&cell.desired, &cell.observed);
    let image = &desired.recipe.component.image;
    hythe_api::Workload {
        name: desired.name.clone(),
        service: desired.service.clone(),
        component: desired.recipe.component.name.clone(),
        runtime: desired.placement.runtime.clone(),
        image: image.to_string(),
        version: image.version().map(str::to_owned),
        generation: desired.generation,
        desired: wanted(desired.desired),
        state: state(observed.phase),
        health: health(observed.health),
        message: observed.message.clone(),
        instance: observed.current.as_ref().and_then(instance),
        ports: observed.current.as_ref().filter(|_| observed.phase == Phase::Running).map(ports).unwrap_or_default(),
        restarts: observed.restarts,
        failures: observed.failures,
        next_try: observed.next_try,
        exit: observed.exit.as_ref().map(exit),
        updated: observed.updated,
    }
}

const fn wanted(desired: Desired) -> hythe_api::Desired {
    match desired {
        Desired::Running => hythe_api::Desired::Running,
        Desired::Stopped => hythe_api::Desired::Stopped,
        Desired::Removed => hythe_api::Desired::Removed,
    }
}

const fn state(phase: Phase) -> hythe_api::WorkloadState {
    use hythe_api::WorkloadState as State;
    match phase {
        Phase::Pending => State::Pending,
        Phase::Pulling => State::Pulling,
        Phase::Starting => State::Starting,
        Phase::Running => State::Running,
        Phase::Paused => State::Paused,
        Phase::Stopping => State::Stopping,
        Phase::Stopped => State::Stopped,
        Phase::Completed => State::Completed,
        Phase::Restarting => State::Restarting,
        Phase::Failed => State::Failed,
        Phase::Removing => State::Removing,
        Phase::Unknown => State::Unknown,
    }
}

const fn health(health: HealthState) -> hythe_api::HealthState {
    match health {
        HealthState::None => hythe_api::HealthState::None,
        HealthState::Starting => hythe_api::HealthState::Starting,
        HealthState::Healthy => hythe_api::HealthState::Healthy,
        HealthState::Unhealthy => hythe_api::HealthState::Unhealthy,
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
        cause: record.cause.as_str().to_owned(),
    }
}

/// A difference between desired and observed.
pub(crate) fn difference(found: hythe_controller::Difference) -> hythe_api::Difference {
    let hythe_controller::Difference { field, desired, observed, cause } = found;
    hythe_api::Difference { field, desired, observed, cause: self::cause(cause) }
}

const fn cause(cause: hythe_controller::Cause) -> hythe_api::Cause {
    use hythe_api::Cause as Told;
    use hythe_controller::Cause;
    match cause {
        Cause::ChangedByHand => Told::ChangedByHand,
        Cause::ImageMoved => Told::ImageMoved,
        Cause::Missing => Told::Missing,
        Cause::Stopped => Told::Stopped,
        Cause::Paused => Told::Paused,
        Cause::Renamed => Told::Renamed,
        Cause::Extra => Told::Extra,
        Cause::RolledBack => Told::RolledBack,
        Cause::NotYet => Told::NotYet,
        Cause::Unreachable => Told::Unreachable,
    }
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
) -> hythe_api::Deploy {
    let component = |component: &hythe_controller::ComponentPlan| hythe_api::ComponentPlan {
        component: component.desired.recipe.component.name.clone(),
        workload: component.desired.name.clone(),
        action: component.action.as_str().to_owned(),
        generation: component.desired.generation,
        placement: Some(placement(&component.desired.placement)),
    };
    hythe_api::Deploy {
        service: plan.service.name.clone(),
        outcome,
        operation,
        components: plan.components.iter().map(component).collect(),
        changes: plan.changes.clone(),
        warnings: Vec::new(),
    }
}

/// An operation.
pub(crate) fn operation(record: &OperationRecord) -> hythe_api::Operation {
    use hythe_api::{OperationKind as Kind, OperationState as State};
    let kind = match record.kind.as_str() {
        "stop" => Kind::Stop,
        "start" => Kind::Start,
        "restart" => Kind::Restart,
        "undeploy" => Kind::Undeploy,
        "pull" => Kind::Pull,
        "push" => Kind::Push,
        "build" => Kind::Build,
        "snapshot" => Kind::Snapshot,
        _ => Kind::Deploy,
    };
    let state = match record.state {
        OperationState::Running => State::Running,
        OperationState::Succeeded => State::Succeeded,
        OperationState::Failed => State::Failed,
        OperationState::Cancelled => State::Cancelled,
    };
    hythe_api::Operation {
        id: record.id.clone(),
        kind,
        subject: record.subject.clone(),
        state,
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
        phase: report.phase.to_owned(),
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
        warnings,
        facets,
        features: features.collect(),
    }
}

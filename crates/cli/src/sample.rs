//! Values for tests.

use hythe_api::{Desired, HealthSource, HealthState, Workload, WorkloadState};

pub(crate) fn workload(service: &str, component: &str) -> Workload {
    Workload {
        name: hythe_spec::service::workload_name(service, component),
        service: service.into(),
        component: component.into(),
        runtime: "podman".into(),
        image: "docker.io/library/alpine:3".into(),
        version: Some("3".into()),
        restored_over: None,
        generation: 1,
        desired: Desired::Running,
        state: WorkloadState::Running,
        health: HealthState::None,
        health_source: HealthSource::None,
        message: None,
        instance: None,
        ports: Vec::new(),
        restarts: 0,
        failures: 0,
        next_try: None,
        exit: None,
        updated: jiff::Timestamp::UNIX_EPOCH,
    }
}

//! Runtimes of the agent.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hythe_controller::RuntimeStatus;
use hythe_runtime::{OpContext, Runtime};

use crate::{App, view};

const PROBE: Duration = Duration::from_secs(5);

/// Every runtime, each asked now whether it works.
pub(crate) async fn list(State(app): State<App>) -> Json<Vec<hythe_api::Runtime>> {
    app.controller.runtimes().tried().await;
    let rows = app.controller.runtimes().status().into_iter().map(|status| probed(&app, status));
    Json(futures_util::future::join_all(rows).await)
}

async fn probed(app: &App, mut status: RuntimeStatus) -> hythe_api::Runtime {
    let Ok(runtime) = app.controller.runtimes().get(&status.name) else {
        return view::runtime(&status, Vec::new(), Vec::new());
    };
    let warnings = match runtime.probe(&OpContext::new("runtimes").within(PROBE)).await {
        Ok(health) => health.warnings,
        Err(error) => {
            status.error = Some(error.message().to_owned());
            Vec::new()
        }
    };
    view::runtime(&status, facets(runtime.as_ref()), warnings)
}

fn facets(runtime: &dyn Runtime) -> Vec<String> {
    let has = [
        ("images", runtime.images().is_some()),
        ("logs", runtime.logs().is_some()),
        ("exec", runtime.exec().is_some()),
        ("stats", runtime.stats().is_some()),
        ("networks", runtime.networks().is_some()),
        ("volumes", runtime.volumes().is_some()),
        ("snapshots", runtime.snapshots().is_some()),
    ];
    has.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}

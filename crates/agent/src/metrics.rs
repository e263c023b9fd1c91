//! Numbers in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;

use hythe_controller::WorkloadState;

use crate::App;

/// The whole page.
pub(crate) fn render(app: &App) -> String {
    let mut page = String::new();
    runtimes(app, &mut page);
    workloads(app, &mut page);
    let (_, newest) = app.controller.events().bounds().unwrap_or_default();
    metric(
        &mut page,
        "hythe_events_total",
        "counter",
        "events appended since the store was made",
        &[("", newest as f64)],
    );
    let degraded = f64::from(u8::from(!app.controller.health(!app.config.runtimes.is_empty()).is_empty()));
    metric(&mut page, "hythe_degraded", "gauge", "1 where `/healthz` has reasons", &[("", degraded)]);
    let alerts = app.alerts.all().map(|(outcome, count)| (format!("{{outcome=\"{outcome}\"}}"), count));
    let alerts: Vec<(&str, f64)> = alerts.iter().map(|(label, count)| (label.as_str(), *count as f64)).collect();
    metric(&mut page, "hythe_alerts_total", "counter", "alerts since the agent started", &alerts);
    let uptime = app.controller.now().duration_since(app.started).as_secs_f64();
    metric(&mut page, "hythe_uptime_seconds", "gauge", "time since the agent started", &[("", uptime)]);
    let memory = resident_bytes().unwrap_or_default() as f64;
    metric(&mut page, "process_resident_memory_bytes", "gauge", "resident memory of the agent", &[("", memory)]);
    page
}

fn runtimes(app: &App, page: &mut String) {
    let rows: Vec<(String, f64)> = app
        .controller
        .runtimes()
        .status()
        .iter()
        .map(|runtime| (format!("{{runtime=\"{}\"}}", runtime.name), f64::from(u8::from(runtime.error.is_none()))))
        .collect();
    let rows: Vec<(&str, f64)> = rows.iter().map(|(label, value)| (label.as_str(), *value)).collect();
    metric(page, "hythe_runtime_up", "gauge", "1 where the runtime answers", &rows);
}

fn workloads(app: &App, page: &mut String) {
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let mut restarts = 0.0;
    let read = |state: &WorkloadState| {
        let phase = serde_json::to_value(state.observed.phase).unwrap_or_default();
        let label = format!("{{runtime=\"{}\",state={phase}}}", state.desired.placement.runtime);
        (label, f64::from(state.observed.restarts))
    };
    for (label, restarted) in app.controller.each_workload(read) {
        *counts.entry(label).or_default() += 1.0;
        restarts += restarted;
    }
    let rows: Vec<(&str, f64)> = counts.iter().map(|(label, count)| (label.as_str(), *count)).collect();
    metric(page, "hythe_workloads", "gauge", "workloads by state", &rows);
    metric(page, "hythe_restarts", "gauge", "restarts by the agent in the current generations", &[("", restarts)]);
}

fn metric(page: &mut String, name: &str, kind: &str, help: &str, rows: &[(&str, f64)]) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (label, value) in rows {
        let _ = writeln!(page, "{name}{label} {value}");
    }
}

/// `VmRSS` of `proc_pid_status(5)`, which is in KiB.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

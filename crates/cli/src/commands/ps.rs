//! `hythe ps`: one row for each workload.

use hythe_api::{Workload, WorkloadState};
use jiff::Timestamp;

use super::connect;
use crate::args::Ps;
use crate::format;
use crate::output::{self, Cell, Printer};
use crate::report::Outcome;
use crate::target;

const HEAD: [&str; 8] = ["NAME", "STATE", "HEALTH", "RUNTIME", "IMAGE", "PORTS", "UPTIME", "RESTARTS"];

pub(super) async fn run(args: Ps, printer: Printer<'_>) -> Outcome {
    let mut workloads = connect(printer).await?.workloads().await?;
    let named = target::all_named(&args.targets, &workloads)?;
    workloads.retain(|workload| {
        is_wanted(workload, &args) && named.as_ref().is_none_or(|named| named.contains(&workload.name))
    });
    let now = hythe_host::now();
    printer.list(&workloads, &HEAD, |workload| row(workload, now))
}

/// What is at rest as desired is not shown; what has failed always is.
fn is_wanted(workload: &Workload, args: &Ps) -> bool {
    let at_rest = matches!(workload.state, WorkloadState::Stopped | WorkloadState::Completed);
    (args.all || !at_rest) && args.service.as_ref().is_none_or(|service| *service == workload.service)
}

fn row(workload: &Workload, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::new(&workload.name),
        output::state(workload),
        output::health(workload),
        Cell::new(&workload.runtime),
        Cell::new(format::image(&workload.image)),
        Cell::new(format::ports(&workload.ports)),
        Cell::new(format::uptime(workload, now)),
        Cell::new(workload.restarts),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::workload;

    fn shown(state: WorkloadState, all: bool, service: Option<&str>) -> bool {
        let args = Ps { targets: Vec::new(), all, service: service.map(str::to_owned) };
        is_wanted(&Workload { state, ..workload("shop", "web") }, &args)
    }

    #[test]
    fn failures_are_shown_and_rest_is_not_unless_asked_for() {
        assert!(shown(WorkloadState::Failed, false, None));
        assert!(!shown(WorkloadState::Stopped, false, None));
        assert!(shown(WorkloadState::Completed, true, Some("shop")));
        assert!(!shown(WorkloadState::Running, true, Some("blog")));
    }
}

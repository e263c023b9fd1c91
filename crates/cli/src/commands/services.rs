//! `hythe services`: one row for each service.

use super::connect;
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::Outcome;

pub(super) async fn run(printer: Printer<'_>) -> Outcome {
    let services = connect(printer).await?.services().await?;
    let now = hythe_host::now();
    printer.list(&services, &["NAME", "ACTIVE", "RUNNING", "CHANGED"], |service| {
        vec![
            Cell::new(&service.name),
            Cell::new(if service.active { "yes" } else { "no" }),
            Cell::new(format_args!("{}/{}", service.running, service.components)),
            Cell::new(format_args!("{} ago", format::age(service.updated, now))),
        ]
    })
}

//! `hythe services`: one row for each service.

use comfy_table::Cell;
use jiff::Timestamp;

use super::connect;
use crate::output::Printer;
use crate::report::Outcome;
use crate::words;

pub(super) async fn run(printer: Printer<'_>) -> Outcome {
    let services = connect(printer).await?.services().await?;
    let now = Timestamp::now();
    printer.list(&services, &["NAME", "ACTIVE", "RUNNING", "CHANGED"], |service| {
        vec![
            Cell::new(&service.name),
            Cell::new(if service.active { "yes" } else { "no" }),
            Cell::new(format_args!("{}/{}", service.running, service.components)),
            Cell::new(format_args!("{} ago", words::age(service.updated, now))),
        ]
    })
}

//! `hythe inspect`: everything about one workload. It is a document, so it is printed as one.

use hythe_api::SecretsQuery;

use super::connect;
use crate::args::Inspect;
use crate::output::Printer;
use crate::report::Outcome;
use crate::target;

pub(super) async fn run(args: Inspect, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let workloads = client.workloads().await?;
    let workload = target::one(&args.workload, &workloads)?;
    let query = SecretsQuery { show_secrets: args.show_secrets };
    printer.json(&client.workload(&workload.name, &query).await?)
}

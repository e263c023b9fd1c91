//! `hythe stats`: resource use now.

use std::time::Duration;

use futures_util::future::try_join_all;
use hythe_api::{Stats, Workload, WorkloadState};
use hythe_client::{Client, ClientError};

use super::connect;
use crate::args;
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::Outcome;
use crate::target;

const HEAD: [&str; 8] = ["NAME", "CPU", "MEMORY", "LIMIT", "PIDS", "NET RX / TX", "BLOCK READ / WRITE", "CPU TIME"];
/// Processor use is a difference: where the agent has no sample yet, two are taken so far apart.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(500);

pub(super) async fn run(args: args::Stats, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let workloads = client.workloads().await?;
    let names = wanted(&args.targets, &workloads)?;
    let all = try_join_all(names.iter().map(|name| sample(&client, name))).await?;
    match all.as_slice() {
        [only] if printer.settings.json && args.targets.len() == 1 => printer.json(only),
        all => printer.list(all, &HEAD, row),
    }
}

fn wanted<'a>(targets: &[String], workloads: &'a [Workload]) -> Outcome<Vec<&'a str>> {
    if targets.is_empty() {
        let running = workloads.iter().filter(|workload| workload.state == WorkloadState::Running);
        return Ok(running.map(|workload| workload.name.as_str()).collect());
    }
    let mut names = Vec::new();
    for text in targets {
        names.extend(target::many(text, workloads)?.into_iter().map(|workload| workload.name.as_str()));
    }
    Ok(names)
}

async fn sample(client: &Client, name: &str) -> Result<Stats, ClientError> {
    let first = client.stats(name).await?;
    if first.cpu_millicores.is_some() {
        return Ok(first);
    }
    tokio::time::sleep(BETWEEN_SAMPLES).await;
    client.stats(name).await
}

fn row(stats: &Stats) -> Vec<Cell> {
    let bytes = |amount: Option<u64>| amount.map_or_else(nothing, format::bytes);
    vec![
        Cell::new(&stats.workload),
        Cell::new(
            stats.cpu_millicores.map_or_else(nothing, |millicores| format!("{}.{}%", millicores / 10, millicores % 10)),
        ),
        Cell::new(format::bytes(stats.memory_bytes)),
        Cell::new(bytes(stats.memory_limit)),
        Cell::new(stats.pids.map_or_else(nothing, |pids| pids.to_string())),
        Cell::new(format_args!("{} / {}", bytes(stats.network_rx_bytes), bytes(stats.network_tx_bytes))),
        Cell::new(format_args!("{} / {}", bytes(stats.block_read_bytes), bytes(stats.block_write_bytes))),
        Cell::new(hythe_spec::Millis(stats.cpu_nanos / 1_000_000)),
    ]
}

fn nothing() -> String {
    format::NOTHING.to_owned()
}

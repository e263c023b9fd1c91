//! `hythe logs`: what workloads wrote, byte for byte, each stream to its own.

mod merge;
mod time;
mod writer;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use hythe_api::{LogLine, LogQuery, Workload};
use hythe_client::{Client, ClientError, Items};
use jiff::Timestamp;

use super::connect;
use crate::args::Logs;
use crate::output::Printer;
use crate::report::Outcome;
use crate::target;
use writer::{Look, Writer};

/// So many lines are written before the terminal sees them, when more are ready at once.
const BATCH: usize = 512;

/// A line and which of the workloads wrote it.
type Tagged = (usize, LogLine);

pub(super) async fn run(args: Logs, printer: Printer<'_>) -> Outcome {
    let query = query(&args)?;
    let client = connect(printer).await?;
    let workloads = client.workloads().await?;
    let (names, sources) = open(&client, names(&args.targets, &workloads)?, &query, printer).await?;
    let look = Look { timestamps: args.timestamps, json: printer.settings.json, color: printer.settings.color_stdout };
    let writer = Writer::new(names, look);
    if query.follow { print(as_they_come(sources), writer).await } else { print(merge::by_time(sources), writer).await }
}

/// Logs of all of them; of several, one that has not been started yet is passed over.
async fn open(
    client: &Client,
    wanted: Vec<String>,
    query: &LogQuery,
    printer: Printer<'_>,
) -> Outcome<(Vec<String>, Vec<Items<LogLine>>)> {
    let (mut names, mut sources) = (Vec::new(), Vec::new());
    let several = wanted.len() > 1;
    for name in wanted {
        match client.logs(&name, query).await {
            Ok(lines) => sources.push(lines),
            Err(error) if several && error.is_not_found() => {
                printer.warn(&error);
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        names.push(name);
    }
    Ok((names, sources))
}

/// All lines of one workload, without their line feeds.
pub(super) async fn collect(client: &Client, workload: &str, query: &LogQuery) -> Result<Vec<Vec<u8>>, ClientError> {
    let lines = client.logs(workload, query).await?;
    lines.map_ok(|line| writer::bytes(&line)).try_collect().await
}

fn query(args: &Logs) -> Outcome<LogQuery> {
    let now = Timestamp::now();
    let moment = |text: &Option<String>| text.as_deref().map(|text| time::moment(text, now)).transpose();
    Ok(LogQuery { tail: args.tail, since: moment(&args.since)?, until: moment(&args.until)?, follow: args.follow })
}

/// Names of the workloads meant, each once, in the order named.
fn names(targets: &[String], workloads: &[Workload]) -> Outcome<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for text in targets {
        for workload in target::many(text, workloads)? {
            if !names.contains(&workload.name) {
                names.push(workload.name.clone());
            }
        }
    }
    Ok(names)
}

fn as_they_come(sources: Vec<Items<LogLine>>) -> stream::BoxStream<'static, Result<Tagged, ClientError>> {
    let tagged =
        sources.into_iter().enumerate().map(|(source, lines)| lines.map_ok(move |line| (source, line)).boxed());
    stream::select_all(tagged).boxed()
}

async fn print(lines: stream::BoxStream<'_, Result<Tagged, ClientError>>, mut writer: Writer) -> Outcome {
    let mut batches = lines.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        for line in batch {
            let (source, line) = line.inspect_err(|_| drop(writer.flush()))?;
            writer.write(source, &line)?;
        }
        writer.flush()?;
    }
    Ok(())
}

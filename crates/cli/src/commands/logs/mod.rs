//! `hythe logs`: what workloads wrote, byte for byte, each stream to its own. A terminal is shown control characters escaped.

mod follow;
mod merge;
mod time;
mod writer;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hythe_api::event::EventQuery;
use hythe_api::{EventKind, LogLine, LogQuery, StdStream, Workload};
use hythe_client::{Client, ClientError, Items};
use jiff::Timestamp;

use super::connect;
use crate::args::Logs;
use crate::output::Printer;
use crate::report::Outcome;
use crate::target;
use follow::{Came, follow};
use writer::{Look, Shown, Writer};

/// Events that say that a run is over.
const ENDS: [EventKind; 4] = [EventKind::Exited, EventKind::Stopped, EventKind::Completed, EventKind::Failed];

/// What came and which of the workloads wrote it.
type Tagged = (usize, Came);

/// A line and which of the workloads wrote it.
type Line = (usize, LogLine);

pub(super) async fn run(args: Logs, printer: Printer<'_>) -> Outcome {
    let query = query(&args)?;
    let client = connect(printer).await?;
    let workloads = client.workloads().await?;
    let wanted = target::all_named(&args.targets, &workloads)?.unwrap_or_default();
    if args.previous {
        return previous(&client, wanted, &workloads, &query, look(&args, printer), printer).await;
    }
    let (names, sources) = open(&client, wanted, &query, printer).await?;
    let lines = match query.follow {
        true => as_they_come(&client, &names, &workloads, sources, &query),
        false => lines_of(sources),
    };
    print(lines, Writer::new(names, look(&args, printer)), printer).await
}

fn look(args: &Logs, printer: Printer<'_>) -> Look {
    let settings = printer.settings;
    let shown = |is_terminal, color| Shown { escaped: is_terminal && !args.raw, color };
    Look {
        timestamps: args.timestamps,
        json: settings.json,
        stdout: shown(settings.stdout_is_terminal, settings.color_stdout),
        stderr: shown(settings.stderr_is_terminal, settings.color_stderr),
    }
}

/// What the instances that are there wrote before their last start.
async fn previous(
    client: &Client,
    names: Vec<String>,
    workloads: &[Workload],
    query: &LogQuery,
    look: Look,
    printer: Printer<'_>,
) -> Outcome {
    let mut sources = Vec::new();
    for name in &names {
        let known = workloads.iter().find(|workload| workload.name == *name);
        let started = known.and_then(|workload| workload.instance.as_ref()).and_then(|instance| instance.started);
        let until = query.until.into_iter().chain(last_end(client, name, started).await?.or(started)).min();
        sources.push(client.logs(name, &LogQuery { until, ..query.clone() }).await?);
    }
    print(lines_of(sources), Writer::new(names, look), printer).await
}

/// When the run before this start ended. An engine may say that a run started a little after its first lines.
async fn last_end(
    client: &Client,
    workload: &str,
    started: Option<Timestamp>,
) -> Result<Option<Timestamp>, ClientError> {
    let query = EventQuery { workload: Some(workload.to_owned()), ..EventQuery::default() };
    let events = client.events(&query).await?;
    let ends = events.iter().filter(|event| ENDS.iter().any(|kind| event.kind == *kind));
    Ok(ends.map(|event| event.time).filter(|time| started.is_some_and(|started| *time < started)).max())
}

fn lines_of(sources: Vec<Items<LogLine>>) -> stream::BoxStream<'static, Result<Tagged, ClientError>> {
    merge::by_time(sources).map_ok(|(source, line)| (source, Came::Line(line))).boxed()
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

/// All lines of one workload, without their line feeds; of a line in parts the first part.
pub(super) async fn collect(client: &Client, workload: &str, query: &LogQuery) -> Result<Vec<Vec<u8>>, ClientError> {
    let mut parts = client.logs(workload, query).await?;
    let (mut lines, mut goes_on) = (Vec::new(), [false; 2]);
    while let Some(part) = parts.try_next().await? {
        let stream = &mut goes_on[usize::from(part.stream == StdStream::Stderr)];
        if !std::mem::replace(stream, part.partial) {
            lines.push(writer::bytes(&part));
        }
    }
    Ok(lines)
}

fn query(args: &Logs) -> Outcome<LogQuery> {
    let now = hythe_host::now();
    let moment = |text: &Option<String>| text.as_deref().map(|text| time::moment(text, now)).transpose();
    Ok(LogQuery { tail: args.tail, since: moment(&args.since)?, until: moment(&args.until)?, follow: args.follow })
}

fn as_they_come(
    client: &Client,
    names: &[String],
    workloads: &[Workload],
    sources: Vec<Items<LogLine>>,
    query: &LogQuery,
) -> stream::BoxStream<'static, Result<Tagged, ClientError>> {
    let known = |name: &String| workloads.iter().find(|workload| workload.name == *name);
    let followed = names.iter().zip(sources).enumerate().map(|(source, (name, lines))| {
        let came = match known(name) {
            Some(workload) => follow(client.clone(), workload, query.clone(), lines),
            None => lines.map_ok(Came::Line).boxed(),
        };
        came.map_ok(move |came| (source, came)).boxed()
    });
    stream::select_all(followed).boxed()
}

/// Lines that are ready at once are seen at once; none waits for another in memory, since each may be long.
async fn print(
    mut lines: stream::BoxStream<'_, Result<Tagged, ClientError>>,
    mut writer: Writer,
    printer: Printer<'_>,
) -> Outcome {
    loop {
        let next = match lines.next().now_or_never() {
            Some(next) => next,
            None => {
                writer.flush()?;
                lines.next().await
            }
        };
        match next {
            Some(Ok((source, Came::Line(line)))) => {
                if line.after_gap {
                    writer.flush()?;
                    printer.talk(format!("`{}`: earlier lines are missing: its log was rotated", writer.name(source)));
                }
                writer.write(source, &line)?;
            }
            Some(Ok((_, Came::Again(words)))) => {
                writer.flush()?;
                printer.talk(words);
            }
            Some(Err(error)) => {
                drop(writer.flush());
                return Err(error.into());
            }
            None => return Ok(writer.flush()?),
        }
    }
}

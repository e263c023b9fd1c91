//! `hythe instances`: everything that runs on this host, managed by Hythe or not, and what changes.

use futures_util::StreamExt;
use hythe_api::{FoundInstance, InstanceChange, InstanceEvent, InstanceQuery, InstanceSnapshot, PortBinding};
use hythe_client::Client;
use jiff::Timestamp;

use super::connect;
use crate::args::Instances;
use crate::escape::{Allow, escape};
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::Outcome;

const HEAD: [&str; 8] = ["NAME", "RUNTIME", "STATE", "OWNER", "IMAGE", "PORTS", "NETWORKS", "UP"];

pub(super) async fn run(args: Instances, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let Instances { all, follow, runtime, foreign, show_secrets } = args;
    let query = InstanceQuery { all, foreign, runtime, follow, show_secrets };
    if query.follow {
        return self::follow(&client, &query, printer).await;
    }
    let mut snapshot = client.instances(&query).await?;
    if printer.settings.json {
        return printer.json(&snapshot);
    }
    warn(&snapshot, printer);
    snapshot.instances.sort_by(|a, b| (&a.display_name, &a.runtime).cmp(&(&b.display_name, &b.runtime)));
    let now = hythe_host::now();
    printer.table(&HEAD, snapshot.instances.iter().map(|found| row(found, now)).collect())
}

/// What is not shown because nobody could say.
fn warn(snapshot: &InstanceSnapshot, printer: Printer<'_>) {
    for runtime in snapshot.runtimes.iter().filter(|runtime| !runtime.connected) {
        let reason = runtime.error.as_deref().unwrap_or("not connected");
        printer.warn(format!("runtime `{}` is not shown: {reason}", runtime.name));
    }
}

async fn follow(client: &Client, query: &InstanceQuery, printer: Printer<'_>) -> Outcome {
    let mut events = client.follow_instances(query).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if printer.settings.json {
            printer.json_line(&event)?;
        } else {
            printer.data(lines(&event))?;
        }
    }
    Ok(())
}

fn row(found: &FoundInstance, now: Timestamp) -> Vec<Cell> {
    let live = found.started.filter(|_| found.exit_code.is_none());
    vec![
        Cell::new(&found.display_name),
        Cell::new(&found.runtime),
        Cell::new(state(found)),
        Cell::new(&found.owner),
        Cell::new(format::image(&found.image)),
        Cell::new(ports(found)),
        Cell::new(or_nothing(
            found.networks.iter().map(|network| network.name.as_str()).collect::<Vec<_>>().join(", "),
        )),
        Cell::new(live.map_or_else(|| format::NOTHING.to_owned(), |started| format::age(started, now))),
    ]
}

/// Its state, with the engine's own verdict or the exit code.
fn state(found: &FoundInstance) -> String {
    let state = format::of(&found.state);
    match (&found.health, found.exit_code) {
        (Some(health), _) => format!("{state} ({health})"),
        (None, Some(code)) => format!("{state} ({code})"),
        (None, None) => state,
    }
}

fn ports(found: &FoundInstance) -> String {
    let bindings: Vec<PortBinding> = found
        .ports
        .iter()
        .map(|port| PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: port.protocol,
        })
        .collect();
    format::ports(&bindings)
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { format::NOTHING.to_owned() } else { text }
}

/// A snapshot is a line for each instance and each runtime that does not answer; everything else is one line.
fn lines(event: &InstanceEvent) -> String {
    let time = event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let line = |kind: &str, runtime: &str, name: &str, text: &str| {
        let line = format!("{time}  {kind:12}  {runtime:10}  {name:24}  {text}");
        escape(line.trim_end(), Allow::Nothing) + "\n"
    };
    let about = |kind: &str, found: &FoundInstance, text: &str| line(kind, &found.runtime, &found.display_name, text);
    match &event.change {
        InstanceChange::Snapshot(snapshot) => {
            let down = snapshot.runtimes.iter().filter(|runtime| !runtime.connected);
            let down = down.map(|runtime| {
                line("disconnected", &runtime.name, format::NOTHING, runtime.error.as_deref().unwrap_or_default())
            });
            down.chain(snapshot.instances.iter().map(|found| about("there", found, &state(found)))).collect()
        }
        InstanceChange::Stopped { instance, signal, oom } => {
            about("stopped", instance, &end(instance, signal.as_deref(), *oom))
        }
        InstanceChange::Updated { instance, what } => about("updated", instance, what),
        InstanceChange::Created { instance }
        | InstanceChange::Started { instance }
        | InstanceChange::Removed { instance } => about(event.change.kind(), instance, &format::image(&instance.image)),
        InstanceChange::RuntimeDisconnected { runtime, reason } => {
            line("disconnected", runtime, format::NOTHING, reason)
        }
        InstanceChange::RuntimeReconnected { runtime } => line("reconnected", runtime, format::NOTHING, ""),
        InstanceChange::Gap { missed } => line(
            "gap",
            format::NOTHING,
            format::NOTHING,
            &format!("{missed} changes were missed; what there is now follows"),
        ),
    }
}

/// The cause of death, as far as it is known.
fn end(found: &FoundInstance, signal: Option<&str>, oom: bool) -> String {
    match (oom, signal, found.exit_code) {
        (true, ..) => "OOM-killed".to_owned(),
        (false, Some(signal), _) => signal.to_owned(),
        (false, None, Some(code)) => format!("exit {code}"),
        (false, None, None) => String::new(),
    }
}

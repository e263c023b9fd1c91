//! `hythe snapshot`: files of workloads, kept as images.

use std::fmt::Write;

use hythe_api::{
    CreateSnapshot, Operation, RestoreSnapshot, RuntimeQuery, Snapshot, SnapshotDetail, SnapshotMount, SnapshotQuery,
};
use hythe_client::Client;
use jiff::Timestamp;

use super::connect;
use crate::args::{self, SnapshotCommand};
use crate::output::{Cell, Printer};
use crate::progress;
use crate::report::{Failure, Outcome};
use crate::{format, target};

const HEAD: [&str; 6] = ["SNAPSHOT", "WORKLOAD", "RUNTIME", "GENERATION", "SIZE", "CREATED"];

pub(super) async fn run(args: args::Snapshot, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    match args.command {
        SnapshotCommand::Create(args) => create(&client, args, printer).await,
        SnapshotCommand::Restore(args) => restore(&client, args, printer).await,
        SnapshotCommand::Ls(args) => list(&client, args, printer).await,
        SnapshotCommand::Inspect(args) => inspect(&client, args, printer).await,
        SnapshotCommand::Rm(args) => remove(&client, args).await,
    }
}

async fn create(client: &Client, args: args::CreateSnapshot, printer: Printer<'_>) -> Outcome {
    let workload = target::one(&args.target, &client.workloads().await?)?.name.clone();
    let begun = client.create_snapshot(&CreateSnapshot { workload, name: args.name }).await?;
    let outcome = match progress::wait(client, &begun.id, args.wait, printer).await? {
        Some(followed) => followed.outcome(),
        None => Ok(begun),
    };
    if let Some(image) = outcome.as_ref().ok().and_then(image_of) {
        printer.talk(format_args!("to go back: `hythe snapshot restore {}@{}`", args.target, tag_of(image)));
        if !printer.settings.json {
            printer.data(format!("{image}\n"))?;
        }
    }
    super::operations::print(outcome, printer)
}

fn image_of(operation: &Operation) -> Option<&str> {
    operation.result.as_ref()?["image"].as_str()
}

fn tag_of(image: &str) -> &str {
    image.rsplit_once(':').map_or(image, |(_, tag)| tag)
}

async fn restore(client: &Client, args: args::RestoreSnapshot, printer: Printer<'_>) -> Outcome {
    let (named, snapshot) =
        args.target.split_once(['@', ':']).map_or((&*args.target, None), |(target, name)| (target, Some(name)));
    let workload = target::one(named, &client.workloads().await?)?.name.clone();
    let asked = RestoreSnapshot { snapshot: snapshot.map(str::to_owned) };
    let begun = client.restore_snapshot(&workload, &asked).await?;
    let outcome = match progress::wait(client, &begun.id, args.wait, printer).await? {
        Some(followed) => followed.outcome(),
        None => Ok(begun),
    };
    if let Some(image) = outcome.as_ref().ok().and_then(image_of) {
        printer.talk(format_args!("`{workload}` runs {image}; a deploy with another image ends that"));
    }
    super::operations::print(outcome, printer)
}

async fn list(client: &Client, args: args::ListSnapshots, printer: Printer<'_>) -> Outcome {
    let query = SnapshotQuery { runtime: args.on.runtime, service: args.service };
    let now = hythe_host::now();
    printer.list(&client.snapshots(&query).await?, &HEAD, |snapshot| row(snapshot, now))
}

fn row(snapshot: &Snapshot, now: Timestamp) -> Vec<Cell> {
    vec![
        Cell::new(&snapshot.name),
        Cell::new(&snapshot.workload),
        Cell::new(&snapshot.runtime),
        Cell::new(snapshot.generation),
        Cell::new(format::bytes(snapshot.size)),
        Cell::new(age(snapshot, now)),
    ]
}

fn age(snapshot: &Snapshot, now: Timestamp) -> String {
    snapshot.created.map_or_else(|| format::NOTHING.to_owned(), |at| format!("{} ago", format::age(at, now)))
}

async fn inspect(client: &Client, args: args::InspectSnapshot, printer: Printer<'_>) -> Outcome {
    let found = client.snapshot(&args.name, &RuntimeQuery { runtime: args.on.runtime }).await?;
    if printer.settings.json {
        return printer.json(&found);
    }
    printer.data(shown(&found, hythe_host::now()))?;
    if let Some(problem) = &found.problem {
        printer.warn(format_args!("no mount shows its files: {problem}"));
    }
    Ok(())
}

/// What is known, a line each, and the words that mount it.
fn shown(found: &SnapshotDetail, now: Timestamp) -> String {
    let SnapshotDetail { snapshot, mounts, problem: _ } = found;
    let from = format!("{}, generation {} attempt {}", snapshot.workload, snapshot.generation, snapshot.attempt);
    let lines = [
        ("image", snapshot.name.clone()),
        ("of", from),
        ("runtime", snapshot.runtime.clone()),
        ("id", snapshot.id.clone()),
        ("size", format::bytes(snapshot.size)),
        ("created", age(snapshot, now)),
    ];
    let mut text = String::new();
    for (name, value) in lines.into_iter().chain(mounts.iter().map(|mount| ("mount", command(mount)))) {
        let _ = writeln!(text, "{name:<9}{value}");
    }
    text
}

/// As a shell takes it.
fn command(mount: &SnapshotMount) -> String {
    let options = mount.options.join(",");
    let kind = if mount.kind == "bind" { "--bind".to_owned() } else { format!("-t {}", mount.kind) };
    format!("mount {kind} -o '{options}' {} /mnt", mount.source)
}

/// All of them are tried.
async fn remove(client: &Client, args: args::RemoveSnapshots) -> Outcome {
    let query = RuntimeQuery { runtime: args.on.runtime };
    let mut failures = Vec::new();
    for name in &args.names {
        if let Err(error) = client.remove_snapshot(name, &query).await {
            failures.push(Failure::from(error));
        }
    }
    Failure::all(failures)
}

/// Says of a service that is gone what was kept of it.
pub(super) async fn tell_what_stays(client: &Client, service: &str, printer: Printer<'_>) {
    let query = SnapshotQuery { runtime: None, service: Some(service.to_owned()) };
    // Whoever cannot be asked keeps nobody from the outcome.
    let kept = client.snapshots(&query).await.map_or(0, |all| all.len());
    if kept > 0 {
        let noun = if kept == 1 { "snapshot stays" } else { "snapshots stay" };
        printer.talk(format_args!("{kept} {noun}: `hythe snapshot ls {service}`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(kind: &str, source: &str, options: &[&str]) -> SnapshotDetail {
        let snapshot = Snapshot {
            name: "localhost/hythe/shop/web:1".into(),
            service: "shop".into(),
            component: "web".into(),
            workload: "shop-web".into(),
            runtime: "podman".into(),
            id: "sha256:0".into(),
            size: 2048,
            created: None,
            generation: 3,
            attempt: 1,
        };
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mounts = vec![SnapshotMount { kind: kind.into(), source: source.into(), options }];
        SnapshotDetail { snapshot, mounts, problem: None }
    }

    #[test]
    fn a_mount_is_shown_as_the_command_that_makes_it() {
        let text = shown(&detail("overlay", "overlay", &["ro", "lowerdir=/a:/b"]), Timestamp::UNIX_EPOCH);
        assert!(text.contains("mount    mount -t overlay -o 'ro,lowerdir=/a:/b' overlay /mnt\n"), "{text}");
        assert!(text.contains("of       shop-web, generation 3 attempt 1\n"), "{text}");
        let text = shown(&detail("bind", "/a", &["bind", "ro"]), Timestamp::UNIX_EPOCH);
        assert!(text.contains("mount --bind -o 'bind,ro' /a /mnt\n"), "{text}");
    }
}

//! `hythe shutdown`: workloads stop before their host does, dependents first, and start again after it.
//!
//! What was stopped is in a file of the state directory before anything stops, so that a host that dies meanwhile starts
//! it again. An agent is never started for it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use hythe_api::{Desired, Scope, SecretsQuery, Workload, WorkloadState};
use hythe_client::{Client, Endpoint};
use serde::{Deserialize, Serialize};

use crate::args::{self, Wait};
use crate::output::Printer;
use crate::progress;
use crate::report::{Failure, Outcome};

const FILE: &str = "stopped-by-shutdown.json";

/// A component that ran, and what it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stopped {
    service: String,
    component: String,
    depends_on: BTreeSet<String>,
}

pub(super) async fn run(args: args::Shutdown, printer: Printer<'_>) -> Outcome {
    if !matches!(printer.settings.endpoint, Endpoint::Unix(_)) {
        let message = "the agent of another host does not stop with this one".to_owned();
        return Err(Failure::Usage { message, hint: "`--host` names a socket here, or is absent".to_owned() });
    }
    let client = printer.settings.client()?;
    let path = Path::new(&client.version().await?.state_dir).join(FILE);
    if args.resume { resume(&client, &path, printer).await } else { stop(&client, &path, printer).await }
}

async fn stop(client: &Client, path: &Path, printer: Printer<'_>) -> Outcome {
    let running = running(client).await?;
    // What an earlier one stopped and nobody resumed.
    let mut all = read(path)?;
    all.retain(|earlier| !running.contains(earlier));
    all.extend(running.iter().cloned());
    write(path, &all)?;
    let (mut begun, mut failures) = (Vec::new(), Vec::new());
    // All are asked before any is waited for: a component waits for those that depend on it and are to stop as well.
    for one in dependents_first(running) {
        match client.stop(&one.service, &scope(&one)).await {
            Ok(operation) => begun.push(operation),
            Err(error) if error.is_not_found() => {}
            Err(error) => failures.push(error.into()),
        }
    }
    let count = begun.len();
    let waited = begun.iter().map(|operation| progress::wait(client, &operation.id, Wait::default(), printer));
    for followed in join_all(waited).await {
        if let Err(failure) = followed.and_then(|followed| followed.map_or(Ok(()), |done| done.outcome().map(drop))) {
            failures.push(failure);
        }
    }
    printer.talk(format_args!("stopped {count} workloads; `hythe shutdown --resume` starts them"));
    Failure::all(failures)
}

async fn resume(client: &Client, path: &Path, printer: Printer<'_>) -> Outcome {
    let mut all = dependents_first(read(path)?);
    // The other way round: a component that starts waits for those that it depends on.
    all.reverse();
    let workloads = client.workloads().await?;
    let is_stopped = |one: &Stopped| {
        let is_it = |workload: &&Workload| workload.service == one.service && workload.component == one.component;
        workloads.iter().find(is_it).is_some_and(|workload| workload.desired == Desired::Stopped)
    };
    all.retain(is_stopped);
    let mut failures = Vec::new();
    for one in &all {
        match client.start(&one.service, &scope(one)).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => failures.push(error.into()),
        }
    }
    if failures.is_empty() {
        remove(path)?;
        printer.talk(format_args!("started {} workloads", all.len()));
    }
    Failure::all(failures)
}

/// Components that run or are about to.
async fn running(client: &Client) -> Outcome<Vec<Stopped>> {
    let workloads = client.workloads().await?;
    let ends = [WorkloadState::Stopped, WorkloadState::Completed, WorkloadState::Failed];
    let runs = |workload: &&Workload| workload.desired == Desired::Running && !ends.contains(&workload.state);
    let running: Vec<&Workload> = workloads.iter().filter(runs).collect();
    let services: BTreeSet<&str> = running.iter().map(|workload| workload.service.as_str()).collect();
    let mut found = Vec::new();
    for service in services {
        let described = client.service(service, &SecretsQuery::default()).await?.desired;
        for workload in running.iter().filter(|workload| workload.service == service) {
            let component = described.component(&workload.component);
            let depends_on = component.map(|component| component.depends_on.keys().cloned().collect());
            found.push(Stopped {
                service: service.to_owned(),
                component: workload.component.clone(),
                depends_on: depends_on.unwrap_or_default(),
            });
        }
    }
    Ok(found)
}

/// Each after all that depend on it. There are no cycles: a deploy refuses them.
fn dependents_first(mut rest: Vec<Stopped>) -> Vec<Stopped> {
    let mut sorted = Vec::new();
    while !rest.is_empty() {
        let needs =
            |one: &Stopped, other: &Stopped| other.service == one.service && other.depends_on.contains(&one.component);
        let at = rest.iter().position(|one| !rest.iter().any(|other| needs(one, other)));
        sorted.push(rest.remove(at.unwrap_or_default()));
    }
    sorted
}

fn scope(one: &Stopped) -> Scope {
    Scope { component: Some(one.component.clone()), grace: None }
}

fn read(path: &Path) -> Outcome<Vec<Stopped>> {
    let unreadable = |source| Failure::File { path: path.display().to_string(), source };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(error)),
    }
}

/// Whole or not at all, and on the disk before it returns.
fn write(path: &Path, all: &[Stopped]) -> Outcome {
    let next: PathBuf = path.with_extension("new");
    let bytes = serde_json::to_vec(all).map_err(io::Error::other)?;
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&next)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(fs::rename(next, path)?)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn stopped(service: &str, component: &str, depends_on: &[&str]) -> Stopped {
        let depends_on = depends_on.iter().map(|&name| name.to_owned()).collect();
        Stopped { service: service.to_owned(), component: component.to_owned(), depends_on }
    }

    #[test]
    fn components_stop_after_those_that_depend_on_them() {
        let all = vec![
            stopped("shop", "db", &[]),
            stopped("other", "web", &[]),
            stopped("shop", "cache", &["db"]),
            stopped("shop", "web", &["db", "cache"]),
        ];
        let names: Vec<String> = dependents_first(all).into_iter().map(|one| one.component).collect();
        assert_eq!(names, ["web", "web", "cache", "db"]);
    }

    #[test]
    fn list_of_stopped_components_is_read_as_it_was_written_and_removed_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(read(&path).unwrap(), []);
        let all = vec![stopped("shop", "web", &["db"])];
        write(&path, &all).unwrap();
        assert_eq!(read(&path).unwrap(), all);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}

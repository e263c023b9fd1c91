//! Instances: made, watched, failed, stopped, removed.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::PATIENCE;
use futures_util::StreamExt;
use hythe_driver_podman::{Config, connect};
use hythe_runtime::{Cursor, ErrorKind, EventKind, Feature, Filter, InstanceRef, Runtime, State, Stop};

#[tokio::test]
async fn an_instance_lives_and_is_gone() {
    let Some(bench) = crate::bench::bench("life").await else {
        return;
    };
    let mut events = bench.podman.watch(&bench.cx, Cursor::START).await.unwrap();
    let plan = bench.plan("life", &["sleep", "1000"]);
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    assert_eq!(bench.podman.run(&bench.cx, &plan).await.unwrap(), id);
    let observed = bench.podman.inspect(&bench.cx, &id.to_ref()).await.unwrap();
    assert_eq!((observed.state, observed.identity.as_ref()), (State::Running, Some(&plan.identity)));
    let listed = bench.podman.list(&bench.cx, &Filter::owned_by(&bench.owner)).await.unwrap();
    assert_eq!(listed.iter().map(|row| &row.id).collect::<Vec<_>>(), [&id]);
    assert_eq!(bench.podman.remove(&bench.cx, &id.to_ref()).await.unwrap_err().kind(), ErrorKind::Conflict);
    bench.stop(&id).await;
    bench.stop(&id).await;
    assert_eq!(bench.ended(&id).await.exit.unwrap().code, Some(137));
    bench.podman.remove(&bench.cx, &id.to_ref()).await.unwrap();
    bench.podman.remove(&bench.cx, &id.to_ref()).await.unwrap();
    assert!(bench.podman.inspect(&bench.cx, &id.to_ref()).await.unwrap_err().is_not_found());
    let mut seen = Vec::new();
    while seen.last() != Some(&EventKind::Removed) {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        if event.id == id {
            seen.push(event.kind);
        }
    }
    assert!(
        matches!(seen.as_slice(), [EventKind::Created, EventKind::Started, EventKind::Stopped { exit }, EventKind::Removed] if exit.code == Some(137)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_short_life_is_never_missed() {
    let Some(bench) = crate::bench::bench("short").await else {
        return;
    };
    for round in 0..5 {
        let mut plan = bench.plan("short", &["sh", "-c", "exit 7"]);
        plan.identity.attempt = round + 1;
        let mut events = bench.podman.watch(&bench.cx, Cursor::START).await.unwrap();
        let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
        let died = async {
            while !matches!(events.next().await, Some(Ok(event)) if event.id == id && matches!(event.kind, EventKind::Stopped { .. }))
            {
            }
        };
        tokio::time::timeout(PATIENCE, died).await.unwrap();
        assert_eq!(bench.ended(&id).await.exit.unwrap().code, Some(7));
        bench.remove(&id).await;
    }
}

#[tokio::test]
async fn an_attempt_runs_once() {
    let Some(bench) = crate::bench::bench("once").await else {
        return;
    };
    let plan = bench.plan("once", &["sh", "-c", "exit 7"]);
    let id = bench.podman.create(&bench.cx, &plan).await.unwrap();
    assert_eq!(bench.podman.run(&bench.cx, &plan).await.unwrap(), id, "made, never started: it is started");
    let first = bench.ended(&id).await;
    assert_eq!(bench.podman.run(&bench.cx, &plan).await.unwrap(), id);
    let again = bench.podman.inspect(&bench.cx, &id.to_ref()).await.unwrap();
    assert_eq!((again.state, again.started, again.finished), (State::Exited, first.started, first.finished));
    bench.remove(&id).await;
}

#[tokio::test]
async fn failures_are_distinguished() {
    let Some(bench) = crate::bench::bench("fail").await else {
        return;
    };
    let absent = bench.plan("absent", &["/no/such"]);
    let error = bench.podman.run(&bench.cx, &absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let left = bench.podman.inspect(&bench.cx, &InstanceRef::name(absent.name())).await.unwrap();
    assert_eq!(left.exit.and_then(|exit| exit.code), Some(127));
    bench.remove(&left.id).await;
    let mut plan = bench.plan("noimage", &["true"]);
    plan.image = "localhost/no/such:1".parse().unwrap();
    assert!(bench.podman.run(&bench.cx, &plan).await.unwrap_err().is_not_found());
    let held = bench.plan("held", &["true"]);
    let id = bench.podman.create(&bench.cx, &held).await.unwrap();
    assert_eq!(bench.podman.create(&bench.cx, &held).await.unwrap(), id);
    let mut other = held.clone();
    other.identity.plan_hash = "other".to_owned();
    assert_eq!(bench.podman.create(&bench.cx, &other).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    bench.remove(&id).await;
    let broken = Config { program: PathBuf::from("/bin/false"), ..Config::default() };
    assert_eq!(connect(broken).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_missing_working_directory_is_made() {
    let Some(bench) = crate::bench::bench("workdir").await else {
        return;
    };
    let mut plan = bench.plan("workdir", &["sh", "-c", "test $PWD = /new/dir"]);
    plan.workdir = Some("/new/dir".to_owned());
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    assert_eq!(bench.ended(&id).await.exit.unwrap().code, Some(0));
    bench.remove(&id).await;
}

#[tokio::test]
async fn a_paused_instance_stops() {
    let Some(bench) = crate::bench::bench("paused").await else {
        return;
    };
    // Rootless podman on cgroup v1 can neither limit nor pause.
    if !bench.supports(Feature::MemoryLimit) {
        return;
    }
    let plan = bench.plan("paused", &["sleep", "1000"]);
    let id = bench.podman.run(&bench.cx, &plan).await.unwrap();
    let paused =
        tokio::process::Command::new(&bench.podman.info().endpoint).args(["pause", &id.0]).output().await.unwrap();
    assert!(paused.status.success());
    let how = Stop { signal: Some("TERM".parse().unwrap()), grace: Duration::from_millis(300) };
    bench.podman.stop(&bench.cx, &id.to_ref(), &how).await.unwrap();
    assert_eq!(bench.ended(&id).await.exit.unwrap().code, Some(137));
    bench.remove(&id).await;
}

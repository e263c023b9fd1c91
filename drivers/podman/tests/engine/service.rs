//! The service killed in the middle of what it does: an engine that is lost for a moment, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use hythe_driver_podman::{Config, connect};
use hythe_runtime::{Cursor, ErrorKind, Filter, InstanceId, Result, Runtime, State, Stop};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, PATIENCE};

/// How long after its begin an operation is interrupted, in steps of milliseconds.
const STEP: u64 = 45;
const STEPS: u64 = 4;

/// Marks the processes of one test.
const MARK: &str = "HYTHE_ENGINE_TEST";

/// A podman whose service is told from those of other tests.
async fn marked(mark: &'static str) -> Option<Bench> {
    let mut bench = crate::bench::bench(mark).await?;
    bench.podman = connect(config(&bench, mark)).await.unwrap();
    Some(bench)
}

fn config(bench: &Bench, mark: &str) -> Config {
    let program = PathBuf::from(&bench.podman.info().endpoint);
    let env = BTreeMap::from([(MARK.to_owned(), mark.to_owned())]);
    Config { program, env, ..Config::default() }
}

/// The service that this process started, with that mark.
fn service(mark: &str) -> Option<Pid> {
    let (ours, mark) = (format!("PPid:\t{}\n", std::process::id()), format!("{MARK}={mark}\0"));
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let found = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find(|pid| {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let read = |file: &str| String::from_utf8_lossy(&read(file)).into_owned();
        read("cmdline").contains("system\0service") && read("status").contains(&ours) && read("environ").contains(&mark)
    });
    found.and_then(Pid::from_raw)
}

/// The operation, with the service killed some time after its begin.
async fn interrupted<T>(mark: &str, delay: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let kill = async {
        tokio::time::sleep(delay).await;
        if let Some(service) = service(mark) {
            // It may be on its way already.
            let _ = kill_process(service, Signal::KILL);
        }
    };
    tokio::join!(work, kill).0
}

/// Repeats what fails as long as the engine is lost; any other failure is one.
async fn in_the_end<T>(what: &str, mut work: impl AsyncFnMut() -> Result<T>) -> T {
    let repeated = async {
        loop {
            match work().await {
                Ok(done) => return done,
                Err(lost) => {
                    assert!(lost.kind() == ErrorKind::Unavailable && lost.is_temporary(), "{what}: {lost:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, repeated).await.unwrap()
}

fn must_be_lost_or_done<T: std::fmt::Debug>(what: &str, delay: Duration, outcome: &Result<T>) {
    if let Err(lost) = outcome {
        let is_lost = lost.kind() == ErrorKind::Unavailable && lost.is_temporary();
        assert!(is_lost, "{what}, killed after {delay:?}: {lost:?}");
    }
}

async fn mine(bench: &Bench) -> Vec<InstanceId> {
    let listed = in_the_end("list", async || bench.podman.list(&bench.cx, &Filter::owned_by(&bench.owner)).await).await;
    listed.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_killed_service_is_a_lost_engine_and_doubles_nothing() {
    let Some(bench) = marked("killed").await else { return };
    for step in 0..STEPS {
        let delay = Duration::from_millis(step * STEP);
        let mut plan = bench.plan("killed", &["sleep", "1000"]);
        plan.identity.attempt = u32::try_from(step).unwrap() + 1;
        let run = interrupted("killed", delay, bench.podman.run(&bench.cx, &plan)).await;
        must_be_lost_or_done("run", delay, &run);
        let id = in_the_end("run", async || bench.podman.run(&bench.cx, &plan).await).await;
        assert_eq!(mine(&bench).await, std::slice::from_ref(&id), "run, killed after {delay:?}");
        let observed = in_the_end("inspect", async || bench.podman.inspect(&bench.cx, &id.to_ref()).await).await;
        assert_eq!(observed.state, State::Running, "run, killed after {delay:?}");
        let how = Stop { signal: None, grace: Duration::ZERO };
        let stop = interrupted("killed", delay, bench.podman.stop(&bench.cx, &id.to_ref(), &how)).await;
        must_be_lost_or_done("stop", delay, &stop);
        in_the_end("stop", async || bench.podman.stop(&bench.cx, &id.to_ref(), &how).await).await;
        let remove = interrupted("killed", delay, bench.podman.remove(&bench.cx, &id.to_ref())).await;
        must_be_lost_or_done("remove", delay, &remove);
        in_the_end("remove", async || bench.podman.remove(&bench.cx, &id.to_ref()).await).await;
        assert!(mine(&bench).await.is_empty(), "remove, killed after {delay:?}");
    }
}

#[tokio::test]
async fn a_watch_of_a_killed_service_ends_with_a_lost_engine() {
    let Some(bench) = marked("watched").await else { return };
    let mut events = bench.podman.watch(&bench.cx, Cursor::START).await.unwrap();
    kill_process(service("watched").unwrap(), Signal::KILL).unwrap();
    let lost = loop {
        // Other tests make events too.
        match tokio::time::timeout(PATIENCE, events.next()).await.unwrap() {
            Some(Ok(_)) => {}
            other => break other.unwrap().unwrap_err(),
        }
    };
    assert_eq!((lost.kind(), lost.is_temporary()), (ErrorKind::Unavailable, true), "{lost}");
    in_the_end("watch", async || bench.podman.watch(&bench.cx, Cursor::START).await.map(drop)).await;
}

#[tokio::test]
async fn a_configured_socket_is_used_in_place_of_a_service() {
    let Some(mut bench) = crate::bench::bench("socket").await else { return };
    let Some(socket) = bench.socket.clone() else {
        eprintln!("skipped: the environment has no service of podman");
        return;
    };
    let config = Config { socket: Some(format!("unix://{socket}")), ..config(&bench, "socket") };
    bench.podman = connect(config).await.unwrap();
    assert!(service("socket").is_none());
    let id = bench.podman.run(&bench.cx, &bench.plan("socket", &["sleep", "1000"])).await.unwrap();
    assert_eq!(mine(&bench).await, std::slice::from_ref(&id));
    bench.remove(&id).await;
}

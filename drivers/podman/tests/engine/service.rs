//! The service killed in the middle of what it does: an engine that is lost for a moment, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hythe_driver_podman::{Config, connect};
use hythe_runtime::{
    Cursor, ErrorKind, Filter, InstanceId, NetworkSpec, Result, Runtime, SnapshotRequest, State, Stop, VolumeSpec,
    identity,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, PATIENCE};

/// Each operation is interrupted so many times, at moments spread evenly over the time it takes.
const STEPS: u32 = 4;

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

/// How long each operation took when nothing was killed.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Duration>);

impl Times {
    /// The operation to its end: in step 0 undisturbed and measured, else with the service killed at that step of it.
    async fn cut_short<T: std::fmt::Debug>(
        &mut self,
        step: u32,
        mark: &str,
        what: &'static str,
        mut work: impl AsyncFnMut() -> Result<T>,
    ) -> T {
        let Some(took) = self.0.get(what).filter(|_| step > 0) else {
            let began = Instant::now();
            let done = work().await.unwrap();
            self.0.insert(what, began.elapsed());
            return done;
        };
        let delay = *took * (step - 1) / (STEPS - 1);
        let kill = async {
            tokio::time::sleep(delay).await;
            if let Some(service) = service(mark) {
                // It may be on its way already.
                let _ = kill_process(service, Signal::KILL);
            }
        };
        match tokio::join!(work(), kill).0 {
            Ok(done) => done,
            Err(lost) => {
                let is_lost = lost.kind() == ErrorKind::Unavailable && lost.is_temporary();
                assert!(is_lost, "{what}, killed after {delay:?}: {lost:?}");
                in_the_end(what, work).await
            }
        }
    }
}

/// Repeats what fails as long as the engine is lost; any other failure is one.
async fn in_the_end<T>(what: &str, mut work: impl AsyncFnMut() -> Result<T>) -> T {
    let began = Instant::now();
    loop {
        match tokio::time::timeout(PATIENCE, work()).await {
            Ok(Ok(done)) => return done,
            Ok(Err(lost)) => {
                let is_lost = lost.kind() == ErrorKind::Unavailable && lost.is_temporary();
                assert!(is_lost && began.elapsed() < PATIENCE, "{what}: {lost:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(_) => panic!("{what} does not return"),
        }
    }
}

async fn mine(bench: &Bench) -> Vec<InstanceId> {
    let listed = in_the_end("list", async || bench.podman.list(&bench.cx, &Filter::owned_by(&bench.owner)).await).await;
    listed.into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn every_operation_with_the_service_killed_at_any_step_is_lost_or_done_and_never_doubled() {
    let Some(bench) = marked("killed").await else { return };
    let (podman, cx, owner) = (&bench.podman, &bench.cx, bench.owner.as_str());
    let (networks, volumes) = (podman.networks().unwrap(), podman.volumes().unwrap());
    let snapshots = podman.snapshots().unwrap();
    let name = format!("killed-{}", std::process::id());
    let labels = || BTreeMap::from([(identity::OWNER.to_owned(), owner.to_owned())]);
    let mut times = Times::default();
    for step in 0..=STEPS {
        let mut plan = bench.plan("killed", &["sleep", "1000"]);
        plan.identity.attempt = step + 1;
        let network = NetworkSpec { name: name.clone(), labels: labels(), internal: false };
        times.cut_short(step, "killed", "ensure network", async || networks.ensure(cx, &network).await).await;
        let volume = VolumeSpec { name: name.clone(), labels: labels() };
        times.cut_short(step, "killed", "ensure volume", async || volumes.ensure(cx, &volume).await).await;
        let id = times.cut_short(step, "killed", "create", async || podman.create(cx, &plan).await).await;
        assert_eq!(mine(&bench).await, std::slice::from_ref(&id), "step {step}");
        let it = id.to_ref();
        times.cut_short(step, "killed", "start", async || podman.start(cx, &it).await).await;
        let seen = times.cut_short(step, "killed", "inspect", async || podman.inspect(cx, &it).await).await;
        assert_eq!((seen.state, seen.id), (State::Running, id.clone()), "step {step}");
        let filter = Filter::owned_by(owner);
        let listed = times.cut_short(step, "killed", "list", async || podman.list(cx, &filter).await).await;
        assert_eq!(listed.len(), 1, "step {step}");
        let image = format!("localhost/hythe/{name}:{step}").parse().unwrap();
        let request = SnapshotRequest { image, identity: plan.identity.clone() };
        times.cut_short(step, "killed", "commit", async || snapshots.commit(cx, &it, &request).await).await;
        times.cut_short(step, "killed", "forget", async || snapshots.remove(cx, &request.image).await).await;
        let how = Stop { signal: None, grace: Duration::ZERO };
        times.cut_short(step, "killed", "stop", async || podman.stop(cx, &it, &how).await).await;
        let seen = in_the_end("inspect", async || podman.inspect(cx, &it).await).await;
        assert_eq!(seen.state, State::Exited, "step {step}");
        times.cut_short(step, "killed", "remove", async || podman.remove(cx, &it).await).await;
        plan.identity.attempt += STEPS + 1;
        let id = times.cut_short(step, "killed", "run", async || podman.run(cx, &plan).await).await;
        assert_eq!(mine(&bench).await, std::slice::from_ref(&id), "step {step}");
        in_the_end("stop", async || podman.stop(cx, &id.to_ref(), &how).await).await;
        in_the_end("remove", async || podman.remove(cx, &id.to_ref()).await).await;
        assert!(mine(&bench).await.is_empty(), "step {step}");
        times.cut_short(step, "killed", "remove volume", async || volumes.remove(cx, &name, owner).await).await;
        times.cut_short(step, "killed", "remove network", async || networks.remove(cx, &name, owner).await).await;
    }
    let left = in_the_end("list", async || networks.list(cx).await).await;
    assert!(left.iter().all(|network| network.name != name), "{left:?}");
    let left = in_the_end("list", async || volumes.list(cx).await).await;
    assert!(left.iter().all(|volume| volume.name != name), "{left:?}");
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

//! The controller on the in-process runtime: what must hold whatever fails. Real engines are the matter of `tests/e2e`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hythe_controller::{Cell, Connector, Controller, DeployOptions, GcSettings, Settings};
use hythe_runtime::memory::Memory;
use hythe_runtime::{Error, ErrorKind, Filter, Listed, OpContext, Runtime, State};
use hythe_spec::{
    Component, Condition, Drift, Health, Millis, OnFailure, Probe, Restart, RuntimeKind, Service, Signal,
};
use hythe_store::{EventFilter, HealthState, OperationState, Phase, Store};

/// A controller that can be dropped and started again on the same store and engine.
struct Bench {
    memory: Arc<Memory>,
    dir: tempfile::TempDir,
    controller: Option<Arc<Controller>>,
}

impl Bench {
    async fn new() -> Self {
        let mut bench = Self { memory: Memory::builder().build(), dir: tempfile::tempdir().unwrap(), controller: None };
        bench.start().await;
        bench
    }

    async fn start(&mut self) {
        let store = open(&self.dir.path().join("hythe.db")).await;
        let memory = self.memory.clone();
        let connect = Arc::new(move || {
            let runtime: Arc<dyn Runtime> = memory.clone();
            let connected: futures_util::future::BoxFuture<'static, Result<Arc<dyn Runtime>, Error>> =
                Box::pin(async move {
                    runtime.probe(&OpContext::new("connect")).await?;
                    Ok(runtime)
                });
            connected
        });
        let connector = Connector { name: "memory".to_owned(), kind: RuntimeKind::Memory, connect };
        let settings = Settings {
            keep_events: 1000,
            keep_operations: 50,
            gc: GcSettings { interval: Duration::ZERO, ..GcSettings::default() },
            drift_interval: Duration::from_millis(200),
            ..Settings::new("owner")
        };
        let controller = Controller::start(settings, Arc::new(store), vec![connector]).unwrap();
        controller.runtimes().tried().await;
        self.controller = Some(controller);
    }

    /// As a crash would: no goodbye, no cleaning up.
    async fn restart(&mut self) {
        self.controller.take().unwrap().shutdown();
        self.start().await;
    }

    fn controller(&self) -> &Arc<Controller> {
        self.controller.as_ref().unwrap()
    }

    async fn deploy(&self, service: &Service) -> Result<(), String> {
        let deployed =
            self.controller().deploy(service, &DeployOptions::default()).map_err(|error| error.to_string())?;
        match deployed.operation {
            Some(operation) => self.outcome(&operation.record().id).await,
            None => Ok(()),
        }
    }

    async fn outcome(&self, operation: &str) -> Result<(), String> {
        let mut joined = self.controller().operations().join(operation).unwrap();
        while joined.next().await.is_some() {}
        let record = joined.record();
        match record.state {
            OperationState::Succeeded => Ok(()),
            _ => Err(record.error.unwrap()["message"].as_str().unwrap().to_owned()),
        }
    }

    async fn until(&self, workload: &str, what: &str, fits: impl Fn(&Cell) -> bool) -> Cell {
        for _ in 0..1000 {
            if let Ok(cell) = self.controller().workload(workload)
                && fits(&cell)
            {
                return cell;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("`{workload}` never was {what}: {:?}", self.controller().workload(workload));
    }

    async fn instances(&self) -> Vec<Listed> {
        self.memory.list(&OpContext::new("test"), &Filter::default()).await.unwrap()
    }

    async fn names(&self) -> Vec<String> {
        self.instances().await.into_iter().map(|row| row.name).collect()
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.controller().events().read(&EventFilter::default()).unwrap();
        events.into_iter().map(|record| record.event.kind).collect()
    }
}

/// The tasks of a controller that was shut down let go of the store soon, not at once.
async fn open(path: &Path) -> Store {
    for _ in 0..500 {
        match Store::open(path) {
            Ok(opened) => return opened.store,
            Err(hythe_store::Error::Locked { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store stayed locked");
}

fn component(name: &str, script: &str) -> Component {
    let mut component = Component::new(name, Memory::TEST_IMAGE.parse().unwrap());
    component.command = Some(["sh", "-c", script].map(str::to_owned).to_vec());
    component.stop_grace = Millis(200);
    component
}

fn service(components: Vec<Component>) -> Service {
    let name = "shop".to_owned();
    Service { name, node: None, labels: BTreeMap::new(), active: true, drift: Drift::Report, components }
}

fn healthy_when(command: &[&str]) -> Option<Health> {
    Some(Health {
        probe: Probe::Exec { command: command.iter().map(|word| (*word).to_owned()).collect() },
        interval: Millis(20),
        timeout: Millis(1000),
        retries: 2,
        start_period: Millis(0),
        on_failure: OnFailure::None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_service_is_not_touched() {
    let bench = Bench::new().await;
    let shop = service(vec![component("web", "sleep 1000")]);
    bench.deploy(&shop).await.unwrap();
    let before = bench.instances().await;
    let again = bench.controller().deploy(&shop, &DeployOptions::default()).unwrap();
    assert!(again.operation.is_none() && again.plan.is_unchanged());
    assert_eq!(bench.instances().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planning_changes_nothing() {
    let bench = Bench::new().await;
    bench.controller().plan_deploy(&service(vec![component("web", "sleep 1000")]), &DeployOptions::default()).unwrap();
    assert!(bench.instances().await.is_empty() && bench.controller().services().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_start_after_what_they_need_is_healthy() {
    let bench = Bench::new().await;
    let mut db = component("db", "sleep 1000");
    db.health = healthy_when(&["true"]);
    let mut web = component("web", "sleep 1000");
    web.depends_on.insert("db".to_owned(), Condition::Healthy);
    bench.deploy(&service(vec![web, db])).await.unwrap();
    let events = bench.controller().events().read(&EventFilter::default()).unwrap();
    let at = |workload: &str, kind: &str| {
        let fits = |record: &&hythe_store::EventRecord| {
            record.event.workload.as_deref() == Some(workload) && record.event.kind == kind
        };
        events.iter().find(fits).map(|record| record.cursor)
    };
    bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    assert!(at("shop-db", "ready") < at("shop-web", "created").or(Some(u64::MAX)), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_replacement_rolls_back_to_the_same_instance() {
    let bench = Bench::new().await;
    let mut web = component("web", "sleep 1000");
    web.health = healthy_when(&["true"]);
    bench.deploy(&service(vec![web.clone()])).await.unwrap();
    let before = bench.until("shop-web", "healthy", |cell| cell.observed.health == HealthState::Healthy).await;
    web.health = healthy_when(&["false"]);
    let error = bench.deploy(&service(vec![web.clone()])).await.unwrap_err();
    assert!(error.contains("not healthy"), "{error}");
    let after = bench.until("shop-web", "rolled back", |cell| cell.observed.gave_up == Some(2)).await;
    assert_eq!(after.observed.current.unwrap().id, before.observed.current.unwrap().id);
    assert_eq!(bench.names().await, ["shop-web-1-1"]);
    web.health = healthy_when(&["true"]);
    web.env.insert("V".to_owned(), "3".to_owned());
    bench.deploy(&service(vec![web])).await.unwrap();
    assert_eq!(bench.names().await, ["shop-web-3-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_ends_after_as_many_restarts_as_allowed() {
    let bench = Bench::new().await;
    let mut web = component("web", "exit 3");
    web.restart = Restart::OnFailure { max_retries: Some(1) };
    // Whether the deploy itself sees the first end is a matter of time.
    let _ = bench.deploy(&service(vec![web])).await;
    let cell = bench.until("shop-web", "failed", |cell| cell.observed.phase == Phase::Failed).await;
    assert_eq!((cell.observed.restarts, cell.observed.exit.unwrap().code), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_from_outside_is_known_and_an_explicit_stop_beats_the_policy() {
    let bench = Bench::new().await;
    let mut web = component("web", "sleep 1000");
    web.restart = Restart::Always;
    bench.deploy(&service(vec![web])).await.unwrap();
    bench.memory.control().kill("shop-web-1-1", Signal::KILL).unwrap();
    let cell = bench.until("shop-web", "restarting", |cell| cell.observed.phase == Phase::Restarting).await;
    assert_eq!(cell.observed.exit.unwrap().signal, Some(9));
    let stopping = bench.controller().stop("shop", None, None).unwrap();
    bench.outcome(&stopping.record().id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let cell = bench.controller().workload("shop-web").unwrap();
    assert_eq!((cell.observed.phase, cell.observed.restarts), (Phase::Stopped, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_adopts_what_runs() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    let before = bench.instances().await;
    bench.restart().await;
    bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    assert_eq!(bench.instances().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_died_while_nobody_looked_is_noticed() {
    let mut bench = Bench::new().await;
    let mut web = component("web", "sleep 1000");
    web.restart = Restart::No;
    bench.deploy(&service(vec![web])).await.unwrap();
    bench.controller.take().unwrap().shutdown();
    bench.memory.control().kill("shop-web-1-1", Signal::KILL).unwrap();
    bench.start().await;
    let cell = bench.until("shop-web", "failed", |cell| cell.observed.phase == Phase::Failed).await;
    assert_eq!(cell.observed.exit.unwrap().code, 137);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_makes_no_second_instance() {
    let bench = Bench::new().await;
    bench.memory.control().lose_replies("run", 1);
    // What was made may be seen before the call comes back; then nothing is wrong.
    if let Err(error) = bench.deploy(&service(vec![component("web", "sleep 1000")])).await {
        assert!(!error.is_empty());
    }
    let cell = bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    assert_eq!(cell.observed.current.unwrap().attempt, 1);
    assert_eq!(bench.names().await, ["shop-web-1-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_gone_makes_nothing_stopped() {
    let bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    bench.memory.control().down("killed");
    let cell = bench.until("shop-web", "unknown", |cell| cell.observed.phase == Phase::Unknown).await;
    assert!(cell.observed.exit.is_none());
    let error = bench.controller().instance("shop-web").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    bench.memory.control().up();
    bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    assert_eq!(bench.names().await, ["shop-web-1-1"]);
    let kinds = bench.kinds();
    assert!(kinds.contains(&"runtime.disconnected".to_owned()) && kinds.contains(&"runtime.reconnected".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_gone_when_the_agent_starts_makes_nothing_running() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    bench.controller.take().unwrap().shutdown();
    bench.memory.control().down("killed");
    bench.start().await;
    bench.until("shop-web", "unknown", |cell| cell.observed.phase == Phase::Unknown).await;
    assert!(bench.kinds().contains(&"runtime.disconnected".to_owned()));
    bench.memory.control().up();
    bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    assert_eq!(bench.names().await, ["shop-web-1-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_is_rebuilt_from_labels() {
    let mut bench = Bench::new().await;
    let shop = service(vec![component("web", "sleep 1000")]);
    bench.deploy(&shop).await.unwrap();
    let before = bench.instances().await;
    bench.controller.take().unwrap().shutdown();
    drop(open(&bench.dir.path().join("hythe.db")).await);
    std::fs::remove_file(bench.dir.path().join("hythe.db")).unwrap();
    bench.start().await;
    bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    bench.deploy(&shop).await.unwrap();
    assert_eq!(bench.instances().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undeploy_leaves_nothing_and_an_interrupted_one_goes_on() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000"), component("db", "sleep 1000")])).await.unwrap();
    bench.memory.control().down("killed");
    bench.until("shop-web", "unknown", |cell| cell.observed.phase == Phase::Unknown).await;
    let removing = bench.controller().undeploy("shop", true).unwrap();
    bench.outcome(&removing.record().id).await.unwrap_err();
    bench.memory.control().up();
    bench.restart().await;
    for _ in 0..500 {
        if bench.controller().services().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bench.controller().services().unwrap().is_empty());
    assert!(bench.instances().await.is_empty());
    let networks = bench.memory.networks().unwrap().list(&OpContext::new("test")).await.unwrap();
    assert!(networks.iter().all(|network| network.name != "hythe-shop"), "{networks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_cannot_share_a_workload_name() {
    let bench = Bench::new().await;
    let named = |name: &str, component_name: &str| Service {
        name: name.to_owned(),
        ..service(vec![component(component_name, "sleep 1000")])
    };
    bench.deploy(&named("a-b", "c")).await.unwrap();
    let error = bench.controller().deploy(&named("a", "b-c"), &DeployOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_renamed_by_hand_is_still_ours_to_keep() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    bench.memory.control().rename("shop-web-1-1", "another").unwrap();
    bench.restart().await;
    bench.until("shop-web", "running", |cell| cell.observed.phase == Phase::Running).await;
    let names: Vec<(String, State)> = bench.instances().await.into_iter().map(|row| (row.name, row.state)).collect();
    assert_eq!(names, [("another".to_owned(), State::Running)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_engine_makes_too_late_goes() {
    let bench = Bench::new().await;
    let web = component("web", "sleep 1000");
    bench.deploy(&service(vec![web.clone()])).await.unwrap();
    let plan = bench.memory.control().plan("shop-web-1-1").unwrap();
    let mut late = plan.clone();
    late.identity.attempt = 7;
    bench.memory.run(&OpContext::new("test"), &late).await.unwrap();
    for _ in 0..500 {
        if bench.names().await == ["shop-web-1-1"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still there: {:?}", bench.names().await);
}

//! The controller on the in-process runtime: what must hold whatever fails. Real engines are the matter of `tests/e2e`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hythe_controller::{Connector, Controller, DeployOptions, GcSettings, Settings, WorkloadState};
use hythe_driver_memory::Memory;
use hythe_runtime::{Error, ErrorKind, Filter, Listed, OpContext, Runtime, State};
use hythe_spec::{
    Component, Condition, Dependency, Drift, Health, Millis, OnFailure, Probe, Restart, RuntimeKind, Service, Signal,
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

    async fn until(&self, workload: &str, what: &str, fits: impl Fn(&WorkloadState) -> bool) -> WorkloadState {
        for _ in 0..1000 {
            if let Ok(state) = self.controller().workload(workload)
                && fits(&state)
            {
                return state;
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

    /// The starts that the engine told of, by workload.
    fn starts(&self) -> Vec<String> {
        let started = |event: &hythe_runtime::Event| matches!(event.kind, hythe_runtime::EventKind::Started);
        let events = self.memory.control().history().into_iter().filter(started);
        events.filter_map(|event| event.identity.map(|identity| identity.workload())).collect()
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.controller().events().read(&EventFilter::default()).unwrap();
        events.into_iter().map(|record| record.event.kind.to_string()).collect()
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
        start_interval: None,
        on_failure: OnFailure::None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_service_is_not_touched() {
    let bench = Bench::new().await;
    let shop = service(vec![component("web", "sleep 1000")]);
    bench.deploy(&shop).await.unwrap();
    let before = bench.instances().await;
    let told = bench.memory.control().history();
    // As long as its start is looked at the outcome is waited for; once all is well the answer is there at once.
    let mut waits = 0;
    loop {
        let again = bench.controller().deploy(&shop, &DeployOptions::default()).unwrap();
        assert!(again.plan.is_unchanged());
        let Some(operation) = again.operation else { break };
        bench.outcome(&operation.record().id).await.unwrap();
        waits += 1;
        assert!(waits < 1000, "it is never well");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let desired = bench.controller().workload("shop-web").unwrap().desired;
    assert_eq!((desired.generation, desired.requests), (1, 1));
    assert_eq!(bench.instances().await, before);
    assert_eq!(bench.memory.control().history(), told, "something was done to the engine");
    assert_eq!(bench.kinds().iter().filter(|kind| *kind == "deployed").count(), 1);
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
    web.depends_on.insert("db".to_owned(), Condition::Healthy.into());
    bench.deploy(&service(vec![web, db])).await.unwrap();
    let events = bench.controller().events().read(&EventFilter::default()).unwrap();
    let at = |workload: &str, kind: &str| {
        let fits = |record: &&hythe_store::EventRecord| {
            record.event.workload.as_deref() == Some(workload) && record.event.kind.as_str() == kind
        };
        events.iter().find(fits).map(|record| record.cursor)
    };
    bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
    assert!(at("shop-db", "ready") < at("shop-web", "created").or(Some(u64::MAX)), "{events:?}");
}

/// As after a runtime's name was given to another engine, or an agent that was away for longer than an engine keeps events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_lost_are_made_up_for_by_a_list() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    bench.until("shop-web", "running", is_well).await;
    bench.controller.take().unwrap().shutdown();
    let store = open(&bench.dir.path().join("hythe.db")).await;
    let cursor = Some(("memory".to_owned(), "not a place".to_owned()));
    store.commit(&hythe_store::Transaction { cursor, ..hythe_store::Transaction::default() }).unwrap();
    drop(store);
    bench.memory.control().kill("shop-web-1-1", Signal::KILL).unwrap();
    bench.start().await;
    bench.until("shop-web", "made again", |cell| is_well(cell) && cell.observed.restarts == 1).await;
    assert_eq!(bench.kinds().iter().filter(|kind| *kind == "runtime.gap").count(), 1, "{:?}", bench.kinds());
}

/// A healthy database, and an app that is restarted after it.
fn followed() -> Vec<Component> {
    let mut db = component("db", "sleep 1000");
    db.health = healthy_when(&["true"]);
    db.restart = Restart::Always;
    let mut app = component("app", "sleep 1000");
    app.depends_on.insert("db".to_owned(), Dependency { condition: Condition::Healthy, restart: true });
    vec![app, db]
}

fn is_well(state: &WorkloadState) -> bool {
    state.observed.phase == Phase::Running
        && state.observed.current.as_ref().is_some_and(|current| current.id.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_of_a_dependency_restarts_its_dependent_once_and_a_crash_does_not() {
    let bench = Bench::new().await;
    let mut shop = followed();
    bench.deploy(&service(shop.clone())).await.unwrap();
    let restart = bench.controller().restart("shop", Some("db"), None).unwrap();
    bench.outcome(&restart.record().id).await.unwrap();
    assert_eq!(bench.starts(), ["shop-db", "shop-app", "shop-db", "shop-app"]);
    bench.memory.control().kill("shop-db-1-1", Signal::KILL).unwrap();
    bench.until("shop-db", "up again", |state| state.observed.restarts == 1 && is_well(state)).await;
    bench.until("shop-db", "healthy", |state| state.observed.health == HealthState::Healthy).await;
    assert_eq!(bench.starts().iter().filter(|name| *name == "shop-app").count(), 2);
    shop[1].env.insert("V".to_owned(), "2".to_owned());
    let plan = bench.controller().plan_deploy(&service(shop.clone()), &DeployOptions::default()).unwrap();
    let actions: Vec<&str> = plan.components.iter().map(|component| component.action.as_str()).collect();
    assert_eq!(actions, ["restart", "replace"]);
    bench.deploy(&service(shop)).await.unwrap();
    assert_eq!(bench.starts().iter().filter(|name| *name == "shop-app").count(), 3);
    assert_eq!(bench.names().await, ["shop-app-1-1", "shop-db-2-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_that_never_took_over_restarts_nobody() {
    let bench = Bench::new().await;
    let mut shop = followed();
    let mut top = component("top", "sleep 1000");
    top.depends_on.insert("app".to_owned(), Dependency { condition: Condition::Started, restart: true });
    shop.push(top);
    bench.deploy(&service(shop.clone())).await.unwrap();
    let before = bench.starts();
    shop[1].image = "registry.test/none:1".parse().unwrap();
    bench.deploy(&service(shop)).await.unwrap_err();
    bench.until("shop-app", "settled", |state| state.observed.followed == state.desired.follow).await;
    bench.until("shop-top", "settled", |state| state.observed.followed == state.desired.follow).await;
    assert_eq!(bench.starts(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_of_a_dependency_goes_along_the_chain_whatever_the_names() {
    let bench = Bench::new().await;
    let mut shop = followed();
    for (name, on) in [("mid", "app"), ("end", "mid")] {
        let mut next = component(name, "sleep 1000");
        next.depends_on.insert(on.to_owned(), Dependency { condition: Condition::Started, restart: true });
        shop.push(next);
    }
    bench.deploy(&service(shop)).await.unwrap();
    for round in 1..=3 {
        let restart = bench.controller().restart("shop", Some("db"), None).unwrap();
        bench.outcome(&restart.record().id).await.unwrap();
        let chain = ["shop-db", "shop-app", "shop-mid", "shop-end"];
        assert_eq!(bench.starts(), chain.repeat(round + 1), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_dies_meanwhile_restarts_the_dependent_once() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(followed())).await.unwrap();
    bench.controller().restart("shop", Some("db"), None).unwrap();
    bench.restart().await;
    let app = bench.until("shop-app", "restarted", |state| !state.desired.follow.is_empty() && is_well(state)).await;
    bench
        .until("shop-app", "restarted", |state| state.observed.followed == state.desired.follow && is_well(state))
        .await;
    assert_eq!(app.desired.follow["db"], 1);
    bench.restart().await;
    bench.until("shop-app", "running", is_well).await;
    assert_eq!(bench.starts(), ["shop-db", "shop-app", "shop-db", "shop-app"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_replacement_rolls_back_to_the_same_instance() {
    let bench = Bench::new().await;
    let mut web = component("web", "sleep 1000");
    web.health = healthy_when(&["true"]);
    bench.deploy(&service(vec![web.clone()])).await.unwrap();
    let before = bench.until("shop-web", "healthy", |state| state.observed.health == HealthState::Healthy).await;
    web.health = healthy_when(&["false"]);
    let error = bench.deploy(&service(vec![web.clone()])).await.unwrap_err();
    assert!(error.contains("not healthy"), "{error}");
    let after = bench.until("shop-web", "rolled back", |state| state.observed.rolled_back_from == Some(2)).await;
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
    let state = bench.until("shop-web", "failed", |state| state.observed.phase == Phase::Failed).await;
    assert_eq!((state.observed.restarts, state.observed.exit.unwrap().code), (1, Some(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_from_outside_is_known_and_an_explicit_stop_beats_the_policy() {
    let bench = Bench::new().await;
    let mut web = component("web", "sleep 1000");
    web.restart = Restart::Always;
    bench.deploy(&service(vec![web])).await.unwrap();
    bench.memory.control().kill("shop-web-1-1", Signal::KILL).unwrap();
    let state = bench.until("shop-web", "restarting", |state| state.observed.phase == Phase::Restarting).await;
    assert_eq!(state.observed.exit.unwrap().signal, Some(9));
    let stopping = bench.controller().stop("shop", None, None).unwrap();
    bench.outcome(&stopping.record().id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let state = bench.controller().workload("shop-web").unwrap();
    assert_eq!((state.observed.phase, state.observed.restarts), (Phase::Stopped, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_adopts_what_runs() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    let before = bench.instances().await;
    bench.restart().await;
    bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
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
    let state = bench.until("shop-web", "failed", |state| state.observed.phase == Phase::Failed).await;
    assert_eq!(state.observed.exit.unwrap().code, Some(137));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_makes_no_second_instance() {
    let bench = Bench::new().await;
    bench.memory.control().lose_replies("run", 1);
    // What was made may be seen before the call comes back; then nothing is wrong.
    if let Err(error) = bench.deploy(&service(vec![component("web", "sleep 1000")])).await {
        assert!(!error.is_empty());
    }
    let state = bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
    assert_eq!(state.observed.current.unwrap().attempt, 1);
    assert_eq!(bench.names().await, ["shop-web-1-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_gone_makes_nothing_stopped() {
    let bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000")])).await.unwrap();
    bench.memory.control().down("killed");
    let state = bench.until("shop-web", "unknown", |state| state.observed.phase == Phase::Unknown).await;
    assert!(state.observed.exit.is_none());
    let error = bench.controller().instance("shop-web").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    bench.memory.control().up();
    bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
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
    bench.until("shop-web", "unknown", |state| state.observed.phase == Phase::Unknown).await;
    assert!(bench.kinds().contains(&"runtime.disconnected".to_owned()));
    bench.memory.control().up();
    bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
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
    bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
    bench.deploy(&shop).await.unwrap();
    assert_eq!(bench.instances().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undeploy_leaves_nothing_and_an_interrupted_one_goes_on() {
    let mut bench = Bench::new().await;
    bench.deploy(&service(vec![component("web", "sleep 1000"), component("db", "sleep 1000")])).await.unwrap();
    bench.memory.control().down("killed");
    bench.until("shop-web", "unknown", |state| state.observed.phase == Phase::Unknown).await;
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
async fn a_removal_that_failed_goes_on_as_it_says_and_reports_its_end() {
    let bench = Bench::new().await;
    let mut web = component("web", "sleep 1000");
    let source = hythe_spec::MountSource::Volume { name: "data".to_owned(), external: false };
    web.mounts = vec![hythe_spec::Mount { target: "/data".to_owned(), source, read_only: false }];
    bench.deploy(&service(vec![web])).await.unwrap();
    let mut foreign = bench.memory.control().plan("shop-web-1-1").unwrap();
    (foreign.identity.owner, foreign.identity.service) = ("other".to_owned(), "other".to_owned());
    let user = bench.memory.create(&OpContext::new("test"), &foreign).await.unwrap();
    let removing = bench.controller().undeploy("shop", true).unwrap().record().id;
    let failure = bench.outcome(&removing).await.unwrap_err();
    assert!(failure.contains("is used by `other-web-1-1`"), "{failure}");
    let record = bench.controller().operations().join(&removing).unwrap().record();
    assert!(record.error.unwrap()["hint"].as_str().unwrap().contains("goes on by itself"));
    // It is tried in vain meanwhile, and nobody is told of each try.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    bench.memory.remove(&OpContext::new("test"), &user.to_ref()).await.unwrap();
    for _ in 0..1000 {
        if bench.controller().services().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bench.controller().services().unwrap().is_empty());
    let events = bench.controller().events().read(&EventFilter::default()).unwrap();
    let of_service = events.iter().filter(|record| record.event.workload.is_none() && record.event.service.is_some());
    assert_eq!(of_service.map(|record| record.event.kind.as_str()).collect::<Vec<_>>(), ["warning", "removed"]);
    let operations = bench.controller().operations().all().unwrap();
    assert_eq!(operations.iter().filter(|operation| operation.kind == hythe_store::OperationKind::Undeploy).count(), 1);
    assert!(bench.memory.volumes().unwrap().list(&OpContext::new("test")).await.unwrap().is_empty());
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
    bench.until("shop-web", "running", |state| state.observed.phase == Phase::Running).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn start_of_a_stopped_service_takes_no_dependency_for_stopped() {
    let bench = Bench::new().await;
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut chain: Vec<Component> = names.iter().map(|name| component(name, "sleep 1000")).collect();
    for (component, next) in chain.iter_mut().zip(&names[1..]) {
        component.depends_on.insert((*next).to_owned(), Condition::Started.into());
    }
    bench.deploy(&service(chain)).await.unwrap();
    for _ in 0..3 {
        let stop = bench.controller().stop("shop", None, None).unwrap();
        bench.outcome(&stop.record().id).await.unwrap();
        let start = bench.controller().start_service("shop", None).unwrap();
        bench.outcome(&start.record().id).await.unwrap();
    }
    let events = bench.controller().events().read(&EventFilter::default()).unwrap();
    let odd: Vec<_> =
        events.into_iter().filter(|record| matches!(record.event.kind.as_str(), "failed" | "warning")).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_of_what_outlives_its_grace_says_so() {
    let bench = Bench::new().await;
    let mut web = component("web", "trap '' TERM; while true; do sleep 0.1; done");
    web.stop_grace = Millis(300);
    bench.deploy(&service(vec![web])).await.unwrap();
    let stopping = bench.controller().stop("shop", None, None).unwrap();
    bench.outcome(&stopping.record().id).await.unwrap();
    let state = bench.controller().workload("shop-web").unwrap();
    let message = "was killed by SIGKILL, since it had not ended within its stop grace of 300ms";
    assert_eq!((state.observed.phase, state.observed.message.as_deref()), (Phase::Stopped, Some(message)));
}

//! Adopting, purging and collecting on the in-process runtime. Real engines are the matter of `tests/e2e`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hythe_controller::{
    AdoptOptions, Connector, Controller, DeployOptions, GcOptions, GcSettings, ObjectKind, Settings,
};
use hythe_driver_memory::Memory;
use hythe_runtime::{Error, ErrorKind, Identity, InstanceId, OpContext, Plan, Runtime, State, VolumeSpec};
use hythe_spec::{Component, Drift, Network, Restart, RuntimeKind, Service};
use hythe_store::{Desired, OperationState, Phase, Store};

struct Bench {
    memory: Arc<Memory>,
    dir: tempfile::TempDir,
    controller: Option<Arc<Controller>>,
    gc: GcSettings,
}

impl Bench {
    async fn new() -> Self {
        let gc = GcSettings { interval: Duration::ZERO, min_age: Duration::ZERO, ..GcSettings::default() };
        let (memory, dir) = (Memory::builder().build(), tempfile::tempdir().unwrap());
        let mut bench = Self { memory, dir, controller: None, gc };
        bench.start().await;
        bench
    }

    async fn start(&mut self) {
        let path = self.dir.path().join("hythe.db");
        let store = loop {
            match Store::open(&path) {
                Ok(opened) => break opened.store,
                // The tasks of a controller that was shut down let go of it soon.
                Err(hythe_store::Error::Locked { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        };
        let memory = self.memory.clone();
        let connect = Arc::new(move || {
            let runtime: Arc<dyn Runtime> = memory.clone();
            let connected: futures_util::future::BoxFuture<'static, Result<Arc<dyn Runtime>, Error>> =
                Box::pin(async move { Ok(runtime) });
            connected
        });
        let connector = Connector { name: "memory".to_owned(), kind: RuntimeKind::Memory, connect };
        let settings = Settings { gc: self.gc.clone(), ..Settings::new("owner") };
        let controller = Controller::start(settings, Arc::new(store), vec![connector]).unwrap();
        controller.runtimes().tried().await;
        self.controller = Some(controller);
    }

    async fn restart(&mut self) {
        self.controller.take().unwrap().shutdown();
        self.start().await;
    }

    fn controller(&self) -> &Arc<Controller> {
        self.controller.as_ref().unwrap()
    }

    async fn deploy(&self, service: &Service) {
        let deployed = self.controller().deploy(service, &DeployOptions::default()).unwrap();
        if let Some(operation) = deployed.operation {
            self.done(&operation.record().id).await;
        }
    }

    async fn done(&self, operation: &str) {
        let mut joined = self.controller().operations().join(operation).unwrap();
        while joined.next().await.is_some() {}
        assert_eq!(joined.record().state, OperationState::Succeeded, "{:?}", joined.record());
    }

    async fn undeploy(&self, service: &str) {
        let operation = self.controller().undeploy(service, false).unwrap();
        self.done(&operation.record().id).await;
    }

    /// Starts a container of somebody else that runs this script.
    fn foreign(&self, name: &str, script: &str) -> InstanceId {
        let mut component = component("x", script);
        component.network = Network::None;
        let plan = Plan::resolve(&BTreeMap::new(), &component, identity("x", 1));
        self.memory.control().run_foreign(name, &plan).unwrap()
    }

    /// An instance with our labels that no store knows of.
    async fn leftover(&self, service_name: &str, generation: u64) -> InstanceId {
        let mut component = component(service_name, STAYS);
        component.network = Network::None;
        let plan = Plan::resolve(&BTreeMap::new(), &component, identity(service_name, generation));
        self.memory.run(&cx(), &plan).await.unwrap()
    }

    async fn state(&self, id: &InstanceId) -> Option<State> {
        self.memory.inspect(&cx(), &id.to_ref()).await.ok().map(|seen| seen.state)
    }

    async fn until(&self, workload: &str, phase: Phase) {
        for _ in 0..500 {
            if self.controller().workload(workload).is_ok_and(|state| state.observed.phase == phase) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("`{workload}` never was {phase:?}: {:?}", self.controller().workload(workload));
    }

    /// Two scans that count, then a collection.
    async fn collected(&self, options: GcOptions) -> Vec<String> {
        self.controller().garbage(GcOptions::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3100)).await;
        let collected = self.controller().collect(options).await.unwrap();
        assert!(collected.failed.is_empty(), "{:?}", collected.failed);
        collected.removed.into_iter().map(|candidate| candidate.object.name).collect()
    }
}

const STAYS: &str = "trap exit TERM; sleep 3600 & wait";

fn cx() -> OpContext {
    OpContext::new("test")
}

fn component(name: &str, script: &str) -> Component {
    let mut component = Component::new(name, Memory::TEST_IMAGE.parse().unwrap());
    component.command = Some(["sh", "-c", script].map(str::to_owned).to_vec());
    component
}

fn service(name: &str, components: Vec<Component>) -> Service {
    Service {
        name: name.to_owned(),
        node: None,
        labels: BTreeMap::new(),
        active: true,
        drift: Drift::Report,
        components,
    }
}

fn identity(service: &str, generation: u64) -> Identity {
    Identity {
        owner: "owner".to_owned(),
        service: service.to_owned(),
        component: service.to_owned(),
        generation,
        attempt: 1,
        plan_hash: "0".to_owned(),
    }
}

fn asked(instance: &str) -> AdoptOptions {
    AdoptOptions { instance: instance.to_owned(), ..AdoptOptions::default() }
}

#[tokio::test]
async fn an_adopted_one_is_a_workload_that_survives_a_restart_of_the_agent() {
    let mut bench = Bench::new().await;
    let id = bench.foreign("Their_Web", STAYS);
    let adopted = bench.controller().adopt(&asked("Their_Web")).await.unwrap();
    assert_eq!((adopted.workload.as_str(), &adopted.instance), ("their-web", &id));
    let text = hythe_spec::render(&adopted.service, &[]);
    assert!(text.contains("sleep 3600") && text.contains("restart = \"no\""), "{text}");
    for _ in 0..2 {
        let state = bench.controller().workload("their-web").unwrap();
        assert!(
            state.observed.current.as_ref().is_some_and(|current| current.adopted && current.id == Some(id.0.clone()))
        );
        assert_eq!(bench.controller().differences(&state).await, []);
        bench.restart().await;
        bench.until("their-web", Phase::Running).await;
    }
    assert_eq!(bench.state(&id).await, Some(State::Running));
    let again = bench.controller().deploy(&adopted.service, &DeployOptions::default()).unwrap();
    assert!(again.plan.is_unchanged(), "{:?}", again.plan);
    bench.undeploy("their-web").await;
    assert_eq!(bench.state(&id).await, None);
}

#[tokio::test]
async fn a_changed_adopted_one_is_replaced_by_one_of_ours() {
    let bench = Bench::new().await;
    let id = bench.foreign("web", STAYS);
    let mut service = bench.controller().adopt(&asked("web")).await.unwrap().service;
    service.components[0].env.insert("MODE".to_owned(), "ours".to_owned());
    service.components[0].restart = Restart::Always;
    bench.deploy(&service).await;
    let state = bench.controller().workload("web").unwrap();
    let current = state.observed.current.unwrap();
    assert!(!current.adopted && current.generation == 2, "{current:?}");
    assert_eq!(bench.state(&id).await, None, "what was replaced is left");
}

#[tokio::test]
async fn what_cannot_be_adopted_changes_nothing() {
    let bench = Bench::new().await;
    let control = bench.memory.control();
    let kind = async |options: &AdoptOptions| bench.controller().adopt(options).await.unwrap_err().kind();
    assert_eq!(kind(&asked("absent")).await, ErrorKind::NotFound);
    assert_eq!(kind(&AdoptOptions { runtime: Some("x".to_owned()), ..asked("absent") }).await, ErrorKind::NotFound);
    let id = bench.foreign("web", STAYS);
    for (label, value) in [("PODMAN_SYSTEMD_UNIT", "web.service"), ("hythe.owner", "other")] {
        bench.foreign(label, STAYS);
        control.label(label, label, value).unwrap();
        assert_eq!(kind(&AdoptOptions { force: true, ..asked(label) }).await, ErrorKind::Conflict, "{label}");
    }
    control.pause("web").unwrap();
    assert_eq!(kind(&asked("web")).await, ErrorKind::Conflict);
    control.unpause("web").unwrap();
    bench.deploy(&service("web", vec![component("web", STAYS)])).await;
    assert_eq!(kind(&asked("web")).await, ErrorKind::Conflict);
    let named =
        |name: &str| AdoptOptions { service: Some(name.to_owned()), component: Some("b".to_owned()), ..asked("web") };
    assert_eq!(kind(&named("No Label")).await, ErrorKind::Invalid);
    assert_eq!(bench.controller().workloads().len(), 1);
    control.down("gone");
    assert_eq!(kind(&named("other")).await, ErrorKind::Unavailable);
    control.up();
    bench.controller().adopt(&named("web")).await.unwrap();
    assert_eq!(kind(&named("other")).await, ErrorKind::Conflict, "adopted twice");
    assert_eq!(bench.state(&id).await, Some(State::Running));
}

#[tokio::test]
async fn compose_names_what_it_made_and_gives_it_up_by_force_only() {
    let bench = Bench::new().await;
    bench.foreign("shop_web_1", STAYS);
    let control = bench.memory.control();
    for (key, value) in [("project", "shop"), ("service", "web")] {
        control.label("shop_web_1", &format!("com.docker.compose.{key}"), value).unwrap();
    }
    assert_eq!(bench.controller().adopt(&asked("shop_web_1")).await.unwrap_err().kind(), ErrorKind::Conflict);
    let adopted = bench.controller().adopt(&AdoptOptions { force: true, ..asked("shop_web_1") }).await.unwrap();
    assert_eq!((adopted.workload.as_str(), adopted.warnings.len()), ("shop-web", 1));
    assert!(adopted.service.components[0].labels.is_empty());
}

#[tokio::test]
async fn a_purge_takes_what_rests_and_names_what_runs() {
    let bench = Bench::new().await;
    for name in ["kept", "rests", "runs"] {
        bench.deploy(&service(name, vec![component(name, STAYS)])).await;
    }
    let stop = bench.controller().stop("rests", None, None).unwrap();
    bench.done(&stop.record().id).await;
    let described = ["kept".to_owned()];
    for dry_run in [true, false] {
        let purged = bench.controller().purge(&described, false, dry_run).await.unwrap();
        let told: Vec<_> = purged.services.iter().map(|one| (one.name.as_str(), one.refusal.is_some())).collect();
        assert_eq!(told, [("rests", false), ("runs", true)]);
        let begun: Vec<_> = purged.services.iter().filter_map(|one| one.operation.as_ref()).collect();
        assert_eq!(begun.len(), usize::from(!dry_run));
        for operation in begun {
            bench.done(&operation.record().id).await;
        }
    }
    let left: Vec<String> = bench.controller().services().unwrap().into_iter().map(|one| one.desired.name).collect();
    assert_eq!(left, ["kept", "runs"]);
}

#[tokio::test]
async fn what_an_engine_does_not_say_is_not_purged() {
    let mut bench = Bench::new().await;
    bench.deploy(&service("rests", vec![component("rests", STAYS)])).await;
    let stop = bench.controller().stop("rests", None, None).unwrap();
    bench.done(&stop.record().id).await;
    let control = bench.memory.control();
    control.down("gone");
    let purged = bench.controller().purge(&[], false, false).await.unwrap();
    assert!(purged.services[0].refusal.is_some() && purged.services[0].operation.is_none());
    control.up();
    bench.restart().await;
    // Started behind the agent's back: the engine knows better than the store.
    let state = bench.controller().workload("rests").unwrap();
    let id = InstanceId(state.observed.current.unwrap().id.unwrap());
    bench.memory.start(&cx(), &id.to_ref()).await.unwrap();
    let purged = bench.controller().purge(&[], false, false).await.unwrap();
    assert_eq!(purged.services[0].refusal.as_ref().map(Error::kind), Some(ErrorKind::Conflict));
    assert_eq!(bench.state(&id).await, Some(State::Running));
}

#[tokio::test]
async fn only_what_was_forgotten_on_purpose_is_collected() {
    let bench = Bench::new().await;
    let forgotten = component("gone", STAYS);
    bench.deploy(&service("gone", vec![forgotten])).await;
    bench.undeploy("gone").await;
    bench.deploy(&service("kept", vec![component("kept", STAYS)])).await;
    let left = bench.leftover("gone", 1).await;
    let unknown = bench.leftover("unknown", 1).await;
    let newer = bench.leftover("gone", 7).await;
    let adopted = bench.foreign("theirs", STAYS);
    bench.controller().adopt(&asked("theirs")).await.unwrap();
    assert_eq!(bench.collected(GcOptions { volumes: true, ..GcOptions::default() }).await, ["gone-1-1"]);
    assert_eq!(bench.state(&left).await, None);
    for alive in [&unknown, &newer, &adopted] {
        assert_eq!(bench.state(alive).await, Some(State::Running));
    }
    assert_eq!(bench.controller().workload("kept").unwrap().desired.desired, Desired::Running);
    bench.until("kept", Phase::Running).await;
}

#[tokio::test]
async fn volumes_are_collected_when_asked_for() {
    let bench = Bench::new().await;
    let volumes = bench.memory.volumes().unwrap();
    for (owner, name) in [("owner", "ours"), ("other", "theirs")] {
        let labels = [("hythe.owner", owner), ("hythe.service", "gone")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        volumes.ensure(&cx(), &VolumeSpec { name: name.to_owned(), labels }).await.unwrap();
    }
    assert_eq!(bench.collected(GcOptions::default()).await, [""; 0]);
    let shown = bench.controller().garbage(GcOptions::default()).await.unwrap();
    assert!(shown.len() == 1 && shown[0].eligible && shown[0].object.kind == ObjectKind::Volume, "{shown:?}");
    assert_eq!(bench.collected(GcOptions { volumes: true, ..GcOptions::default() }).await, ["ours"]);
    assert_eq!(volumes.list(&cx()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn engine_that_does_not_answer_has_no_orphans() {
    let bench = Bench::new().await;
    bench.deploy(&service("gone", vec![component("gone", STAYS)])).await;
    bench.undeploy("gone").await;
    let left = bench.leftover("gone", 1).await;
    assert_eq!(bench.controller().garbage(GcOptions::default()).await.unwrap().len(), 1);
    bench.memory.control().down("gone");
    assert_eq!(bench.controller().garbage(GcOptions::default()).await.unwrap().len(), 0);
    bench.memory.control().up();
    assert_eq!(bench.state(&left).await, Some(State::Running));
}

#[tokio::test]
async fn gc_scans_at_intervals_and_removes_eligible_orphans() {
    let mut bench = Bench::new().await;
    bench.deploy(&service("gone", vec![component("gone", STAYS)])).await;
    bench.undeploy("gone").await;
    let left = bench.leftover("gone", 1).await;
    bench.gc.interval = Duration::from_millis(500);
    bench.restart().await;
    for _ in 0..100 {
        if bench.state(&left).await.is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it was never collected");
}

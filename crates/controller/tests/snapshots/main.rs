//! Snapshots on the in-process runtimes. Real engines are the matter of `tests/e2e`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hythe_controller::{
    AdoptOptions, Connector, Controller, DeployOptions, GcOptions, GcSettings, OperationHandle, Settings,
};
use hythe_driver_memory::Memory;
use hythe_runtime::layers::{Fault, FaultScript, Layered};
use hythe_runtime::{Error, ErrorKind, ExecRequest, Identity, Listed, OpContext, Plan, Runtime};
use hythe_spec::{Component, Drift, Health, Millis, OnFailure, Probe, Restart, RuntimeKind, Service};
use hythe_store::{EventFilter, OperationState, Phase, Store};
use serde_json::Value;

/// Two engines, the first with faults on purpose, and a controller for both.
struct Bench {
    memory: Arc<Memory>,
    store: Arc<Store>,
    connectors: Vec<Connector>,
    controller: Arc<Controller>,
    _dir: tempfile::TempDir,
}

fn connector(name: &str, runtime: Arc<dyn Runtime>) -> Connector {
    let kind = runtime.info().kind;
    let connect = Arc::new(move || {
        let runtime = runtime.clone();
        let connected: futures_util::future::BoxFuture<'static, Result<Arc<dyn Runtime>, Error>> =
            Box::pin(async move { Ok(runtime) });
        connected
    });
    Connector { name: name.to_owned(), kind, connect }
}

impl Bench {
    async fn new(faults: &str) -> Self {
        let memory = Memory::builder().build();
        let other = Memory::builder().name("other").kind(RuntimeKind::Podman).build();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let script: FaultScript = faults.parse().unwrap();
        let faulty: Arc<dyn Runtime> = Layered::around(memory.clone(), Fault::new(script));
        let connectors = vec![connector("memory", faulty), connector("other", other)];
        let store = Arc::new(store);
        let controller = Self::started(&store, &connectors).await;
        Self { memory, store, connectors, controller, _dir: dir }
    }

    async fn started(store: &Arc<Store>, connectors: &[Connector]) -> Arc<Controller> {
        let settings = Settings {
            gc: GcSettings { interval: Duration::ZERO, min_age: Duration::ZERO, ..GcSettings::default() },
            drift_interval: Duration::from_millis(100),
            ..Settings::new("owner")
        };
        let controller = Controller::start(settings, store.clone(), connectors.to_vec()).unwrap();
        controller.runtimes().tried().await;
        controller
    }

    /// The agent dies and another takes over.
    async fn again(&mut self, meanwhile: impl AsyncFn(&Self)) {
        self.controller.shutdown();
        meanwhile(self).await;
        self.controller = Self::started(&self.store, &self.connectors).await;
    }

    /// With a service of one component that says what is in a file, and writes there what it is told.
    async fn deployed(faults: &str) -> Self {
        let bench = Self::new(faults).await;
        bench.deploy(&shop(Memory::TEST_IMAGE, "echo old > /file")).await.unwrap();
        bench
    }

    async fn deploy(&self, service: &Service) -> Result<Value, (String, String)> {
        match self.controller.deploy(service, &DeployOptions::default()).unwrap().operation {
            Some(operation) => self.outcome(&operation).await,
            None => Ok(Value::Null),
        }
    }

    /// Its result, or the kind and the hint of its error.
    async fn outcome(&self, operation: &OperationHandle) -> Result<Value, (String, String)> {
        let mut joined = self.controller.operations().join(&operation.record().id).unwrap();
        while joined.next().await.is_some() {}
        let record = joined.record();
        if record.state == OperationState::Succeeded {
            return Ok(record.result.unwrap_or_default());
        }
        let error = record.error.unwrap();
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        Err((text("kind"), format!("{} {}", text("message"), text("hint"))))
    }

    async fn create(&self, name: Option<&str>) -> Result<String, (String, String)> {
        let operation = self.controller.snapshot("shop", name).unwrap();
        self.outcome(&operation).await.map(|result| result["image"].as_str().unwrap().to_owned())
    }

    async fn names(&self) -> Vec<String> {
        let all = self.controller.snapshots(None, None).await.unwrap();
        all.into_iter().map(|one| one.snapshot.name).collect()
    }

    async fn until(&self, workload: &str, phase: Phase) {
        for _ in 0..500 {
            if self.controller.workload(workload).is_ok_and(|state| state.observed.phase == phase) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("`{workload}` never was {phase:?}: {:?}", self.controller.workload(workload));
    }

    /// Whether the shop's first instance is replaced.
    async fn is_made_anew(&self) -> bool {
        for _ in 0..500 {
            if self.controller.workload("shop").is_ok_and(|state| state.observed.attempt == 2) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    async fn exit_code(&self) -> i32 {
        self.until("shop", Phase::Completed).await;
        self.controller.workload("shop").unwrap().observed.exit.unwrap().code.unwrap()
    }

    async fn rows(&self) -> Vec<Listed> {
        self.memory.list(&OpContext::new("test"), &hythe_runtime::Filter::default()).await.unwrap()
    }

    async fn inside(&self, script: &str) {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let id = self.rows().await.remove(0).id;
        let request = ExecRequest { command, ..ExecRequest::default() };
        let mut session =
            self.memory.exec().unwrap().exec(&OpContext::new("test"), &id.to_ref(), &request).await.unwrap();
        while session.output.next().await.is_some() {}
    }

    fn kinds(&self) -> Vec<String> {
        let events = self.controller.events().read(&EventFilter::default()).unwrap();
        events.into_iter().map(|record| record.event.kind.to_string()).collect()
    }
}

const STAYS: &str = "trap exit TERM; sleep 3600 & wait";
const FIRST: &str = "localhost/hythe/shop/shop:1";

fn shop(image: &str, script: &str) -> Service {
    let mut component = Component::new("shop", image.parse().unwrap());
    component.command = Some(["sh", "-c", &format!("{script}; {STAYS}")].map(str::to_owned).to_vec());
    component.stop_grace = Millis(200);
    Service {
        name: "shop".to_owned(),
        node: None,
        labels: BTreeMap::new(),
        active: true,
        drift: Drift::Report,
        components: vec![component],
    }
}

/// Ends with 0 where the file holds this word.
fn reads(image: &str, word: &str) -> Service {
    let mut service = shop(image, "true");
    let script = format!("read it < /file; test \"$it\" = {word}");
    service.components[0].command = Some(["sh", "-c", &script].map(str::to_owned).to_vec());
    service.components[0].restart = Restart::No;
    service
}

#[tokio::test]
async fn a_workload_goes_back_to_its_files() {
    let bench = Bench::deployed("").await;
    assert_eq!(bench.create(None).await.unwrap(), FIRST);
    bench.deploy(&reads(Memory::TEST_IMAGE, "old")).await.unwrap_err();
    bench.deploy(&reads(FIRST, "old")).await.unwrap();
    assert_eq!(bench.exit_code().await, 0);
    let pulled = bench.kinds().into_iter().filter(|kind| kind == "image.pulled").count();
    assert_eq!(pulled, 0, "a snapshot was fetched from somewhere");
    let state = bench.controller.workload("shop").unwrap();
    assert_eq!(bench.controller.differences(&state).await, []);
    let told = bench.kinds();
    assert!(told.contains(&"snapshot.created".to_owned()) && !told.contains(&"drift".to_owned()), "{told:?}");
}

#[tokio::test]
async fn names_are_numbers_or_given_and_never_given_twice() {
    let bench = Bench::deployed("").await;
    assert_eq!(bench.create(Some("7")).await.unwrap(), "localhost/hythe/shop/shop:7");
    assert_eq!(bench.create(None).await.unwrap(), "localhost/hythe/shop/shop:8");
    bench.controller.remove_snapshot("shop:8", None).await.unwrap();
    assert_eq!(bench.create(None).await.unwrap(), "localhost/hythe/shop/shop:9", "8 was used");
    let before = bench.controller.snapshots(None, Some("shop")).await.unwrap();
    let (kind, words) = bench.create(Some("7")).await.unwrap_err();
    assert_eq!(kind, "already-exists", "{words}");
    assert!(words.contains("shop:7") && words.contains("hythe snapshot rm"), "{words}");
    assert_eq!(bench.controller.snapshots(Some("memory"), None).await.unwrap(), before);
    assert_eq!(bench.controller.snapshots(None, Some("blog")).await.unwrap(), []);
    for wrong in ["", "a b", "a:b", "x@sha256:1"] {
        assert_eq!(bench.controller.snapshot("shop", Some(wrong)).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
    }
}

#[tokio::test]
async fn of_many_at_once_none_is_lost() {
    let bench = Bench::deployed("snapshot-commit * delay 20").await;
    let begun: Vec<_> = (0..4).map(|_| bench.controller.snapshot("shop", None).unwrap()).collect();
    let mut names = Vec::new();
    for operation in &begun {
        names.push(bench.outcome(operation).await.unwrap()["image"].as_str().unwrap().to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!((names.len(), bench.names().await), (4, names));

    let same: Vec<_> = (0..2).map(|_| bench.controller.snapshot("shop", Some("same")).unwrap()).collect();
    let mut outcomes = Vec::new();
    for operation in &same {
        outcomes.push(bench.outcome(operation).await.is_ok());
    }
    assert_eq!(outcomes.iter().filter(|good| **good).count(), 1, "{outcomes:?}");
}

#[tokio::test]
async fn an_answer_that_is_lost_loses_and_doubles_nothing() {
    let bench = Bench::deployed("snapshot-commit 1 lose; snapshot-commit 2 fail exhausted").await;
    assert_eq!(bench.create(None).await.unwrap(), FIRST);
    assert_eq!(bench.names().await, [FIRST]);
    let (kind, _) = bench.create(None).await.unwrap_err();
    assert_eq!((kind.as_str(), bench.names().await), ("exhausted", vec![FIRST.to_owned()]));
    assert!(bench.create(None).await.unwrap().ends_with(":2"));
}

#[tokio::test]
async fn what_is_stopped_or_adopted_is_kept_too() {
    let bench = Bench::deployed("").await;
    let stopped = bench.controller.stop("shop", None, None).unwrap();
    bench.outcome(&stopped).await.unwrap();
    assert_eq!(bench.create(None).await.unwrap(), FIRST);

    let plan = {
        let mut component = shop(Memory::TEST_IMAGE, "true").components.remove(0);
        component.network = hythe_spec::Network::None;
        let identity = Identity {
            owner: "x".to_owned(),
            service: "x".to_owned(),
            component: "x".to_owned(),
            generation: 1,
            attempt: 1,
            plan_hash: "0".to_owned(),
        };
        Plan::resolve(&BTreeMap::new(), &component, identity)
    };
    bench.memory.control().run_foreign("theirs", &plan).unwrap();
    let options = AdoptOptions { instance: "theirs".to_owned(), ..AdoptOptions::default() };
    bench.controller.adopt(&options).await.unwrap();
    let kept = bench.outcome(&bench.controller.snapshot("theirs", None).unwrap()).await.unwrap();
    assert_eq!(kept["image"], "localhost/hythe/theirs/theirs:1");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    let bench = Bench::new("run * delay 300").await;
    assert_eq!(bench.controller.snapshot("shop", None).unwrap_err().kind(), ErrorKind::NotFound);
    let deploying = bench.controller.deploy(&shop(Memory::TEST_IMAGE, "true"), &DeployOptions::default()).unwrap();
    let early = match bench.controller.snapshot("shop", None) {
        Ok(operation) => bench.outcome(&operation).await.map(|_| ()),
        Err(error) => Err((error.kind().as_str().to_owned(), String::new())),
    };
    assert!(early.is_ok() || early.as_ref().unwrap_err().0 == "conflict", "{early:?}");
    bench.outcome(&deploying.operation.unwrap()).await.unwrap();
    let unknown = bench.controller.snapshots(Some("nowhere"), None).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);

    let id = bench.rows().await.remove(0).id;
    bench.memory.control().down("it was stopped");
    let away = match bench.controller.snapshot("shop", None) {
        Ok(operation) => bench.outcome(&operation).await.unwrap_err().0,
        Err(error) => error.kind().as_str().to_owned(),
    };
    assert_eq!(away, "unavailable", "{id}");
}

#[tokio::test]
async fn what_is_used_stays_and_the_rest_can_go() {
    let bench = Bench::deployed("").await;
    bench.create(None).await.unwrap();
    bench.deploy(&shop(FIRST, "true")).await.unwrap();
    let refused = bench.controller.remove_snapshot("shop:1", None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert!(refused.message().contains("shop") && refused.next_step().is_some(), "{refused}");
    bench.deploy(&shop(Memory::TEST_IMAGE, "true")).await.unwrap();
    bench.controller.remove_snapshot("shop/shop:1", Some("memory")).await.unwrap();
    assert_eq!(bench.names().await, [""; 0]);
    let gone = bench.controller.remove_snapshot("shop:1", None).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert!(bench.kinds().contains(&"snapshot.removed".to_owned()));
}

#[tokio::test]
async fn a_snapshot_that_a_runtime_lacks_is_not_fetched() {
    let bench = Bench::deployed("").await;
    bench.create(None).await.unwrap();
    let (kind, words) = bench.deploy(&shop("localhost/hythe/shop/shop:9", "true")).await.unwrap_err();
    assert_eq!(kind, "not-found", "{words}");
    assert!(words.contains("has no snapshot") && words.contains("hythe snapshot ls"), "{words}");

    let mut elsewhere = Service { name: "blog".to_owned(), ..shop(FIRST, "true") };
    elsewhere.components[0].name = "blog".to_owned();
    elsewhere.components[0].runtime = Some(RuntimeKind::Podman);
    let (kind, words) = bench.deploy(&elsewhere).await.unwrap_err();
    assert_eq!(kind, "not-found", "{words}");
    assert!(words.contains("`other` has no snapshot") && words.contains("runtime = \"memory\""), "{words}");
}

#[tokio::test]
async fn it_outlives_its_service() {
    let bench = Bench::deployed("").await;
    bench.create(None).await.unwrap();
    let (found, mounts) = bench.controller.snapshot_mounts("shop:1", None).await.unwrap();
    assert_eq!((found.runtime.as_str(), found.snapshot.identity.generation), ("memory", 1));
    assert_eq!(mounts.unwrap_err().kind(), ErrorKind::Unsupported);
    let undeploy = bench.controller.undeploy("shop", true).unwrap();
    bench.outcome(&undeploy).await.unwrap();
    bench.controller.garbage(GcOptions::default()).await.unwrap();
    let collected = bench.controller.collect(GcOptions { volumes: true, ..GcOptions::default() }).await.unwrap();
    assert!(collected.removed.is_empty(), "{collected:?}");
    assert_eq!(bench.names().await, [FIRST]);
    bench.deploy(&reads(FIRST, "old")).await.unwrap();
    assert_eq!(bench.exit_code().await, 0);
}

/// A snapshot that takes its time, and what happens to the instance meanwhile; nothing may have come of it.
async fn undisturbed(before: impl AsyncFn(&Bench), after: impl AsyncFn(&Bench)) {
    let bench = Bench::new("snapshot-commit 1 delay 1000").await;
    let mut service = Service { drift: Drift::Heal, ..shop(Memory::TEST_IMAGE, "true") };
    service.components[0].health = Some(Health {
        probe: Probe::Exec { command: ["test", "!", "-e", "/held"].map(str::to_owned).to_vec() },
        interval: Millis(20),
        timeout: Millis(50),
        retries: 2,
        start_period: Millis(0),
        start_interval: None,
        on_failure: OnFailure::Restart,
    });
    bench.deploy(&service).await.unwrap();
    let known = bench.controller.workload("shop").unwrap().observed;
    let making = bench.controller.snapshot("shop", None).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    before(&bench).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    after(&bench).await;
    bench.outcome(&making).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let now = bench.controller.workload("shop").unwrap().observed;
    let told = bench.kinds();
    assert_eq!((now.phase, now.restarts, now.attempt), (Phase::Running, 0, known.attempt), "{told:?}");
    assert_eq!(now.current.unwrap().id, known.current.unwrap().id);
    assert!(!told.iter().any(|kind| kind == "drift" || kind == "unhealthy"), "{told:?}");
}

#[tokio::test]
async fn an_instance_that_its_engine_holds_still_is_not_healed() {
    let pause = async |bench: &Bench| bench.memory.control().pause("shop-1-1").unwrap();
    undisturbed(pause, async |bench| bench.memory.control().unpause("shop-1-1").unwrap()).await;
}

#[tokio::test]
async fn nor_is_one_that_its_engine_holds_for_an_agent_that_died() {
    let mut bench = Bench::new("snapshot-commit 1 delay 600000").await;
    bench.deploy(&Service { drift: Drift::Heal, ..shop(Memory::TEST_IMAGE, "true") }).await.unwrap();
    let known = bench.controller.workload("shop").unwrap().observed.current.unwrap().id;
    bench.controller.snapshot("shop", None).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    bench.again(async |bench| bench.memory.control().pause("shop-1-1").unwrap()).await;
    bench.until("shop", Phase::Paused).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Nor is the one after it the last.
    bench.again(async |_| ()).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    bench.memory.control().unpause("shop-1-1").unwrap();
    bench.until("shop", Phase::Running).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let now = bench.controller.workload("shop").unwrap().observed.current.unwrap().id;
    assert_eq!(now, known, "{:?}", bench.kinds());

    // From then on a pause is somebody's again.
    bench.memory.control().pause("shop-1-1").unwrap();
    assert!(bench.is_made_anew().await, "{:?}", bench.kinds());
}

/// The engine died with the agent, say: nobody will let it run again.
#[tokio::test]
async fn one_that_stays_held_long_after_its_agent_died_is_healed() {
    let mut bench = Bench::new("snapshot-commit 1 delay 600000").await;
    bench.deploy(&Service { drift: Drift::Heal, ..shop(Memory::TEST_IMAGE, "true") }).await.unwrap();
    bench.controller.snapshot("shop", None).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    bench.again(async |bench| bench.memory.control().pause("shop-1-1").unwrap()).await;
    bench.until("shop", Phase::Paused).await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(bench.controller.workload("shop").unwrap().observed.attempt, 1, "{:?}", bench.kinds());
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(bench.is_made_anew().await, "{:?}", bench.kinds());
    assert!(bench.kinds().iter().any(|kind| kind == "drift"), "{:?}", bench.kinds());
}

#[tokio::test]
async fn an_instance_is_not_probed_meanwhile() {
    undisturbed(async |bench| bench.inside("touch /held").await, async |bench| bench.inside("rm /held").await).await;
}

#[tokio::test]
async fn a_stop_waits_and_a_withdrawal_does_not() {
    let bench = Bench::deployed("snapshot-commit 1 delay 500; snapshot-commit 2 delay 60000").await;
    let first = bench.controller.snapshot("shop", None).unwrap();
    bench.outcome(&bench.controller.stop("shop", None, None).unwrap()).await.unwrap();
    assert_eq!(first.record().state, OperationState::Succeeded, "the files are those from before the stop");

    let hangs = bench.controller.snapshot("shop", None).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = bench.controller.start_service("shop", None).unwrap();
    bench.controller.operations().cancel(&hangs.record().id).unwrap();
    bench.outcome(&start).await.unwrap();
    assert_eq!(hangs.record().state, OperationState::Cancelled);
    assert_eq!(bench.names().await, [FIRST]);
}

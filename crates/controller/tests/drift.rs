//! The watch for drift on the in-process runtime. Real engines are the matter of `tests/e2e`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hythe_controller::{Connector, Controller, DeployOptions, GcSettings, Settings};
use hythe_driver_memory::Memory;
use hythe_runtime::{Error, InstanceRef, OpContext, Runtime, State};
use hythe_spec::vocabulary::{DriftCause, EventKind};
use hythe_spec::{Component, Drift, Millis, RuntimeKind, Service, Signal};
use hythe_store::{EventFilter, Phase, Store};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

struct Bench {
    memory: Arc<Memory>,
    controller: Arc<Controller>,
    /// Holds the store.
    _dir: tempfile::TempDir,
}

impl Bench {
    /// With one service that runs and whose differences are told.
    async fn new(drift_interval: Duration) -> Self {
        Self::with(drift_interval, Drift::Report).await
    }

    async fn with(drift_interval: Duration, drift: Drift) -> Self {
        let (memory, dir) = (Memory::builder().build(), tempfile::tempdir().unwrap());
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let runtime: Arc<dyn Runtime> = memory.clone();
        let connect = Arc::new(move || {
            let runtime = runtime.clone();
            let connected: BoxFuture<'static, Result<Arc<dyn Runtime>, Error>> = Box::pin(async move { Ok(runtime) });
            connected
        });
        let connector = Connector { name: "memory".to_owned(), kind: RuntimeKind::Memory, connect };
        let settings = Settings {
            keep_events: 1000,
            keep_operations: 50,
            gc: GcSettings { interval: Duration::ZERO, ..GcSettings::default() },
            drift_interval,
            ..Settings::new("owner")
        };
        let controller = Controller::start(settings, Arc::new(store), vec![connector]).unwrap();
        controller.runtimes().tried().await;
        let bench = Self { memory, controller, _dir: dir };
        bench.deploy(drift).await;
        bench
    }

    async fn deploy(&self, drift: Drift) {
        let mut component = Component::new("shop", Memory::TEST_IMAGE.parse().unwrap());
        component.command = Some(["sleep", "1000"].map(str::to_owned).to_vec());
        component.stop_grace = Millis(0);
        let service = Service {
            name: "shop".to_owned(),
            node: None,
            labels: BTreeMap::new(),
            active: true,
            drift,
            components: vec![component],
        };
        self.controller.deploy(&service, &DeployOptions::default()).unwrap();
        while self.controller.workload("shop").unwrap().observed.phase != Phase::Running {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the events about drift told so far, in short.
    fn told(&self) -> Vec<Vec<(String, String)>> {
        let events = self.controller.events().read(&EventFilter::default()).unwrap();
        let told = events.into_iter().filter(|record| record.event.kind == EventKind::Drift);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let short = |details: Value| {
            let differences = details["differences"].as_array().cloned().unwrap_or_default();
            differences.iter().map(|found| (text(&found["field"]), text(&found["cause"]))).collect()
        };
        told.map(|record| short(record.event.details)).collect()
    }

    fn healings(&self) -> Vec<Value> {
        let events = self.controller.events().read(&EventFilter::default()).unwrap();
        let healing = events.into_iter().filter(|record| record.event.kind == EventKind::Healing);
        healing.map(|record| record.event.details["reason"].clone()).collect()
    }

    /// The names of what the engine has.
    fn instances(&self) -> Vec<String> {
        self.memory.control().observed().into_iter().map(|seen| seen.name).collect()
    }

    /// One instance, of this name, that runs.
    async fn has_only(&self, name: &str) {
        let runs = || self.controller.workload("shop").unwrap().observed.phase == Phase::Running;
        let waited = tokio::time::timeout(LIMIT, async {
            while !(runs() && self.instances() == [name]) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?}: {:#?}", self.instances(), self.controller.workload("shop"));
    }

    async fn until(&self, count: usize) -> Vec<Vec<(String, String)>> {
        let mut news = self.controller.events().listen();
        let waited = tokio::time::timeout(LIMIT, async {
            while self.told().len() < count {
                news.recv().await.unwrap();
            }
        });
        assert!(waited.await.is_ok(), "{:?}", self.told());
        self.told()
    }
}

fn renamed() -> Vec<(String, String)> {
    vec![("name".to_owned(), "renamed".to_owned())]
}

#[tokio::test]
async fn a_change_is_reported_once_and_so_is_its_end() {
    let bench = Bench::new(Duration::from_millis(100)).await;
    bench.memory.control().rename("shop-1-1", "mine").unwrap();
    assert_eq!(bench.until(1).await, [renamed()]);
    // Longer than many rounds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.told(), [renamed()]);
    bench.memory.control().rename("mine", "shop-1-1").unwrap();
    assert_eq!(bench.until(2).await, [renamed(), Vec::new()]);
}

#[tokio::test]
async fn an_engines_event_is_enough() {
    let bench = Bench::new(Duration::from_secs(3600)).await;
    bench.memory.control().rename("shop-1-1", "mine").unwrap();
    assert_eq!(bench.until(1).await, [renamed()]);
    bench.memory.control().pause("mine").unwrap();
    let told = bench.until(2).await;
    assert_eq!(told[1], [[("state".to_owned(), "paused".to_owned())].as_slice(), &renamed()].concat());
}

#[tokio::test]
async fn without_an_interval_nothing_is_watched_and_a_look_still_finds_it() {
    let bench = Bench::new(Duration::ZERO).await;
    bench.memory.control().rename("shop-1-1", "mine").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.told(), [] as [Vec<(String, String)>; 0]);
    let found = bench.controller.differences(&bench.controller.workload("shop").unwrap()).await;
    assert_eq!(
        found.iter().map(|found| (found.field.as_str(), found.cause)).collect::<Vec<_>>(),
        [("name", DriftCause::Renamed)]
    );
}

#[tokio::test]
async fn what_was_changed_is_replaced_once_where_that_is_the_policy() {
    let bench = Bench::with(Duration::from_millis(100), Drift::Heal).await;
    bench.memory.control().rename("shop-1-1", "mine").unwrap();
    bench.has_only("shop-1-2").await;
    assert_eq!(bench.healings(), ["name"]);
    bench.memory.control().pause("shop-1-2").unwrap();
    bench.has_only("shop-1-3").await;
    assert_eq!(bench.healings(), ["name", "state"]);
    // Longer than many rounds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((bench.healings().len(), bench.instances()), (2, vec!["shop-1-3".to_owned()]));
    let found = bench.controller.differences(&bench.controller.workload("shop").unwrap()).await;
    assert_eq!(found, []);
}

#[tokio::test]
async fn without_that_policy_it_is_only_reported() {
    let bench = Bench::new(Duration::from_millis(100)).await;
    bench.memory.control().rename("shop-1-1", "mine").unwrap();
    bench.until(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((bench.healings().len(), bench.instances()), (0, vec!["mine".to_owned()]));
}

#[tokio::test]
async fn what_a_task_reports_has_the_same_shape() {
    let bench = Bench::new(Duration::from_secs(3600)).await;
    bench.controller.stop("shop", None, None).unwrap();
    while bench.controller.workload("shop").unwrap().observed.phase != Phase::Stopped {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.memory.start(&OpContext::new("test"), &InstanceRef::name("shop-1-1")).await.unwrap();
    assert_eq!(bench.until(1).await, [[("state".to_owned(), "modified".to_owned())]]);
}

#[tokio::test]
async fn an_end_whose_event_was_lost_is_found_and_restarted() {
    let bench = Bench::new(Duration::from_millis(100)).await;
    let control = bench.memory.control();
    control.lose_ends(1);
    control.kill("shop-1-1", Signal::KILL).unwrap();
    let runs = || control.observed().iter().any(|seen| seen.state == State::Running);
    while runs() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waited = tokio::time::timeout(LIMIT, async {
        while !runs() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:#?}", bench.controller.workload("shop"));
    assert_eq!(bench.instances().len(), 1);
}

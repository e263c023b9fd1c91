#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use hythe_controller::{Connect, Connector, Controller, Settings};
use hythe_discovery::Discovery;
use hythe_driver_memory::Memory;
use hythe_runtime::{Identity, Plan, PlanNetwork, Runtime};
use hythe_spec::Component;
use hythe_store::Store;

use super::*;

struct Bench {
    memory: Arc<Memory>,
    discovery: Arc<Discovery>,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("hythe.db")).unwrap().store;
        let memory = Memory::builder().build();
        let answer = memory.clone();
        let connect: Connect = Arc::new(move || {
            let runtime: Arc<dyn Runtime> = answer.clone();
            Box::pin(std::future::ready(Ok(runtime)))
        });
        let connector = Connector { name: "m".to_owned(), kind: memory.info().kind, connect };
        let settings = Settings::new("agent");
        let controller = Controller::start(settings, Arc::new(store), vec![connector]).unwrap();
        controller.runtimes().tried().await;
        Self { memory, discovery: crate::discovery::of(&controller), _directory: directory }
    }

    fn run_foreign(&self, name: &str) -> String {
        let mut component = Component::new("web", Memory::TEST_IMAGE.parse().unwrap());
        component.command = Some(["sleep", "1000"].map(str::to_owned).to_vec());
        let identity = Identity {
            owner: "other".to_owned(),
            service: "shop".to_owned(),
            component: "web".to_owned(),
            generation: 1,
            attempt: 1,
            plan_hash: "h".to_owned(),
        };
        let plan = Plan {
            network: PlanNetwork::None,
            ..Plan::resolve(&std::collections::BTreeMap::new(), &component, identity)
        };
        self.memory.control().run_foreign(name, &plan).unwrap().0
    }

    async fn feed(&self, view: View) -> std::pin::Pin<Box<dyn Stream<Item = InstanceEvent> + Send>> {
        Box::pin(events(self.discovery.follow().await, view))
    }
}

fn view() -> View {
    View { all: false, foreign: false, runtime: None, show_secrets: false }
}

#[tokio::test]
async fn each_event_names_the_one_before_it_also_where_some_are_left_out() {
    let bench = Bench::new().await;
    let mut feed = bench.feed(view()).await;
    let snapshot = feed.next().await.unwrap();
    assert_eq!((snapshot.change.kind(), snapshot.after), ("snapshot", None));
    let id = bench.run_foreign("a");
    let started = feed.next().await.unwrap();
    assert_eq!((started.change.kind(), started.after), ("started", Some(snapshot.id)));
    assert_eq!(started.id, snapshot.id + 2, "that it was made is not asked for, and has its place");
    bench.memory.control().remove(&id).await.unwrap();
    let stopped = feed.next().await.unwrap();
    assert_eq!((stopped.change.kind(), stopped.after), ("stopped", Some(started.id)));
}

#[tokio::test]
async fn a_reader_that_falls_behind_gets_a_gap_and_the_end() {
    let bench = Bench::new().await;
    let id = bench.run_foreign("busy");
    let mut slow = bench.feed(view()).await;
    let mut quick = bench.feed(view()).await;
    assert_eq!(slow.next().await.unwrap().change.kind(), "snapshot");
    quick.next().await.unwrap();
    for _ in 0..600 {
        bench.memory.control().pause(&id).unwrap();
        quick.next().await.unwrap();
        bench.memory.control().unpause(&id).unwrap();
        quick.next().await.unwrap();
    }
    let gap = slow.next().await.unwrap();
    assert!(matches!(gap.change, InstanceChange::Gap { missed } if missed > 0), "{gap:?}");
    assert!(slow.next().await.is_none());
}

#[tokio::test]
async fn another_runtimes_events_are_left_out() {
    let bench = Bench::new().await;
    let mut other = bench.feed(View { runtime: Some("another".to_owned()), ..view() }).await;
    let mut every = bench.feed(view()).await;
    every.next().await.unwrap();
    bench.run_foreign("a");
    assert_eq!(every.next().await.unwrap().change.kind(), "started");
    assert_eq!(other.next().await.unwrap().change.kind(), "snapshot");
    let heard = tokio::time::timeout(std::time::Duration::from_millis(50), other.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

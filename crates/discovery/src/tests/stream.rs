//! Readers on the in-process runtime.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hythe_driver_memory::Memory;
use hythe_runtime::{
    Clock, Error, ErrorKind, Identity, InstanceId, OpContext, Plan, PlanNetwork, Result, Runtime, watched,
};
use hythe_spec::Component;

use crate::{Change, Discovery, InstanceStream, RuntimeSource, StreamItem};

/// One runtime, which the test connects and disconnects.
#[derive(Debug)]
struct TestRuntimes {
    memory: Arc<Memory>,
    lost: Mutex<Option<String>>,
    changes: watched::Sender<u64>,
}

impl TestRuntimes {
    fn set_lost(&self, reason: Option<&str>) {
        *self.lost.lock().unwrap() = reason.map(str::to_owned);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

#[async_trait]
impl RuntimeSource for TestRuntimes {
    fn names(&self) -> Vec<String> {
        vec!["m".to_owned()]
    }

    fn get(&self, name: &str) -> Result<Arc<dyn Runtime>> {
        match self.reason(name) {
            None => Ok(self.memory.clone()),
            Some(reason) => Err(Error::new(ErrorKind::Unavailable, "runtime", reason)),
        }
    }

    fn reason(&self, _: &str) -> Option<String> {
        self.lost.lock().unwrap().clone()
    }

    fn changed(&self) -> watched::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn tried(&self) {}
}

struct Fixture {
    memory: Arc<Memory>,
    runtimes: Arc<TestRuntimes>,
    discovery: Discovery,
}

impl Fixture {
    fn new() -> Self {
        let memory = Memory::builder().build();
        let changes = watched::Sender::new(0);
        let runtimes = Arc::new(TestRuntimes { memory: memory.clone(), lost: Mutex::default(), changes });
        let discovery = Discovery::new("agent", runtimes.clone(), Clock::system());
        Self { memory, runtimes, discovery }
    }

    fn run_foreign(&self, name: &str) -> String {
        self.memory.control().run_foreign(name, &plan("other", 1)).unwrap().0
    }

    async fn remove(&self, id: &str) {
        self.memory.control().remove(id).await.unwrap();
    }
}

fn plan(owner: &str, attempt: u32) -> Plan {
    let mut component = Component::new("web", Memory::TEST_IMAGE.parse().unwrap());
    component.command = Some(["sleep", "1000"].map(str::to_owned).to_vec());
    let identity = Identity {
        owner: owner.to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt,
        plan_hash: "h".to_owned(),
    };
    Plan { network: PlanNetwork::None, ..Plan::resolve(&BTreeMap::new(), &component, identity) }
}

async fn receive(reader: &mut InstanceStream) -> Option<StreamItem> {
    tokio::time::timeout(Duration::from_secs(20), reader.next()).await.unwrap()
}

/// The next change, in its place.
async fn next(reader: &mut InstanceStream) -> (u64, Change) {
    match receive(reader).await {
        Some(StreamItem::Event(event)) => (event.id, event.change.clone()),
        other => panic!("{other:?}"),
    }
}

fn kind(change: &Change) -> &'static str {
    match change {
        Change::Created(_) => "created",
        Change::Started(_) => "started",
        Change::Stopped(..) => "stopped",
        Change::Updated(..) => "updated",
        Change::Removed(_) => "removed",
        Change::Disconnected(..) => "disconnected",
        Change::Reconnected(_) => "reconnected",
    }
}

#[tokio::test]
async fn snapshot_lists_own_and_foreign_instances_and_follows_nothing() {
    let fixture = Fixture::new();
    fixture.run_foreign("theirs");
    let cx = OpContext::new("test");
    fixture.memory.run(&cx, &plan("agent", 1)).await.unwrap();
    fixture.memory.run(&cx, &plan("another", 2)).await.unwrap();
    let snapshot = fixture.discovery.snapshot().await;
    assert!(!fixture.discovery.is_followed());
    assert!(snapshot.runtimes[0].connected && snapshot.instances.iter().all(|found| found.complete));
    let mut shown: Vec<(String, String, bool)> = snapshot
        .instances
        .iter()
        .map(|found| (found.display_name.clone(), found.owner.to_string(), found.is_foreign()))
        .collect();
    shown.sort();
    let row = |name: &str, owner: &str, foreign| (name.to_owned(), owner.to_owned(), foreign);
    let expected =
        [row("another/shop-web", "hythe:another", true), row("shop-web", "hythe", false), row("theirs", "none", true)];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn changes_are_streamed_and_numbered_without_a_gap() {
    let fixture = Fixture::new();
    let before = fixture.run_foreign("before");
    let mut reader = fixture.discovery.follow().await;
    assert_eq!(reader.snapshot.instances.len(), 1);
    let id = fixture.run_foreign("new");
    let control = fixture.memory.control();
    for kind_of in ["created", "started"] {
        assert_eq!(kind(&next(&mut reader).await.1), kind_of);
    }
    control.rename("new", "newer").unwrap();
    assert!(matches!(next(&mut reader).await.1, Change::Updated(found, _) if found.name == "newer"));
    control.pause("newer").unwrap();
    assert!(matches!(next(&mut reader).await.1, Change::Updated(_, what) if what == "paused"));
    control.unpause("newer").unwrap();
    assert!(matches!(next(&mut reader).await.1, Change::Updated(_, what) if what == "unpaused"));
    control.kill("newer", "WINCH".parse().unwrap()).unwrap();
    fixture.remove(&id).await;
    assert!(
        matches!(next(&mut reader).await.1, Change::Stopped(found, Some(_)) if found.id == id),
        "a signal is no event of its own"
    );
    let (last, removed) = next(&mut reader).await;
    assert_eq!((kind(&removed), last - reader.snapshot.id), ("removed", 7));
    fixture.remove(&before).await;
    assert_eq!(next(&mut reader).await.0, last + 1);
}

#[tokio::test]
async fn runtimes_are_followed_as_long_as_there_is_a_reader() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.discovery.follow().await, fixture.discovery.follow().await);
    drop(one);
    assert!(fixture.discovery.is_followed());
    drop(two);
    assert!(!fixture.discovery.is_followed());
    fixture.run_foreign("meanwhile");
    assert_eq!(fixture.discovery.follow().await.snapshot.instances.len(), 1);
}

#[tokio::test]
async fn slow_reader_gets_a_gap_and_the_end() {
    let fixture = Fixture::new();
    let mut slow = fixture.discovery.follow().await;
    let mut quick = fixture.discovery.follow().await;
    let id = fixture.run_foreign("busy");
    let control = fixture.memory.control();
    let mut last = 0;
    for _ in 0..700 {
        control.pause(&id).unwrap();
        control.unpause(&id).unwrap();
        while last < slow.snapshot.id {
            last = next(&mut quick).await.0;
        }
        last = last.max(next(&mut quick).await.0).max(next(&mut quick).await.0);
    }
    assert!(matches!(receive(&mut slow).await, Some(StreamItem::Gap(missed)) if missed > 0));
    assert!(receive(&mut slow).await.is_none());
    assert!(fixture.discovery.is_followed(), "the quick one reads on");
}

#[tokio::test]
async fn reconnect_reports_what_ended_meanwhile_first() {
    let fixture = Fixture::new();
    let (kept, ended) = (fixture.run_foreign("kept"), fixture.run_foreign("ended"));
    let mut reader = fixture.discovery.follow().await;
    fixture.memory.control().down("restarting");
    assert!(matches!(next(&mut reader).await.1, Change::Disconnected(runtime, _) if runtime == "m"));
    let meanwhile = fixture.discovery.snapshot().await;
    assert!(!meanwhile.runtimes[0].connected && meanwhile.instances.iter().all(|found| found.is_live()));
    assert_eq!(meanwhile.instances.len(), 2);
    fixture.remove(&ended).await;
    fixture.memory.control().up();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&"reconnected") {
        let (_, change) = next(&mut reader).await;
        assert!(change.instance().is_none_or(|found| found.id != kept), "{change:?}");
        kinds.push(kind(&change));
    }
    assert_eq!(kinds, ["stopped", "removed", "reconnected"]);
}

#[tokio::test]
async fn lost_runtime_is_disconnected_although_its_stream_goes_on() {
    let fixture = Fixture::new();
    let mut reader = fixture.discovery.follow().await;
    fixture.runtimes.set_lost(Some("frozen"));
    assert!(matches!(next(&mut reader).await.1, Change::Disconnected(_, reason) if reason == "frozen"));
    let id = fixture.run_foreign("meanwhile");
    fixture.runtimes.set_lost(None);
    assert!(matches!(next(&mut reader).await.1, Change::Started(found) if found.id == id));
    assert_eq!(kind(&next(&mut reader).await.1), "reconnected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_and_stops_during_follow_are_not_missed() {
    for _ in 0..20 {
        let fixture = Arc::new(Fixture::new());
        let maker = fixture.clone();
        let made = tokio::spawn(async move {
            let mut ids = Vec::new();
            for number in 0..30 {
                let id = maker.run_foreign(&format!("n{number}"));
                if number % 2 == 0 {
                    maker.remove(&id).await;
                } else {
                    ids.push(id);
                }
                tokio::task::yield_now().await;
            }
            ids
        });
        let mut reader = fixture.discovery.follow().await;
        let ids = made.await.unwrap();
        fixture.run_foreign("last");
        let live = reader.snapshot.instances.iter().filter(|found| found.is_live());
        let mut there: std::collections::BTreeSet<String> = live.map(|found| found.id.clone()).collect();
        loop {
            match next(&mut reader).await.1 {
                Change::Started(found) if found.name == "last" => break,
                Change::Started(found) => assert!(there.insert(found.id.clone()), "started twice: {found:?}"),
                Change::Stopped(found, _) => assert!(there.remove(&found.id), "stopped without a start: {found:?}"),
                _ => {}
            }
        }
        assert_eq!(there, ids.into_iter().collect());
    }
}

#[tokio::test]
async fn instance_without_inspection_is_listed_incomplete() {
    let fixture = Fixture::new();
    let id = fixture.run_foreign("shy");
    // The replies of more questions than are asked are lost.
    fixture.memory.control().lose_replies("inspect", 100);
    let snapshot = fixture.discovery.snapshot().await;
    let [found] = snapshot.instances.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!((&InstanceId(found.id.clone()).0, found.complete, found.is_live()), (&id, false, true));
}

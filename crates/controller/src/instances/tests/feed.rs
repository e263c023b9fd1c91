//! Readers on the in-process runtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hythe_runtime::memory::Memory;
use hythe_runtime::{Identity, InstanceId, OpContext, Plan, PlanNetwork, Runtime};
use hythe_spec::{Component, Drift, Service};

use super::super::{Change, Heard, Instances, Reader};
use crate::{Connect, Connector, Runtimes};

struct Bench {
    memory: Arc<Memory>,
    runtimes: Arc<Runtimes>,
    instances: Instances,
}

impl Bench {
    async fn new() -> Self {
        let memory = Memory::builder().build();
        let answer = memory.clone();
        let connect: Connect = Arc::new(move || {
            let runtime: Arc<dyn Runtime> = answer.clone();
            Box::pin(std::future::ready(Ok(runtime)))
        });
        let connector = Connector { name: "m".to_owned(), kind: memory.info().kind, connect };
        let runtimes = Arc::new(Runtimes::new(vec![connector]));
        runtimes.reach("m").await.unwrap();
        Self { memory, instances: Instances::new("agent", runtimes.clone()), runtimes }
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
    let service = Service {
        name: "shop".to_owned(),
        node: None,
        labels: BTreeMap::new(),
        active: true,
        drift: Drift::Report,
        components: Vec::new(),
    };
    let identity = Identity {
        owner: owner.to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt,
        plan_hash: "h".to_owned(),
    };
    Plan { network: PlanNetwork::None, ..Plan::resolve(&service, &component, identity) }
}

async fn hear(reader: &mut Reader) -> Option<Heard> {
    tokio::time::timeout(Duration::from_secs(20), reader.next()).await.unwrap()
}

/// The next change, in its place.
async fn next(reader: &mut Reader) -> (u64, Change) {
    match hear(reader).await {
        Some(Heard::Told(told)) => (told.id, told.change.clone()),
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
async fn a_snapshot_shows_ours_and_others_and_leaves_nothing_running() {
    let bench = Bench::new().await;
    bench.run_foreign("theirs");
    let cx = OpContext::new("test");
    bench.memory.run(&cx, &plan("agent", 1)).await.unwrap();
    bench.memory.run(&cx, &plan("another", 2)).await.unwrap();
    let snapshot = bench.instances.snapshot().await;
    assert!(!bench.instances.is_followed());
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
async fn changes_are_told_as_they_happen_and_numbered_without_a_gap() {
    let bench = Bench::new().await;
    let before = bench.run_foreign("before");
    let mut reader = bench.instances.follow().await;
    assert_eq!(reader.snapshot.instances.len(), 1);
    let id = bench.run_foreign("new");
    let control = bench.memory.control();
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
    bench.remove(&id).await;
    assert!(matches!(next(&mut reader).await.1, Change::Stopped(found, Some(_)) if found.id == id), "a signal is told");
    let (last, removed) = next(&mut reader).await;
    assert_eq!((kind(&removed), last - reader.snapshot.id), ("removed", 7));
    bench.remove(&before).await;
    assert_eq!(next(&mut reader).await.0, last + 1);
}

#[tokio::test]
async fn followers_live_as_long_as_there_is_a_reader() {
    let bench = Bench::new().await;
    let (one, two) = (bench.instances.follow().await, bench.instances.follow().await);
    drop(one);
    assert!(bench.instances.is_followed());
    drop(two);
    assert!(!bench.instances.is_followed());
    bench.run_foreign("meanwhile");
    assert_eq!(bench.instances.follow().await.snapshot.instances.len(), 1);
}

#[tokio::test]
async fn a_slow_reader_is_told_of_the_gap_and_hears_no_more() {
    let bench = Bench::new().await;
    let mut slow = bench.instances.follow().await;
    let mut quick = bench.instances.follow().await;
    let id = bench.run_foreign("busy");
    let control = bench.memory.control();
    let mut heard = 0;
    for _ in 0..700 {
        control.pause(&id).unwrap();
        control.unpause(&id).unwrap();
        while heard < slow.snapshot.id {
            heard = next(&mut quick).await.0;
        }
        heard = heard.max(next(&mut quick).await.0).max(next(&mut quick).await.0);
    }
    assert!(matches!(hear(&mut slow).await, Some(Heard::Gap(missed)) if missed > 0));
    assert!(hear(&mut slow).await.is_none());
    assert!(bench.instances.is_followed(), "the quick one reads on");
}

#[tokio::test]
async fn an_engine_that_goes_and_comes_back_keeps_its_instances_and_what_ended_meanwhile_is_told_first() {
    let bench = Bench::new().await;
    let (kept, ended) = (bench.run_foreign("kept"), bench.run_foreign("ended"));
    let mut reader = bench.instances.follow().await;
    bench.memory.control().down("restarting");
    assert!(matches!(next(&mut reader).await.1, Change::Disconnected(runtime, _) if runtime == "m"));
    let meanwhile = bench.instances.snapshot().await;
    assert!(!meanwhile.runtimes[0].connected && meanwhile.instances.iter().all(|found| found.is_live()));
    assert_eq!(meanwhile.instances.len(), 2);
    bench.remove(&ended).await;
    bench.memory.control().up();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&"reconnected") {
        let (_, change) = next(&mut reader).await;
        assert!(change.instance().is_none_or(|found| found.id != kept), "{change:?}");
        kinds.push(kind(&change));
    }
    assert_eq!(kinds, ["stopped", "removed", "reconnected"]);
}

#[tokio::test]
async fn an_engine_that_is_said_to_be_lost_is_told_even_where_its_stream_goes_on() {
    let bench = Bench::new().await;
    let mut reader = bench.instances.follow().await;
    bench.runtimes.lost("m", "frozen");
    assert!(matches!(next(&mut reader).await.1, Change::Disconnected(_, reason) if reason == "frozen"));
    let id = bench.run_foreign("meanwhile");
    bench.runtimes.reach("m").await.unwrap();
    assert!(matches!(next(&mut reader).await.1, Change::Started(found) if found.id == id));
    assert_eq!(kind(&next(&mut reader).await.1), "reconnected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_starts_or_dies_while_a_reader_comes_is_missed() {
    for _ in 0..20 {
        let bench = Arc::new(Bench::new().await);
        let maker = bench.clone();
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
        let mut reader = bench.instances.follow().await;
        let ids = made.await.unwrap();
        bench.run_foreign("last");
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
async fn an_instance_that_cannot_be_looked_at_is_listed_as_far_as_it_is_known() {
    let bench = Bench::new().await;
    let id = bench.run_foreign("shy");
    // The replies of more questions than are asked are lost.
    bench.memory.control().lose_replies("inspect", 100);
    let snapshot = bench.instances.snapshot().await;
    let [found] = snapshot.instances.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!((&InstanceId(found.id.clone()).0, found.complete, found.is_live()), (&id, false, true));
}

//! Going back to a snapshot, and what later deploys make of it.

use futures_util::StreamExt;
use hythe_driver_memory::Memory;
use hythe_runtime::{ErrorKind, ExecRequest, OpContext, Runtime, State};
use hythe_spec::{Health, Millis, OnFailure, Probe, Service};
use hythe_store::Phase;

use crate::{Bench, FIRST, shop};

/// Leaves the file alone.
const KEEPS: &str = "true";

impl Bench {
    /// With two versions of the file kept, `one` and `two`, and `three` in it now.
    async fn with_versions() -> Self {
        let bench = Self::new("").await;
        bench.deploy(&shop(Memory::TEST_IMAGE, KEEPS)).await.unwrap();
        for word in ["one", "two"] {
            bench.inside(&format!("echo {word} > /file")).await;
            assert_eq!(bench.file().await, word);
            bench.create(None).await.unwrap();
        }
        bench.inside("echo three > /file").await;
        bench
    }

    async fn restore(&self, name: Option<&str>) -> Result<(), (String, String)> {
        let operation = self.controller.restore("shop", name).await.unwrap();
        self.outcome(&operation).await.map(drop)
    }

    /// What is in the file of the one instance that runs.
    async fn file(&self) -> String {
        let mut rows = self.rows().await;
        rows.retain(|row| row.state == State::Running);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let request = ExecRequest { command: ["cat", "/file"].map(str::to_owned).to_vec(), ..ExecRequest::default() };
        let id = rows.remove(0).id;
        let mut session =
            self.memory.exec().unwrap().exec(&OpContext::new("test"), &id.to_ref(), &request).await.unwrap();
        let mut text = String::new();
        while let Some(piece) = session.output.next().await {
            text.push_str(str::from_utf8(&piece.unwrap().1).unwrap());
        }
        text.trim_end().to_owned()
    }

    /// The image that the workload runs, and the one in whose place it is.
    fn images(&self) -> (String, Option<String>) {
        let state = self.controller.workload("shop").unwrap();
        let current = state.observed.current.unwrap().spec.component.image.to_string();
        (current, state.desired.restored_over.map(|image| image.to_string()))
    }
}

fn with_check(command: &str, service: Service) -> Service {
    let mut service = service;
    service.components[0].health = Some(Health {
        probe: Probe::Exec { command: vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()] },
        interval: Millis(20),
        timeout: Millis(1000),
        retries: 2,
        start_period: Millis(0),
        start_interval: None,
        on_failure: OnFailure::default(),
    });
    service
}

#[tokio::test]
async fn restore_of_an_earlier_version_and_of_the_newest_brings_its_files() {
    let bench = Bench::with_versions().await;
    bench.restore(Some("1")).await.unwrap();
    assert_eq!((bench.file().await.as_str(), bench.images().0.as_str()), ("one", FIRST));
    bench.restore(None).await.unwrap();
    assert_eq!(bench.file().await, "two");
    assert_eq!(bench.images().1.as_deref(), Some(Memory::TEST_IMAGE));
    // What was written since is not in it.
    bench.inside("echo more > /file").await;
    bench.restore(Some("2")).await.unwrap();
    assert_eq!(bench.file().await, "two");
}

#[tokio::test]
async fn restored_version_is_kept_by_deploys_until_one_names_another_image() {
    let bench = Bench::with_versions().await;
    bench.restore(Some("1")).await.unwrap();
    let generation = bench.controller.workload("shop").unwrap().desired.generation;
    bench.deploy(&shop(Memory::TEST_IMAGE, KEEPS)).await.unwrap();
    assert_eq!(bench.controller.workload("shop").unwrap().desired.generation, generation, "nothing has changed");
    let mut changed = shop(Memory::TEST_IMAGE, KEEPS);
    changed.components[0].env.insert("A".to_owned(), "1".to_owned());
    bench.deploy(&changed).await.unwrap();
    assert_eq!(bench.file().await, "one", "its variables have changed, not its image");
    let state = bench.controller.workload("shop").unwrap();
    assert_eq!(bench.controller.differences(&state).await, []);
    changed.components[0].image = FIRST.parse().unwrap();
    bench.deploy(&changed).await.unwrap();
    changed.components[0].image = Memory::TEST_IMAGE.parse().unwrap();
    bench.deploy(&changed).await.unwrap();
    assert_eq!(bench.images(), (Memory::TEST_IMAGE.to_owned(), None));
    assert!(bench.file().await.contains("No such file"));
}

#[tokio::test]
async fn restore_of_a_version_that_is_not_healthy_leaves_the_one_before() {
    let bench = Bench::with_versions().await;
    let checked = with_check("read it < /file; test \"$it\" != one", shop(Memory::TEST_IMAGE, KEEPS));
    bench.deploy(&checked).await.unwrap();
    bench.restore(Some("2")).await.unwrap();
    let (kind, words) = bench.restore(Some("1")).await.unwrap_err();
    assert!(words.contains("is not healthy"), "{kind} {words}");
    assert_eq!(bench.file().await, "two");
    // The same file again brings what runs, not what failed.
    bench.deploy(&checked).await.unwrap();
    assert_eq!(bench.file().await, "two");
}

#[tokio::test]
async fn restore_of_what_is_stopped_is_what_its_next_start_brings() {
    let bench = Bench::with_versions().await;
    let stop = bench.controller.stop("shop", None, None).unwrap();
    bench.outcome(&stop).await.unwrap();
    bench.restore(Some("1")).await.unwrap();
    assert_eq!(bench.controller.workload("shop").unwrap().observed.phase, Phase::Stopped);
    let start = bench.controller.start_service("shop", None).unwrap();
    bench.outcome(&start).await.unwrap();
    assert_eq!(bench.file().await, "one");
}

#[tokio::test]
async fn restore_after_the_agent_died_is_still_what_runs() {
    let mut bench = Bench::with_versions().await;
    bench.restore(Some("1")).await.unwrap();
    bench.again(async |_: &Bench| ()).await;
    bench.deploy(&shop(Memory::TEST_IMAGE, KEEPS)).await.unwrap();
    bench.until("shop", Phase::Running).await;
    assert_eq!(bench.file().await, "one");
}

#[tokio::test]
async fn restore_of_what_is_not_there_is_refused_and_changes_nothing() {
    let bench = Bench::with_versions().await;
    let before = bench.controller.workload("shop").unwrap().desired;
    let kind = async |workload: &str, name: Option<&str>| {
        bench.controller.restore(workload, name).await.map(drop).unwrap_err().kind()
    };
    assert_eq!(kind("shop", Some("9")).await, ErrorKind::NotFound);
    assert_eq!(kind("shop", Some("a b")).await, ErrorKind::Invalid);
    assert_eq!(kind("blog", None).await, ErrorKind::NotFound);
    assert_eq!(bench.controller.workload("shop").unwrap().desired, before);
    // What is restored is in use.
    bench.restore(Some("1")).await.unwrap();
    let refused = bench.controller.remove_snapshot("shop:1", None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
}

//! What a runtime can honour: images for a kind of machine (the in-process runtime's registry has each for every one), health checks
//! by a command, starts of what has run; and what it takes its time for.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hythe_controller::{Connector, Controller, DeployOptions, OperationHandle, Settings, WorkloadState};
use hythe_driver_memory::{Memory, MemoryBuilder};
use hythe_runtime::{BuildRequest, Capability, Error, Feature, Filter, OpContext, Pending, Runtime, State};
use hythe_spec::vocabulary::EventKind;
use hythe_spec::{
    BuildNetwork, Component, Drift, Health, Millis, Mount, MountSource, OnFailure, Platform, Probe, PullPolicy,
    RuntimeKind, Service, Signal,
};
use hythe_store::{EventFilter, EventRecord, OperationState, Phase, Store};

const IMAGE: &str = "registry.test/web:1";
const OTHER: &str = "linux/s390x";

struct Bench {
    memory: Arc<Memory>,
    controller: Arc<Controller>,
    store: Arc<Store>,
    dir: tempfile::TempDir,
}

impl Bench {
    /// On a machine that runs images for itself and for another one.
    async fn new() -> Self {
        Self::running(vec![Platform::own(), OTHER.parse().unwrap()]).await
    }

    async fn running(platforms: Vec<Platform>) -> Self {
        Self::with(Capability::of(Feature::ALL).running(platforms)).await
    }

    async fn with(capability: Capability) -> Self {
        Self::of(Memory::builder().capability(capability)).await
    }

    /// On a runtime whose starts take so long.
    async fn scheduling(takes: Duration) -> Self {
        let pending = Pending { reason: "Unschedulable".to_owned(), message: "0/2 nodes are available".to_owned() };
        Self::of(Memory::builder().scheduling(takes, pending)).await
    }

    async fn of(builder: MemoryBuilder) -> Self {
        let memory = builder.registry("registry.test", ["web:1"]).build();
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("hythe.db")).unwrap().store);
        Self::around(memory, store, dir).await
    }

    /// The agent dies and starts again.
    async fn restarted(self) -> Self {
        self.controller.shutdown();
        Self::around(self.memory, self.store, self.dir).await
    }

    async fn around(memory: Arc<Memory>, store: Arc<Store>, dir: tempfile::TempDir) -> Self {
        let runtime = memory.clone();
        let connect = Arc::new(move || {
            let runtime: Arc<dyn Runtime> = runtime.clone();
            let connected: futures_util::future::BoxFuture<'static, Result<Arc<dyn Runtime>, Error>> =
                Box::pin(async move { Ok(runtime) });
            connected
        });
        let connector = Connector { name: "memory".to_owned(), kind: RuntimeKind::Memory, connect };
        let controller = Controller::start(Settings::new("owner"), store.clone(), vec![connector]).unwrap();
        controller.runtimes().tried().await;
        Self { memory, controller, store, dir }
    }

    async fn deploy(&self, service: &Service) -> Result<(), String> {
        let deployed = self.controller.deploy(service, &DeployOptions::default());
        match deployed.map_err(|error| error.to_string())?.operation {
            Some(operation) => self.outcome(&operation).await,
            None => Ok(()),
        }
    }

    async fn outcome(&self, operation: &OperationHandle) -> Result<(), String> {
        let mut joined = self.controller.operations().join(&operation.record().id).unwrap();
        while joined.next().await.is_some() {}
        let record = joined.record();
        (record.state == OperationState::Succeeded).then_some(()).ok_or_else(|| record.error.unwrap().to_string())
    }

    /// What the image in the engine is for.
    async fn platform(&self) -> Option<String> {
        let found = self.memory.images()?.get(&OpContext::new("test"), &IMAGE.parse().unwrap()).await.ok()?;
        found.platform.map(|platform| platform.to_string())
    }

    async fn running_names(&self) -> Vec<String> {
        let rows = self.memory.list(&OpContext::new("test"), &Filter::default()).await.unwrap();
        rows.into_iter().filter(|row| row.state == State::Running).map(|row| row.name).collect()
    }

    async fn until(&self, wanted: impl Fn(&WorkloadState) -> bool) {
        let began = std::time::Instant::now();
        while !self.controller.workload("web").is_ok_and(|state| wanted(&state)) {
            assert!(began.elapsed().as_secs() < 20, "{:?}", self.controller.workload("web"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn pulls(&self) -> usize {
        let events = self.controller.events().read(&EventFilter::default()).unwrap();
        events.into_iter().filter(|record| record.event.kind == EventKind::ImagePulled).count()
    }
}

fn web(platform: Option<&str>) -> Service {
    let mut component = Component::new("web", IMAGE.parse().unwrap());
    component.platform = platform.map(|platform| platform.parse().unwrap());
    component.command = Some(vec!["sleep".to_owned(), "1000".to_owned()]);
    component.stop_grace = Millis(100);
    Service {
        name: "web".to_owned(),
        node: None,
        labels: BTreeMap::new(),
        active: true,
        drift: Drift::Report,
        components: vec![component],
    }
}

#[tokio::test]
async fn image_that_is_here_for_another_platform_is_fetched_again() {
    let bench = Bench::new().await;
    bench.deploy(&web(None)).await.unwrap();
    assert_eq!(bench.platform().await, Some(Platform::own().to_string()));
    bench.deploy(&web(Some(OTHER))).await.unwrap();
    assert_eq!((bench.platform().await.as_deref(), bench.pulls()), (Some(OTHER), 2));
    // Now it is the one that is wanted, and a component that wants none takes what is there.
    let mut changed = web(Some(OTHER));
    changed.components[0].env.insert("A".to_owned(), "1".to_owned());
    bench.deploy(&changed).await.unwrap();
    bench.deploy(&web(None)).await.unwrap();
    assert_eq!((bench.platform().await.as_deref(), bench.pulls()), (Some(OTHER), 2));
}

#[tokio::test]
async fn image_that_is_here_for_another_platform_and_never_fetched_is_refused() {
    let bench = Bench::new().await;
    bench.deploy(&web(None)).await.unwrap();
    let mut service = web(Some(OTHER));
    service.components[0].pull_policy = PullPolicy::Never;
    let error = bench.deploy(&service).await.unwrap_err();
    assert!(error.contains(OTHER) && error.contains(&format!("`{}`", Platform::own())), "{error}");
    assert_eq!((bench.platform().await, bench.pulls()), (Some(Platform::own().to_string()), 1));
}

#[tokio::test]
async fn host_that_cannot_run_it_refuses_with_both_names_before_anything() {
    let bench = Bench::new().await;
    let error = bench.deploy(&web(Some("linux/mips64"))).await.unwrap_err();
    assert!(error.contains("linux/mips64") && error.contains(&Platform::own().to_string()), "{error}");
    assert_eq!((bench.platform().await, bench.pulls()), (None, 0));
    assert!(bench.memory.list(&OpContext::new("test"), &Filter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn image_that_is_here_for_a_host_that_cannot_run_it_is_fetched_again_or_refused() {
    let bench = Bench::running(vec![Platform::own()]).await;
    bench.deploy(&web(None)).await.unwrap();
    let (context, other) = (OpContext::new("test"), OTHER.parse().unwrap());
    let (sink, _reports) = tokio::sync::mpsc::channel(1);
    let images = bench.memory.images().unwrap();
    images.pull(&context, &IMAGE.parse().unwrap(), Some(&other), &sink).await.unwrap();
    let mut service = web(None);
    service.components[0].env.insert("A".to_owned(), "1".to_owned());
    service.components[0].pull_policy = PullPolicy::Never;
    let error = bench.deploy(&service).await.unwrap_err();
    assert!(error.contains(OTHER) && error.contains(&format!("this host is `{}`", Platform::own())), "{error}");
    let ids = |instances: Vec<hythe_runtime::Listed>| instances.into_iter().map(|one| one.name).collect::<Vec<_>>();
    let running = bench.memory.list(&context, &Filter::default()).await.unwrap();
    assert_eq!(ids(running), ["web-1-1"], "what ran goes on");
    service.components[0].pull_policy = PullPolicy::Missing;
    bench.deploy(&service).await.unwrap();
    assert_eq!((bench.platform().await, bench.pulls()), (Some(Platform::own().to_string()), 2));
}

const REASON: &str = "a unikernel runs one program";

async fn without_exec() -> Bench {
    Bench::with(Capability::of(Feature::ALL).without(Feature::ExecProbe, REASON)).await
}

fn exec_check(command: &str) -> Health {
    Health {
        probe: Probe::Exec { command: vec![command.to_owned()] },
        interval: Millis(1000),
        timeout: Millis(1000),
        retries: 1,
        start_period: Millis(0),
        start_interval: None,
        on_failure: OnFailure::default(),
    }
}

#[tokio::test]
async fn deploy_with_exec_check_where_no_command_can_be_run_is_refused_before_anything() {
    let bench = without_exec().await;
    let mut service = web(None);
    service.components[0].health = Some(exec_check("true"));
    let error = bench.deploy(&service).await.unwrap_err();
    assert!(error.contains("health.exec") && error.contains(REASON), "{error}");
    assert_eq!(bench.pulls(), 0);
}

#[tokio::test]
async fn deploy_of_image_with_a_check_where_no_command_can_be_run_warns_and_does_without() {
    let bench = without_exec().await;
    let context = tempfile::tempdir().unwrap();
    let dockerfile = context.path().join("Dockerfile");
    std::fs::write(&dockerfile, format!("FROM {}\nHEALTHCHECK CMD false\n", Memory::TEST_IMAGE)).unwrap();
    let request = BuildRequest {
        image: IMAGE.parse().unwrap(),
        context: context.path().to_owned(),
        dockerfile,
        args: BTreeMap::new(),
        labels: BTreeMap::new(),
        no_cache: false,
        network: BuildNetwork::default(),
    };
    let (sink, _reports) = tokio::sync::mpsc::channel(1);
    bench.memory.images().unwrap().build(&OpContext::new("test"), &request, &sink).await.unwrap();
    bench.deploy(&web(None)).await.unwrap();
    let events = bench.controller.events().read(&EventFilter::default()).unwrap();
    let warned =
        |record: &EventRecord| record.event.kind == EventKind::Warning && record.event.message.contains("health check");
    assert!(events.iter().any(warned), "{events:?}");
}

#[tokio::test]
async fn restart_where_nothing_starts_again_makes_the_next_attempt() {
    let without = Capability::of(Feature::ALL).without(Feature::RestartInPlace, "a pod starts again empty");
    let bench = Bench::with(without).await;
    bench.deploy(&web(None)).await.unwrap();
    let restart = bench.controller.restart("web", None, None).unwrap();
    bench.outcome(&restart).await.unwrap();
    assert_eq!(bench.running_names().await, ["web-1-2"], "asked for");
    bench.memory.control().kill("web-1-2", Signal::KILL).unwrap();
    bench.until(|state| state.observed.restarts == 1 && state.observed.phase == Phase::Running).await;
    assert_eq!(bench.running_names().await, ["web-1-3"], "it crashed");
    let stop = bench.controller.stop("web", None, None).unwrap();
    bench.outcome(&stop).await.unwrap();
    let start = bench.controller.start_service("web", None).unwrap();
    bench.outcome(&start).await.unwrap();
    assert_eq!(bench.running_names().await, ["web-1-4"], "stopped and started");
}

#[tokio::test]
async fn rollback_where_nothing_starts_again_makes_another_attempt_of_the_version_before() {
    let without = Capability::of(Feature::ALL).without(Feature::RestartInPlace, "a pod starts again empty");
    let bench = Bench::with(without).await;
    let mut service = web(None);
    // Two that write one volume never run at once: the first is stopped for the second.
    let source = MountSource::Volume { name: "data".to_owned(), external: false };
    service.components[0].mounts = vec![Mount { target: "/data".to_owned(), source, read_only: false }];
    bench.deploy(&service).await.unwrap();
    service.components[0].health = Some(exec_check("false"));
    let error = bench.deploy(&service).await.unwrap_err();
    assert!(error.contains("is not healthy"), "{error}");
    assert_eq!(bench.running_names().await, ["web-1-2"]);
    bench.memory.control().kill("web-1-2", Signal::KILL).unwrap();
    bench.until(|state| state.observed.restarts == 1 && state.observed.phase == Phase::Running).await;
    assert_eq!(bench.running_names().await, ["web-1-3"], "it crashed");
}

const FOREVER: Duration = Duration::from_secs(3600);

/// What the first deploy of `web` on a runtime that never comes to it is seen as, and its operation.
async fn pending() -> (Bench, Arc<OperationHandle>) {
    let bench = Bench::scheduling(FOREVER).await;
    let operation = bench.controller.deploy(&web(None), &DeployOptions::default()).unwrap().operation.unwrap();
    let words = "Unschedulable: 0/2 nodes are available";
    bench.until(|state| state.observed.message.as_deref() == Some(words)).await;
    (bench, operation)
}

fn states(bench: &Bench) -> Vec<(String, State)> {
    bench.memory.control().observed().into_iter().map(|seen| (seen.name, seen.state)).collect()
}

#[tokio::test]
async fn deploy_where_a_start_takes_its_time_says_what_it_waits_for_and_succeeds() {
    let bench = Bench::scheduling(Duration::from_millis(300)).await;
    let operation = bench.controller.deploy(&web(None), &DeployOptions::default()).unwrap().operation.unwrap();
    let mut joined = bench.controller.operations().join(&operation.record().id).unwrap();
    let mut said = Vec::new();
    while let Some(report) = joined.next().await {
        said.push(format!("{report:?}"));
    }
    assert!(
        said.iter().any(|line| line.contains("Unschedulable: 0/2 nodes")),
        "{said:?} {:?} {:?}",
        joined.record(),
        states(&bench)
    );
    assert_eq!(joined.record().state, OperationState::Succeeded);
    assert_eq!(states(&bench), [("web-1-1".to_owned(), State::Running)]);
    assert_eq!(bench.controller.workload("web").unwrap().observed.message, None);
}

#[tokio::test]
async fn stop_of_what_is_pending_ends_the_wait_and_it_never_starts() {
    let (bench, deploy) = pending().await;
    let stop = bench.controller.stop("web", None, None).unwrap();
    bench.outcome(&stop).await.unwrap();
    assert!(bench.outcome(&deploy).await.unwrap_err().contains("superseded"));
    assert_eq!(states(&bench), [("web-1-1".to_owned(), State::Created)]);
    assert_eq!(bench.controller.workload("web").unwrap().observed.phase, Phase::Stopped);
}

#[tokio::test]
async fn deploy_of_another_version_while_one_is_pending_takes_its_place() {
    let (bench, _) = pending().await;
    let mut changed = web(None);
    changed.components[0].env.insert("A".to_owned(), "1".to_owned());
    bench.controller.deploy(&changed, &DeployOptions::default()).unwrap();
    let began = std::time::Instant::now();
    while states(&bench) != [("web-2-1".to_owned(), State::Pending)] {
        assert!(began.elapsed().as_secs() < 20, "{:?}", states(&bench));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn undeploy_of_what_is_pending_leaves_nothing() {
    let (bench, _) = pending().await;
    let removal = bench.controller.undeploy("web", false).unwrap();
    bench.outcome(&removal).await.unwrap();
    assert_eq!(states(&bench), []);
}

#[tokio::test]
async fn agent_that_finds_an_instance_pending_waits_on_for_the_same_one() {
    let bench = Bench::scheduling(Duration::from_secs(2)).await;
    bench.controller.deploy(&web(None), &DeployOptions::default()).unwrap();
    bench.until(|state| state.observed.message.is_some()).await;
    let bench = bench.restarted().await;
    bench.until(|state| state.observed.phase == Phase::Running).await;
    assert_eq!(states(&bench), [("web-1-1".to_owned(), State::Running)]);
}

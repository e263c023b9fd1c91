//! Engine, store and agent of one history.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use hythe_controller::{Connector, Controller, DeployOptions, OperationHandle, Settings};
use hythe_driver_memory::Memory;
use hythe_runtime::layers::Layered;
use hythe_runtime::{Capability, Clock, Error, Feature, OpContext, Pending, Runtime};
use hythe_spec::{RuntimeKind, Service};
use hythe_store::{OperationState, Store};
use jiff::Timestamp;

use crate::chaos::{Around, Chaos};
use crate::check::Need;
use crate::history::LONGEST;

const OWNER: &str = "sim";
/// A registry that has images which the engine has not.
pub(crate) const REGISTRY: &str = "registry.test";
/// So many versions of one, so that some are had already.
pub(crate) const VERSIONS: u64 = 8;

/// Counts down to a crash in the middle of a step.
type Fuse = Arc<Mutex<Option<u64>>>;

pub(crate) struct World {
    pub(crate) memory: Arc<Memory>,
    /// The engine starts again what has run; otherwise each restart makes the next attempt, as for a pod.
    pub(crate) restarts_in_place: bool,
    pub(crate) chaos: Arc<Chaos>,
    clock: Clock,
    store: Arc<Store>,
    controller: Option<Arc<Controller>>,
    fuse: Fuse,
    /// Accepted generations of web, and the one of the job that each waits for.
    pub(crate) needs: Vec<Need>,
    pub(crate) crashes: u64,
    pub(crate) lines: Vec<String>,
}

impl World {
    pub(crate) async fn new(seed: u64) -> Self {
        let clock = Clock::simulated("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let known = (0..VERSIONS).map(|version| format!("app:{version}"));
        let images = known.chain((1..=LONGEST).map(|number| format!("new:{number}")));
        let restarts_in_place = !seed.is_multiple_of(4);
        let capability = Capability::of(Feature::ALL);
        let capability = match restarts_in_place {
            true => capability,
            false => capability.without(Feature::RestartInPlace, "each instance runs once"),
        };
        let mut engine = Memory::builder().clock(clock.clone()).capability(capability).registry(REGISTRY, images);
        // As in a cluster, where a start waits for a node and a pull.
        if seed % 8 == 4 || seed % 8 == 1 {
            engine = engine.scheduling(
                Duration::from_secs(seed / 8 % 9),
                Pending { reason: "Unschedulable".to_owned(), message: String::new() },
            );
        }
        let memory = engine.build();
        let mut world = Self {
            memory,
            restarts_in_place,
            chaos: Chaos::new(seed),
            clock,
            store: Arc::new(Store::in_memory().unwrap()),
            controller: None,
            fuse: Fuse::default(),
            needs: Vec::new(),
            crashes: 0,
            lines: Vec::new(),
        };
        world.start();
        world.controller().runtimes().tried().await;
        world
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn say(&mut self, line: impl std::fmt::Display) {
        let line = format!("{} {line}", self.now());
        self.lines.push(line);
    }

    pub(crate) fn controller(&self) -> &Arc<Controller> {
        self.controller.as_ref().unwrap()
    }

    fn start(&mut self) {
        let (memory, around) = (self.memory.clone(), Around(self.chaos.clone()));
        let connect = Arc::new(move || {
            let runtime: Arc<dyn Runtime> = Layered::around(memory.clone(), around.clone());
            let connected: futures_util::future::BoxFuture<'static, Result<Arc<dyn Runtime>, Error>> =
                Box::pin(async move {
                    runtime.probe(&OpContext::new("connect")).await?;
                    Ok(runtime)
                });
            connected
        });
        let connector = Connector { name: "memory".to_owned(), kind: RuntimeKind::Memory, connect };
        let me: Arc<OnceLock<Weak<Controller>>> = Arc::default();
        let (fuse, controller) = (self.fuse.clone(), me.clone());
        let hook = move |_: &str| {
            let mut fuse = fuse.lock().unwrap();
            let burnt = match fuse.as_mut() {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            };
            if burnt && let Some(controller) = controller.get().and_then(Weak::upgrade) {
                controller.shutdown();
            }
            burnt
        };
        let settings = Settings {
            boot: "boot".to_owned(),
            clock: self.clock.clone(),
            drift_interval: Duration::ZERO,
            crash: Some(Arc::new(hook)),
            ..Settings::new(OWNER)
        };
        let controller = Controller::start(settings, self.store.clone(), vec![connector]).unwrap();
        me.set(Arc::downgrade(&controller)).unwrap();
        self.controller = Some(controller);
    }

    /// The agent will die at the crash point after so many.
    pub(crate) fn arm(&self, after: u64) {
        *self.fuse.lock().unwrap() = Some(after);
    }

    /// The agent dies as armed, and starts again.
    pub(crate) async fn crash(&mut self, down_for: Duration) {
        self.crashes += 1;
        // Where no crash point is passed meanwhile it dies all the same.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.controller().shutdown();
        *self.fuse.lock().unwrap() = None;
        tokio::time::sleep(down_for).await;
        self.start();
        self.controller().runtimes().tried().await;
    }

    /// The agent dies and its store with it.
    pub(crate) async fn lose_store(&mut self) {
        self.crashes += 1;
        self.controller().shutdown();
        tokio::task::yield_now().await;
        self.store = Arc::new(Store::in_memory().unwrap());
        // Generations that were accepted and never made are counted anew.
        self.needs.clear();
        self.start();
        self.controller().runtimes().tried().await;
    }

    pub(crate) fn deploy(&mut self, service: &Service) -> Result<Option<Arc<OperationHandle>>, Error> {
        let deployed = self.controller().deploy(service, &DeployOptions::default())?;
        self.needs.extend(Need::of(&deployed.plan, self.now()));
        Ok(deployed.operation)
    }

    /// How an operation ends; `None`: the agent died first, or it takes very long.
    pub(crate) async fn outcome(&self, operation: &Arc<OperationHandle>) -> Option<Result<(), String>> {
        let mut joined = self.controller().operations().join(&operation.record().id).ok()?;
        let ending = async { while joined.next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(600), ending).await.ok()?;
        let record = operation.record();
        Some(match record.state {
            OperationState::Succeeded => Ok(()),
            _ => Err(record.error.unwrap_or_default()["message"].as_str().unwrap_or_default().to_owned()),
        })
    }
}

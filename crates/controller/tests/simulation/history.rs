//! One history: a user, an operator, an engine and an agent, each with bad luck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hythe_controller::OperationHandle;
use hythe_spec::{Component, Signal};
use hythe_store::{Desired, HealthState, Phase};

use crate::Lived;
use crate::check::{self, Silence};
use crate::rng::Rng;
use crate::specs::{self, COMPONENTS, NAME};
use crate::world::World;

/// Long enough for every back-off and probe to come to an end.
const LONG: Duration = Duration::from_secs(900);
/// Happenings of one history, at most.
pub(crate) const LONGEST: u64 = 27;
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(7300);

pub(crate) struct Life {
    pub(crate) world: World,
    pub(crate) rng: Rng,
    pub(crate) version: u64,
    /// Deploys so far that lacked something.
    pub(crate) wants: u64,
    /// What was deployed last.
    components: Vec<Component>,
    requests: u64,
    stopped: BTreeMap<String, jiff::Timestamp>,
    silences: Vec<Silence>,
    /// Nobody waits for an outcome.
    in_haste: bool,
}

pub(crate) async fn live(seed: u64) -> Lived {
    let world = World::new(seed).await;
    let mut life = Life {
        world,
        rng: Rng::new(seed),
        version: 0,
        wants: 0,
        components: Vec::new(),
        requests: 0,
        stopped: BTreeMap::new(),
        silences: Vec::new(),
        in_haste: false,
    };
    let length = 4 + life.rng.below(LONGEST - 3);
    for _ in 0..length {
        life.happen().await;
        let wait = life.rng.while_();
        tokio::time::sleep(wait).await;
    }
    life.end().await;
    let world = life.world;
    let lived = Lived {
        lines: world.lines.clone(),
        crashes: world.crashes,
        faults: world.chaos.faults.load(Ordering::Relaxed),
        requests: life.requests,
    };
    world.controller().shutdown();
    lived
}

impl Life {
    async fn happen(&mut self) {
        match self.rng.below(31) {
            0..=5 => self.deploy().await,
            6 | 7 => self.stop().await,
            8 => self.begin("start").await,
            9 => self.begin("restart").await,
            10 => self.undeploy().await,
            11 => self.happens_to_one("kill"),
            12 => self.signal().await,
            13 => self.happens_to_one("out of memory"),
            14 => self.remove_by_hand().await,
            15 => self.happens_to_one("pause"),
            16 => self.engine_goes().await,
            17..=20 => {
                let (after, down_for) = (self.rng.below(12), self.rng.while_());
                self.world.say(format_args!("the agent dies at the crash point after {after}, for {down_for:?}"));
                self.world.arm(after);
                self.world.crash(down_for).await;
            }
            21..=24 => self.dies_in_a_request().await,
            25 => self.rest("for a while").await,
            26 => self.wanting().await,
            30 => self.following().await,
            27 | 28 => {
                let reached = self.world.chaos.reach_otherwise();
                self.world.say(format_args!("the registry can be reached: {reached}"));
            }
            _ => {
                self.world.say("the store is lost");
                self.world.lose_store().await;
                self.break_silence(None);
            }
        }
    }

    /// The agent dies in one of the first steps of what was just asked for.
    async fn dies_in_a_request(&mut self) {
        let (after, down_for) = (self.rng.below(8), self.rng.while_());
        self.world.say(format_args!("the agent will die at the crash point after {after}, for {down_for:?}"));
        self.world.arm(after);
        self.in_haste = true;
        match self.rng.below(5) {
            0 | 1 => self.stop().await,
            2 => self.begin("restart").await,
            3 => self.deploy().await,
            _ => self.undeploy().await,
        }
        self.in_haste = false;
        self.world.crash(down_for).await;
        if self.rng.once_in(2) {
            self.rest("to see what became of it").await;
        }
    }

    /// Everything works for long enough that all comes to rest.
    pub(crate) async fn rest(&mut self, why: &str) {
        self.world.say(format_args!("everything works, {why}"));
        self.world.chaos.rage(false);
        self.world.chaos.reach(true);
        self.world.memory.control().up();
        tokio::time::sleep(LONG).await;
        let mut resting = check::at_rest(&self.world);
        for _ in 0..LOOKS {
            // What goes on failing is between two states now and then.
            if resting.is_err() {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                resting = check::at_rest(&self.world);
            }
        }
        self.complain(resting);
        self.world.chaos.rage(true);
    }

    /// Somebody asks for something to run: a silence ends.
    pub(crate) fn break_silence(&mut self, component: Option<&str>) {
        let to = self.world.now();
        let ended = |workload: &str| component.is_none_or(|only| workload.ends_with(only));
        let over: Vec<String> = self.stopped.keys().filter(|workload| ended(workload)).cloned().collect();
        for workload in over {
            if let Some(from) = self.stopped.remove(&workload) {
                self.silences.push(Silence { workload, from, to });
            }
        }
    }

    async fn deploy(&mut self) {
        self.version += 1;
        let version = self.version;
        let known = std::mem::take(&mut self.components);
        let mut components = Vec::new();
        for name in COMPONENTS {
            let kept = known.iter().find(|component| component.name == name).filter(|_| self.rng.once_in(4));
            components.push(match kept {
                Some(kept) => kept.clone(),
                None => specs::component(&mut self.rng, name, version),
            });
        }
        specs::depend(&mut self.rng, &mut components);
        self.components.clone_from(&components);
        self.world.say(format_args!("deploy version {version}"));
        self.break_silence(None);
        let accepted = self.world.deploy(&specs::service(components));
        let outcome = self.follow(accepted.map(|operation| operation.into_iter().collect())).await;
        if outcome == Some(Ok(())) {
            self.complain(check::deployed(&self.world));
        }
    }

    async fn stop(&mut self) {
        let component = self.rng.once_in(2).then(|| *self.rng.pick(&COMPONENTS));
        self.world.say(format_args!("stop {component:?}"));
        let accepted = self.world.controller().stop(NAME, component, None);
        let outcome = self.follow(accepted.map(|operation| vec![operation])).await;
        if outcome == Some(Ok(())) {
            let now = self.world.now();
            for name in COMPONENTS.iter().filter(|name| component.is_none_or(|only| only == **name)) {
                let workload = format!("{NAME}-{name}");
                let state = self.world.controller().workload(&workload);
                // Only what is deployed was stopped.
                if state.is_ok_and(|state| state.desired.desired == Desired::Stopped) {
                    self.stopped.entry(workload).or_insert(now);
                }
            }
        }
    }

    async fn begin(&mut self, verb: &str) {
        let component = self.rng.once_in(2).then(|| *self.rng.pick(&COMPONENTS));
        self.world.say(format_args!("{verb} {component:?}"));
        self.break_silence(component);
        let controller = self.world.controller();
        let accepted = match verb {
            "start" => controller.start_service(NAME, component),
            _ => controller.restart(NAME, component, None),
        };
        self.follow(accepted.map(|operation| vec![operation])).await;
    }

    /// A signal on request; what it ends is started again as after a crash.
    async fn signal(&mut self) {
        let component = self.rng.once_in(2).then(|| *self.rng.pick(&COMPONENTS));
        let signal = *self.rng.pick(&[Signal::KILL, Signal::TERM, Signal(1)]);
        self.world.say(format_args!("{signal} to {component:?}"));
        let accepted = self.world.controller().kill(NAME, component, signal);
        self.follow(accepted.map(|operation| vec![operation])).await;
    }

    async fn undeploy(&mut self) {
        let volumes = self.rng.once_in(2);
        self.world.say(format_args!("undeploy, volumes {volumes}"));
        self.break_silence(None);
        let accepted = self.world.controller().undeploy(NAME, volumes);
        self.follow(accepted.map(|operation| vec![operation])).await;
    }

    /// Waits for the outcome, or not.
    async fn follow(
        &mut self,
        accepted: Result<Vec<Arc<OperationHandle>>, hythe_runtime::Error>,
    ) -> Option<Result<(), String>> {
        self.requests += 1;
        let operation = match accepted {
            Ok(operations) => operations.into_iter().next()?,
            Err(error) => {
                self.world.say(format_args!("  refused: {error}"));
                return None;
            }
        };
        if self.in_haste || self.rng.once_in(2) {
            return None;
        }
        if self.rng.once_in(10) {
            let wait = self.rng.while_();
            tokio::time::sleep(wait).await;
            // It may have ended.
            let _ = self.world.controller().operations().cancel(&operation.record().id);
            self.world.say("  cancelled");
        }
        let outcome = self.world.outcome(&operation).await;
        self.world.say(format_args!("  {outcome:?}"));
        outcome
    }

    fn an_instance(&mut self) -> Option<String> {
        let mut names: Vec<String> = self.world.memory.control().observed().into_iter().map(|row| row.name).collect();
        names.sort();
        if names.is_empty() { None } else { Some(self.rng.pick(&names).clone()) }
    }

    fn happens_to_one(&mut self, what: &str) {
        let Some(name) = self.an_instance() else { return };
        self.world.say(format_args!("{what} {name}"));
        let control = self.world.memory.control();
        // It may not run.
        let _ = match what {
            "kill" => control.kill(&name, Signal::KILL),
            "pause" => control.pause(&name),
            _ => control.out_of_memory(&name),
        };
    }

    async fn remove_by_hand(&mut self) {
        let Some(name) = self.an_instance() else { return };
        self.world.say(format_args!("remove {name} by hand"));
        let _ = self.world.memory.control().remove(&name).await;
    }

    async fn engine_goes(&mut self) {
        let time = self.rng.while_();
        self.world.say(format_args!("the engine is gone for {time:?}"));
        self.world.memory.control().down("killed");
        let died = self.rng.once_in(2);
        tokio::time::sleep(time).await;
        if died {
            self.happens_to_one("kill");
        }
        self.world.memory.control().up();
    }

    /// Everything works again: it comes to rest as desired, a good version can be deployed, and undeploy leaves nothing.
    async fn end(&mut self) {
        self.rest("in the end").await;
        self.world.chaos.rage(false);
        self.deploy_good().await;
        let events = self.world.memory.control().history();
        let told = self.reported_by_the_engine();
        self.world.lines.extend(told);
        self.break_silence(None);
        check::history(&events, &self.silences);
        if !self.world.restarts_in_place {
            self.complain(check::each_runs_once(&events));
        }
        self.complain(check::order(&events, &self.world.needs));
        let gone = self.world.controller().undeploy(NAME, true).unwrap();
        let outcome = self.world.outcome(&gone).await;
        assert_eq!(outcome, Some(Ok(())));
        let left: Vec<String> = self.world.memory.control().observed().into_iter().map(|row| row.name).collect();
        let (networks, volumes) = self.world.memory.control().belongings();
        assert!(left.is_empty() && volumes.is_empty(), "left: {left:?} {volumes:?}");
        assert!(!networks.iter().any(|network| network == "hythe-shop"), "left: {networks:?}");
        assert!(self.world.controller().services().unwrap().is_empty());
    }

    async fn deploy_good(&mut self) {
        self.version += 1;
        let good = specs::service(COMPONENTS.map(|name| specs::good(name, self.version)).to_vec());
        self.break_silence(None);
        let operation = self.world.deploy(&good);
        let outcome = match operation {
            Ok(Some(operation)) => self.world.outcome(&operation).await,
            Ok(None) => None,
            Err(error) => Some(Err(error.to_string())),
        };
        self.complain(outcome.unwrap_or_else(|| Err("no outcome".to_owned())));
        for name in COMPONENTS {
            let state = self.world.controller().workload(&format!("{NAME}-{name}")).unwrap();
            let differences = self.world.controller().differences(&state).await;
            let well = match name {
                "job" => state.observed.phase == Phase::Completed,
                _ => state.observed.phase == Phase::Running && state.observed.health == HealthState::Healthy,
            };
            let instances = self.world.memory.control().observed().len();
            if !well || !differences.is_empty() || instances != COMPONENTS.len() {
                self.complain(Err(format!("{name}: {instances} instances, {differences:?}, {:#?}", state.observed)));
            }
        }
    }

    pub(crate) fn complain(&self, outcome: Result<(), String>) {
        if let Err(reason) = outcome {
            let states = self.world.controller().workloads();
            let observed: Vec<_> = states.iter().map(|state| (&state.desired.name, &state.observed)).collect();
            let lines = [self.reported_by_the_engine(), self.world.lines.clone()].concat().join("\n");
            panic!("{reason}\n{observed:#?}\n{lines}");
        }
    }

    fn reported_by_the_engine(&self) -> Vec<String> {
        let line = |event: &hythe_runtime::Event| {
            format!("engine: {} {} {:?}", event.time, event.name.as_deref().unwrap_or_default(), event.kind)
        };
        self.world.memory.control().history().iter().map(line).collect()
    }
}

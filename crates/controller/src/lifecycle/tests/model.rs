//! An engine, a user and a crash-prone agent, as far as the state machine sees them.

use std::collections::BTreeMap;

use hythe_runtime::{Error, ErrorKind, Event, EventKind, Exit, InstanceId, Observed, State};
use hythe_spec::{Component, ConfigChange, Health, Millis, OnFailure, Probe, Restart, Signal};
use hythe_store::{
    ComponentSpec, Desired, DesiredRecord, HealthState, ImageCheck, InstanceRecord, Life, ObservedRecord, Phase,
    Placement,
};
use jiff::{SignedDuration, Timestamp};

use super::super::{DependencyGate, Facts, Input, Next, Outcome, Reload, Step, apply, plan_step};

/// What happens to a workload from outside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening {
    Deploy {
        healthy: bool,
    },
    Stop,
    Start,
    Restart,
    /// A mounted file is written; `seen`: in place, so that who runs can read it.
    Files {
        seen: bool,
    },
    Undeploy,
    Kill,
    RemoveByHand,
    EngineLost,
    EngineBack,
    Healthy(bool),
    Pause,
    Withdraw,
    Drift,
    /// Time passes and steps are taken, so many.
    Steps(u8),
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Works,
    /// It is done, its reply is lost.
    LosesReply,
    /// It is not done.
    Fails,
    /// The agent dies before it is done, or right after, before anything of it is stored.
    Crashes {
        acted: bool,
    },
    /// It is done twice.
    Repeats,
}

#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) generation: u64,
    pub(super) running: bool,
    paused: bool,
    started: bool,
    number: u64,
    at: Timestamp,
    ended: Option<Timestamp>,
    /// The mounted file as its process has read it.
    pub(super) files: u64,
}

/// The engine: what it has, by name.
#[derive(Debug, Default, Clone)]
pub(super) struct Engine {
    pub(super) made: BTreeMap<String, Made>,
    pub(super) count: u64,
    pub(super) up: bool,
}

pub(super) struct World {
    pub(super) desired: DesiredRecord,
    pub(super) observed: ObservedRecord,
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    pub(super) forgotten: bool,
    /// How often the mounted file was written, and whether who ran then sees it.
    pub(super) files: u64,
    seen: bool,
    /// How far what it depends on is.
    pub(super) gate: DependencyGate,
    /// Whether something was started out of band, which the agent does not answer for.
    pub(super) trace: Vec<String>,
}

pub(super) fn spec(generation: u64, healthy: bool) -> ComponentSpec {
    let mut component = Component::new("web", "localhost/x:1".parse().expect("a reference"));
    component.restart = Restart::Always;
    component.on_config_change = ConfigChange::Signal(Signal(1));
    component.health = healthy.then_some(Health {
        probe: Probe::Tcp { port: 1 },
        interval: Millis(1000),
        timeout: Millis(1000),
        retries: 1,
        start_period: Millis(0),
        start_interval: None,
        on_failure: OnFailure::Restart,
    });
    ComponentSpec { component, labels: BTreeMap::new(), hash: format!("hash-{generation}") }
}

impl World {
    pub(super) fn new() -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let desired = DesiredRecord {
            name: "web".to_owned(),
            service: "web".to_owned(),
            spec: spec(1, false),
            generation: 1,
            desired: Desired::Running,
            grace: None,
            placement: Placement { runtime: "engine".to_owned(), rejected: Vec::new() },
            requests: 1,
            restart: 0,
            heal: true,
            needs: BTreeMap::new(),
            completes: false,
            follow: BTreeMap::new(),
            pull: hythe_spec::PullPolicy::default(),
            refresh: 0,
            reload: 0,
            restored_over: None,
        };
        let engine = Engine { up: true, ..Engine::default() };
        Self {
            desired,
            observed: ObservedRecord::new(now),
            engine,
            now,
            forgotten: false,
            files: 0,
            seen: true,
            gate: DependencyGate::Open,
            trace: Vec::new(),
        }
    }

    pub(super) fn facts<'a>(&self, down: &'a [(String, String)]) -> Facts<'a> {
        Facts {
            now: self.now,
            boot: "boot",
            gate: self.gate.clone(),
            follow: crate::lifecycle::Follow::None,
            first_of_service: true,
            fetching: false,
            dependent: None,
            runs_once: Vec::new(),
            down,
        }
    }

    pub(super) fn hear(&mut self, input: Input) {
        let facts = self.facts(&[]);
        if let Input::Ended(Step::Run, Ok(_)) | Input::Ended(Step::Inspect, Ok(Outcome::Seen(Some(_), _))) = &input {
            let check = Input::ImageCheck(ImageCheck::Absent);
            apply(&self.desired, &mut self.observed, check, &facts, &mut Vec::new());
        }
        apply(&self.desired, &mut self.observed, input, &facts, &mut Vec::new());
    }

    pub(super) fn ask(&mut self, desired: Desired) {
        self.desired.desired = desired;
        self.desired.requests += 1;
    }

    pub(super) fn current(&self) -> Option<&InstanceRecord> {
        self.observed.current.as_ref()
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        self.trace.push(format!("{happening:?}"));
        let name = self.current().map(|current| current.name.clone()).unwrap_or_default();
        match happening {
            Happening::Deploy { healthy } => {
                self.desired.generation += 1;
                self.desired.spec = spec(self.desired.generation, healthy);
                self.ask(Desired::Running);
            }
            Happening::Files { seen } => self.write(seen),
            Happening::Stop => self.ask(Desired::Stopped),
            Happening::Start => self.ask(Desired::Running),
            Happening::Restart => {
                self.ask(Desired::Running);
                self.desired.restart = self.desired.requests;
            }
            Happening::Undeploy => self.ask(Desired::Removed),
            Happening::Kill => {
                if let Some(made) = self.engine.made.get_mut(&name).filter(|made| made.running) {
                    made.running = false;
                    made.paused = false;
                    made.ended = Some(self.now);
                    self.report(&name, EventKind::Stopped { exit: Exit::from_code(137) });
                }
            }
            Happening::RemoveByHand => {
                if self.engine.made.contains_key(&name) {
                    self.report(&name, EventKind::Removed);
                    self.engine.made.remove(&name);
                }
            }
            Happening::Pause => {
                if let Some(made) = self.engine.made.get_mut(&name).filter(|made| made.running && !made.paused) {
                    made.paused = true;
                    self.report(&name, EventKind::Paused);
                }
            }
            Happening::EngineLost if self.engine.up => {
                self.engine.up = false;
                self.hear(Input::Lost("gone".to_owned()));
            }
            Happening::EngineBack if !self.engine.up => self.come_back(),
            Happening::EngineLost | Happening::EngineBack => {}
            Happening::Healthy(well) => {
                let runs = self.current().is_some_and(|c| c.life == Life::Running && c.spec.component.health.is_some());
                if runs {
                    let state = if well { HealthState::Healthy } else { HealthState::Unhealthy };
                    self.hear(Input::Health(state, (!well).then(|| "no".to_owned())));
                }
            }
            Happening::Withdraw => self.hear(Input::Withdrawn),
            Happening::Drift => self.hear(Input::Drifted("env".to_owned())),
            Happening::Steps(_) => {}
        }
    }

    /// A file is written and deployed: what does not run, or failed, is not sent a signal.
    fn write(&mut self, seen: bool) {
        self.files += 1;
        self.seen = seen;
        let generation = self.desired.generation;
        let failed = self.observed.phase == Phase::Failed || self.observed.rolled_back_from == Some(generation);
        if self.desired.desired != Desired::Running || failed {
            let healthy = self.desired.spec.component.health.is_some();
            return self.happen(Happening::Deploy { healthy });
        }
        self.desired.spec.component.file_digests = BTreeMap::from([("/f".to_owned(), self.files.to_string())]);
        self.ask(Desired::Running);
        self.desired.reload = self.desired.requests;
    }

    pub(super) fn come_back(&mut self) {
        self.engine.up = true;
        let (state, strays) = self.list();
        self.hear(Input::Listed(state, strays));
    }

    pub(super) fn list(&self) -> (Option<State>, bool) {
        let names: Vec<&String> =
            self.observed.current.iter().chain(&self.observed.previous).map(|instance| &instance.name).collect();
        let state = self.current().and_then(|current| self.engine.made.get(&current.name)).map(state_of);
        (state, self.engine.made.keys().any(|name| !names.contains(&name)))
    }

    pub(super) fn report(&mut self, name: &str, kind: EventKind) {
        if !self.engine.up {
            return;
        }
        let Some(made) = self.engine.made.get(name) else { return };
        let event = Event {
            cursor: hythe_runtime::Cursor::START,
            time: self.now,
            id: InstanceId(format!("id-{}", made.number)),
            name: Some(name.to_owned()),
            identity: None,
            kind,
        };
        self.hear(Input::Engine(event));
    }

    /// Asks the state machine and takes the step it names; `false`: there is nothing to do now.
    pub(super) fn advance(&mut self, fate: Fate) -> bool {
        self.advance_with(|_| fate)
    }

    /// The same with a fate that depends on the step.
    pub(super) fn advance_with(&mut self, fate: impl FnOnce(Step) -> Fate) -> bool {
        let down = [("engine".to_owned(), "gone".to_owned())];
        let facts = self.facts(if self.engine.up { &[] } else { &down });
        let next = plan_step(&self.desired, &mut self.observed, &facts, &mut Vec::new());
        match next {
            Next::Wait(Some(at)) if at > self.now => {
                self.now = at;
                true
            }
            Next::Wait(Some(_)) => true,
            Next::Wait(None) => false,
            Next::Do(step) => {
                let fate = fate(step);
                self.trace.push(format!("  {step:?} {fate:?}"));
                self.take(step, fate);
                true
            }
        }
    }

    pub(super) fn take(&mut self, step: Step, fate: Fate) {
        self.now += SignedDuration::from_millis(10);
        let starts = matches!(step, Step::Run | Step::Start | Step::Pull | Step::MakeVolumes | Step::MakeNetworks);
        assert!(
            !starts || self.desired.desired == Desired::Running,
            "{step:?} against what is desired: {:#?}",
            self.trace
        );
        let lost = || Error::new(ErrorKind::Unavailable, "test", "the reply was lost");
        match fate {
            Fate::Works => {
                let outcome = self.act(step);
                self.hear(Input::Ended(step, outcome));
            }
            Fate::Repeats => {
                let _ = self.act(step);
                let outcome = self.act(step);
                self.hear(Input::Ended(step, outcome));
            }
            Fate::LosesReply => {
                let _ = self.act(step);
                self.hear(Input::Ended(step, Err(lost())));
            }
            Fate::Fails => self.hear(Input::Ended(step, Err(lost()))),
            Fate::Crashes { acted } => {
                if acted {
                    let _ = self.act(step);
                }
                self.observed = crate::worker::resumed(self.observed.clone());
                if self.engine.up {
                    self.come_back();
                }
            }
        }
        self.check();
    }

    pub(super) fn check(&self) {
        let mut running: BTreeMap<u64, u32> = BTreeMap::new();
        for made in self.engine.made.values().filter(|made| made.running) {
            *running.entry(made.generation).or_default() += 1;
        }
        assert!(running.values().all(|count| *count <= 1), "two of one generation: {:#?}", self.trace);
    }

    /// What the engine does.
    pub(super) fn act(&mut self, step: Step) -> Result<Outcome, Error> {
        if !self.engine.up {
            return Err(Error::new(ErrorKind::Unavailable, "test", "the engine is gone"));
        }
        let absent = || Error::new(ErrorKind::NotFound, "test", "no such instance");
        let current = self.observed.current.clone();
        let previous = self.observed.previous.clone();
        let name = |instance: &Option<InstanceRecord>| instance.as_ref().map(|i| i.name.clone()).unwrap_or_default();
        match step {
            Step::Run => {
                let current = current.ok_or_else(absent)?;
                if !self.engine.made.contains_key(&current.name) {
                    self.engine.count += 1;
                    let made = Made {
                        generation: current.generation,
                        running: false,
                        paused: false,
                        started: false,
                        number: self.engine.count,
                        at: self.now,
                        ended: None,
                        files: 0,
                    };
                    self.engine.made.insert(current.name.clone(), made);
                }
                let made = self.engine.made.get_mut(&current.name).ok_or_else(absent)?;
                if !made.started {
                    (made.started, made.running, made.at, made.files) = (true, true, self.now, self.files);
                    self.seen = true;
                }
                Ok(Outcome::Made(InstanceId(format!("id-{}", made.number))))
            }
            Step::Start => {
                let made = self.engine.made.get_mut(&name(&current)).ok_or_else(absent)?;
                if !made.running {
                    (made.started, made.running, made.at, made.files) = (true, true, self.now, self.files);
                    self.seen = true;
                }
                Ok(Outcome::Done)
            }
            Step::Signal => {
                let made = self.engine.made.get_mut(&name(&current)).ok_or_else(absent)?;
                if !made.running {
                    return Err(Error::new(ErrorKind::Conflict, "test", "it does not run"));
                }
                if !self.seen {
                    return Ok(Outcome::Unseen("/f".to_owned()));
                }
                made.files = self.files;
                let reload = Reload::of(&self.desired, self.now);
                Ok(reload.map_or(Outcome::Done, Outcome::Sent))
            }
            Step::Inspect => Ok(Outcome::Seen(self.seen(&name(&current)).map(Box::new), Vec::new())),
            Step::StopCurrent => {
                self.halt(&name(&current));
                Ok(Outcome::Seen(self.seen(&name(&current)).map(Box::new), Vec::new()))
            }
            Step::StopPrevious => {
                self.halt(&name(&previous));
                Ok(Outcome::Done)
            }
            Step::RemoveCurrent => self.erase(&name(&current)),
            Step::RemovePrevious => self.erase(&name(&previous)),
            Step::PruneStrays => {
                let known = [name(&current), name(&previous)];
                self.engine.made.retain(|name, _| known.contains(name));
                Ok(Outcome::Done)
            }
            Step::Pull => Ok(Outcome::Pulled(None)),
            Step::MakeVolumes | Step::MakeNetworks => Ok(Outcome::Done),
            Step::Undeploy => {
                self.forgotten = true;
                Ok(Outcome::Done)
            }
        }
    }

    pub(super) fn halt(&mut self, name: &str) {
        if let Some(made) = self.engine.made.get_mut(name) {
            made.ended = if made.running { Some(self.now) } else { made.ended };
            (made.running, made.paused) = (false, false);
        }
    }

    pub(super) fn erase(&mut self, name: &str) -> Result<Outcome, Error> {
        if self.engine.made.get(name).is_some_and(|made| made.running) {
            return Err(Error::new(ErrorKind::Conflict, "test", "it runs"));
        }
        self.engine.made.remove(name);
        Ok(Outcome::Done)
    }

    pub(super) fn seen(&self, name: &str) -> Option<Observed> {
        let made = self.engine.made.get(name)?;
        let ended = made.started && !made.running;
        Some(Observed {
            id: InstanceId(format!("id-{}", made.number)),
            name: name.to_owned(),
            state: state_of(made),
            pid: made.running.then_some(7),
            started: made.started.then_some(made.at),
            finished: made.ended.filter(|_| ended),
            exit: ended.then(|| Exit::from_code(137)),
            ..Observed::default()
        })
    }

    /// Steps until there is nothing to do; fails where there always is.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            if self.forgotten || !self.advance(Fate::Works) {
                return;
            }
        }
        panic!("it never comes to rest: {:#?}\n{:#?}", self.trace, self.observed);
    }
}

pub(super) fn state_of(made: &Made) -> State {
    match (made.running, made.paused, made.started) {
        (true, true, _) => State::Paused,
        (true, false, _) => State::Running,
        (false, _, true) => State::Exited,
        (false, _, false) => State::Created,
    }
}

//! Runs a scenario under trace, then once more for each place it passed.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::coverage::Coverage;
use super::look::Look;
use super::scenarios::COUNT;
use crate::fixture::Fixture;
use crate::http;
use crate::program::Running;
use crate::trial::caught;
use crate::wait;

const TRACE: &str = "HYTHE_CRASH_TRACE";
const AT: &str = "HYTHE_CRASH_AT";
/// A number; with it every [`SHARE`]th place of a scenario is tried on runtimes with an engine, the first chosen by it.
const SEED: &str = "HYTHE_TEST_SEED";
/// Set: every place all the same.
const FULL: &str = "HYTHE_TEST_FULL";
const SHARE: u64 = 6;
/// A scenario that fails at so many places is not tried at more.
const FAULTS_SHOWN: usize = 3;
/// Runs in which a place may come up.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(20);
/// The engine is asked again after so long, although the agent says nothing new: its program takes more time than the agent's answer.
const ENGINE_PAUSE: Duration = Duration::from_millis(250);
/// What is at rest stays so for so long.
const CALM: Duration = Duration::from_millis(300);

/// One kind of work.
#[derive(Clone, Copy)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// Brings about what the work begins with, given the rest of the run before.
    pub(super) prepare: fn(&mut Stage<'_, '_>),
    pub(super) act: Act,
    /// What there must be in the end; else the reason.
    pub(super) rest: fn(&Stage<'_, '_>, &Look) -> Result<(), String>,
    /// Takes away what no undeploy takes away.
    pub(super) tidy: fn(&Stage<'_, '_>),
}

/// How the work begins.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// The words of a command, and how it ends when nobody is killed.
    Command(fn(&Stage<'_, '_>) -> Vec<String>, i32),
    /// Something done to the engine behind the agent's back.
    Behind(fn(&Stage<'_, '_>)),
    /// The agent is killed, this is done, and it is started again.
    Adopt(fn(&Stage<'_, '_>)),
}

/// What a run of a scenario has.
pub(super) struct Stage<'a, 'b> {
    pub(super) fixture: &'a mut Fixture<'b>,
    /// A port that only this scenario publishes.
    pub(super) port: u16,
    /// Counts the runs, from 1.
    pub(super) round: u32,
    /// What was there before the work began.
    pub(super) before: Look,
}

/// The nth passing of a place.
type Place = (String, usize);

pub(super) fn play(fixture: &mut Fixture<'_>, scenario: &Scenario) {
    let engine = fixture.subject.name;
    let mut stage = Stage::set(fixture);
    let mut coverage = Coverage::of(scenario.name);
    let places = stage.learn(scenario);
    coverage.passed(places.iter().map(|(name, _)| name));
    let mut faults = Vec::new();
    for (name, nth) in sample(&places, engine) {
        match caught(|| (0..TRIES).any(|_| stage.run(scenario, name, *nth))) {
            Ok(true) => coverage.killed(),
            Ok(false) => coverage.missed(name),
            Err(fault) => {
                faults.push(format!("killed at the passing {nth} of {name}: {fault}\n{}", stage.fixture.agent.log()));
                stage.begin_anew();
            }
        }
        if faults.len() >= FAULTS_SHOWN {
            break;
        }
    }
    (scenario.tidy)(&stage);
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    if let Some(sum) = coverage.add(engine, COUNT) {
        sum.conclude(engine, &stage.fixture.hythe(&["agent", "--crash-points"]).ok().out);
    }
}

/// The places that are tried: all of them, or the share that [`SEED`] asks for. Engines take seconds for each.
fn sample<'a>(places: &'a [Place], runtime: &str) -> Vec<&'a Place> {
    let seed: Option<u64> = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    match seed.filter(|_| std::env::var_os(FULL).is_none()) {
        Some(seed) if runtime != "embedded" => {
            (seed..).zip(places).filter(|(n, _)| n % SHARE == 0).map(|(_, p)| p).collect()
        }
        _ => places.iter().collect(),
    }
}

impl<'a, 'b> Stage<'a, 'b> {
    /// An agent that can be armed.
    fn set(fixture: &'a mut Fixture<'b>) -> Self {
        fixture.agent.set(TRACE, fixture.agent.path("trace").display().to_string());
        fixture.agent.set(AT, format!("@{}", fixture.agent.path("fuse").display()));
        fixture.agent.restart();
        let before = Look::take(fixture).unwrap();
        Self { fixture, port: http::free_port(), round: 0, before }
    }

    fn trace(&self) -> Vec<String> {
        let text = fs::read_to_string(self.fixture.agent.path("trace")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn prepare(&mut self, scenario: &Scenario) {
        self.round += 1;
        (scenario.prepare)(self);
        self.before = Look::take(self.fixture).unwrap();
    }

    /// The places that the scenario passes, in order.
    fn learn(&mut self, scenario: &Scenario) -> Vec<Place> {
        self.prepare(scenario);
        let from = match scenario.act {
            Act::Adopt(_) => 0,
            Act::Command(..) | Act::Behind(_) => self.trace().len(),
        };
        match scenario.act {
            Act::Command(words, code) => drop(self.command(words).end().ends_with(code)),
            Act::Behind(act) => act(self),
            Act::Adopt(meanwhile) => {
                self.fixture.agent.kill();
                meanwhile(self);
                fs::remove_file(self.fixture.agent.path("trace")).unwrap();
                self.fixture.agent.start_again();
            }
        }
        self.await_rest(scenario);
        let mut passed = BTreeMap::<String, usize>::new();
        let mut nth = |name: String| {
            let count = passed.entry(name.clone()).or_default();
            *count += 1;
            (name, *count)
        };
        self.trace().into_iter().skip(from).map(&mut nth).collect()
    }

    /// Runs it with the agent killed at a place; false when it came to rest without passing there.
    fn run(&mut self, scenario: &Scenario, name: &str, nth: usize) -> bool {
        self.prepare(scenario);
        let fuse = self.fixture.agent.path("fuse");
        let order = format!("{name}:{nth}");
        let before = self.trace().len();
        let mut command = None;
        match scenario.act {
            Act::Command(words, _) => {
                fs::write(&fuse, order).unwrap();
                command = Some(self.command(words));
            }
            Act::Behind(act) => {
                fs::write(&fuse, order).unwrap();
                act(self);
            }
            Act::Adopt(meanwhile) => {
                self.fixture.agent.kill();
                meanwhile(self);
                fs::write(&fuse, order).unwrap();
                self.fixture.agent.start_doomed();
            }
        }
        let died = self.dies(scenario);
        if let Some(command) = command {
            command.end();
        }
        fs::remove_file(&fuse).unwrap();
        let died = died || self.dies_late();
        self.fixture.agent.start_again();
        let accepted = self.trace().iter().skip(before).any(|point| point == "accept.stored");
        if let (Act::Command(words, code), true, false) = (scenario.act, died, accepted) {
            // Killed before it heard of the command: whoever gave it gives it again.
            self.command(words).end().ends_with(code);
        }
        self.await_rest(scenario);
        died
    }

    fn command(&self, words: fn(&Stage<'_, '_>) -> Vec<String>) -> Running {
        let words = words(self);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.fixture.agent.spawn(&words)
    }

    fn rest(&self, scenario: &Scenario) -> Result<(), String> {
        Look::take(self.fixture).and_then(|look| (scenario.rest)(self, &look))
    }

    /// Waits for the agent's end; false when the work came to rest instead.
    fn dies(&mut self, scenario: &Scenario) -> bool {
        let silence = wait::Silence::begin();
        let mut calm = 0;
        let mut next_look = Instant::now() + CALM;
        while self.fixture.agent.is_running() {
            if Instant::now() > next_look {
                // Looking fails when the agent ends meanwhile.
                calm = if caught(|| self.rest(scenario)).is_ok_and(|rest| rest.is_ok()) { calm + 1 } else { 0 };
                next_look = Instant::now() + CALM;
            }
            if calm > 1 {
                return false;
            }
            assert!(!silence.is_too_long(), "neither killed nor at rest: {:?}", self.rest(scenario));
            std::thread::sleep(PAUSE);
        }
        true
    }

    /// It may have read the order just before that was taken back.
    fn dies_late(&mut self) -> bool {
        std::thread::sleep(CALM);
        !self.fixture.agent.is_running()
    }

    #[track_caller]
    fn await_rest(&self, scenario: &Scenario) {
        let mut silence = wait::Silence::begin();
        let mut seen: Option<(Look, Instant)> = None;
        loop {
            let status = Look::status(self.fixture);
            let is_new = |(look, at): &(Look, Instant)| {
                at.elapsed() > ENGINE_PAUSE || status.as_ref().is_ok_and(|status| *status != look.status)
            };
            if seen.as_ref().is_none_or(is_new) {
                let reason = match status.map(|status| Look::with(self.fixture, status)) {
                    Ok(look) => {
                        let Err(reason) = (scenario.rest)(self, &look) else { break };
                        if seen.as_ref().is_none_or(|(before, _)| *before != look) {
                            silence.broken();
                        }
                        seen = Some((look, Instant::now()));
                        reason
                    }
                    Err(reason) => reason,
                };
                assert!(!silence.is_too_long(), "not at rest, and nothing changes: {reason}");
            }
            std::thread::sleep(PAUSE);
        }
        std::thread::sleep(CALM);
        if let Err(reason) = self.rest(scenario) {
            panic!("did not stay at rest: {reason}");
        }
    }

    /// After a fault: nothing of the run before is left.
    fn begin_anew(&mut self) {
        // It may lie there still.
        let _ = fs::remove_file(self.fixture.agent.path("fuse"));
        self.fixture.agent.kill();
        self.fixture.agent.start_again();
        self.fixture.hythe(&["undeploy", "--volumes", &self.fixture.service]);
        self.fixture.engine().sweep(&self.fixture.agent.owner_label());
        self.round = 0;
    }
}

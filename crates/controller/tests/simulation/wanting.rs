//! A deploy that lacks something while all else works: what runs goes on running, whoever asked is told, and once it is to be had the deploy goes on.

use std::time::Duration;

use hythe_controller::DeployOptions;
use hythe_runtime::{EventKind, State};
use hythe_spec::{Component, Signal};
use hythe_store::Phase;

use crate::history::Life;
use crate::specs;

const WEB: &str = "shop-web";
/// Longer than the longest time between two tries.
const AGAIN: Duration = Duration::from_secs(100);

/// What the new version of web lacks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lack {
    /// Its registry cannot be reached.
    Registry,
    /// No registry has its image.
    Image,
    /// The job that it waits for fails.
    Job,
    /// The database that it waits for is never healthy.
    Database,
    /// It is never healthy itself.
    Health,
    /// Nothing, but the job takes its time.
    Nothing,
}

impl Life {
    pub(crate) async fn wanting(&mut self) {
        self.rest("before a deploy that lacks something").await;
        self.world.chaos.rage(false);
        let first = self.a_good_version().await;
        let serving = self.serving();
        let lack =
            *self.rng.pick(&[Lack::Registry, Lack::Image, Lack::Job, Lack::Database, Lack::Health, Lack::Nothing]);
        let alone = self.rng.once_in(2);
        self.world.say(format_args!("deploy a version that lacks {lack:?}, side by side: {alone}"));
        self.version += 1;
        self.wants += 1;
        let broken = broken(lack, first, (self.version, self.wants), alone);
        let since = self.world.memory.control().history().len();
        self.world.chaos.reach(lack != Lack::Registry);
        let accepted = self.world.deploy(&specs::service(broken.clone()));
        let operation = accepted.ok().flatten();
        let outcome = match &operation {
            Some(operation) => self.world.outcome(operation).await,
            None => None,
        };
        self.world.say(format_args!("  {outcome:?}"));
        if lack == Lack::Nothing {
            self.complain(outcome.unwrap_or_else(|| Err("no outcome".to_owned())));
            self.world.chaos.rage(true);
            return;
        }
        if !matches!(outcome, Some(Err(_))) {
            self.complain(Err(format!("lacks {lack:?}, and its deploy ends with {outcome:?}")));
        }
        if lack == Lack::Health {
            self.is_rolled_back(&serving);
        } else {
            self.goes_on(lack, &serving, since);
        }
        if self.rng.once_in(2) {
            self.dies_meanwhile(lack).await;
        }
        self.is_mended(lack, &broken).await;
        self.world.chaos.rage(true);
    }

    /// A version that works, with web after both others.
    async fn a_good_version(&mut self) -> u64 {
        self.version += 1;
        let version = self.version;
        self.world.say(format_args!("deploy version {version}, which works"));
        self.break_silence(None);
        let accepted = self.world.deploy(&specs::service(specs::good_set(version)));
        let outcome = match accepted {
            Ok(Some(operation)) => self.world.outcome(&operation).await,
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error.to_string())),
        };
        self.complain(outcome.unwrap_or_else(|| Err("no outcome".to_owned())));
        version
    }

    fn serving(&self) -> Vec<String> {
        let seen = self.world.memory.control().observed();
        let web = seen.into_iter().filter(|row| row.state == State::Running && row.name.starts_with(WEB));
        web.map(|row| row.id.0).collect()
    }

    /// Nothing was stopped for what could not take its place.
    fn goes_on(&self, lack: Lack, serving: &[String], since: usize) {
        let history = self.world.memory.control().history();
        let ends = |event: &&hythe_runtime::Event| matches!(event.kind, EventKind::Stopped { .. } | EventKind::Removed);
        let ended = history[since..].iter().filter(ends).find(|event| serving.contains(&event.id.0));
        if let Some(event) = ended {
            self.complain(Err(format!("lacks {lack:?}: what ran was ended at {}, {:?}", event.time, event.kind)));
        }
        if self.serving() != serving {
            self.complain(Err(format!("lacks {lack:?}: {serving:?} ran, now {:?}", self.serving())));
        }
        let state = self.world.controller().workload(WEB).unwrap();
        if state.observed.phase != Phase::Running {
            self.complain(Err(format!("lacks {lack:?}: what runs is said to be {:?}", state.observed.phase)));
        }
        let of_web = hythe_store::EventFilter { workload: Some(WEB.to_owned()), ..hythe_store::EventFilter::default() };
        let told = self.world.controller().events().read(&of_web).unwrap();
        if !told.iter().any(|event| {
            event.event.kind == hythe_store::EventKind::Failed
                && event.event.details["generation"] == state.desired.generation
        }) {
            self.complain(Err(format!("lacks {lack:?}: nobody was told that it failed")));
        }
    }

    /// The version before runs again: the same instance, or where nothing starts again another attempt.
    fn is_rolled_back(&self, serving: &[String]) {
        let state = self.world.controller().workload(WEB).unwrap();
        let runs = state.observed.current.as_ref().map(|current| current.generation);
        let now = self.serving();
        let same = now == serving || !self.world.restarts_in_place && now.len() == 1;
        if state.observed.phase != Phase::Running || runs >= Some(state.desired.generation) || !same {
            let phase = state.observed.phase;
            self.complain(Err(format!("rolled back: {serving:?} ran, now {now:?} of generation {runs:?}, {phase:?}")));
        }
    }

    /// What runs is watched over as before.
    async fn dies_meanwhile(&mut self, lack: Lack) {
        for id in self.serving() {
            self.world.say(format_args!("kill {id}"));
            let _ = self.world.memory.control().kill(&id, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        if self.serving().is_empty() {
            self.complain(Err(format!("lacks {lack:?}: what ran died and was not started again")));
        }
    }

    /// What it lacked is there: it comes without being asked for again. What no registry has does not.
    async fn is_mended(&mut self, lack: Lack, broken: &[Component]) {
        self.world.say(format_args!("what it lacked is there: {lack:?}"));
        let name = match lack {
            Lack::Registry => None,
            Lack::Image | Lack::Health | Lack::Nothing => return,
            Lack::Job => Some("job"),
            Lack::Database => Some("db"),
        };
        self.world.chaos.reach(true);
        if let Some(name) = name {
            self.version += 1;
            let mut mended = broken.to_vec();
            if let Some(component) = mended.iter_mut().find(|component| component.name == name) {
                *component = specs::good(name, self.version);
            }
            let options = DeployOptions { component: Some(name.to_owned()), ..DeployOptions::default() };
            let deployed = self.world.controller().deploy(&specs::service(mended), &options).unwrap();
            if let Some(operation) = deployed.operation {
                let outcome = self.world.outcome(&operation).await;
                self.complain(outcome.unwrap_or_else(|| Err("no outcome".to_owned())));
            }
        }
        tokio::time::sleep(AGAIN).await;
        let state = self.world.controller().workload(WEB).unwrap();
        let runs = state.observed.current.as_ref().map(|current| current.generation);
        if runs != Some(state.desired.generation) || state.observed.phase != Phase::Running {
            let words = format!("{lack:?} is there again, generation {runs:?} runs of {}", state.desired.generation);
            self.complain(Err(words));
        }
    }
}

/// All of the version before, and web with something lacking.
fn broken(lack: Lack, before: u64, (version, wants): (u64, u64), alone: bool) -> Vec<Component> {
    let mut components = specs::good_set(before);
    let [db, job, web] = components.as_mut_slice() else { return components };
    web.env.insert("VERSION".to_owned(), version.to_string());
    if alone {
        web.mounts.clear();
    }
    match lack {
        Lack::Registry => web.image = specs::unseen(wants),
        Lack::Image => web.image = specs::absent(),
        Lack::Job => *job = specs::job("sleep 1; exit 4", version),
        Lack::Database => {
            db.env.insert("VERSION".to_owned(), version.to_string());
            db.health = Some(specs::health("false", &mut crate::rng::Rng::new(version)));
        }
        Lack::Health => web.health = Some(specs::health("false", &mut crate::rng::Rng::new(version))),
        Lack::Nothing => *job = specs::job("sleep 20; exit 0", version),
    }
    components
}

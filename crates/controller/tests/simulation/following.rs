//! A restart of the database is followed by one of web: once, after the database is healthy, whenever the agent dies.

use std::time::Duration;

use hythe_runtime::EventKind;
use hythe_spec::{Condition, Dependency};

use crate::history::Life;
use crate::specs::{self, NAME};

/// Longer than every back-off.
const LONG: Duration = Duration::from_secs(300);

impl Life {
    pub(crate) async fn following(&mut self) {
        self.rest("before a restart that another one follows").await;
        self.world.chaos.rage(false);
        self.break_silence(None);
        self.version += 1;
        let mut components = specs::good_set(self.version);
        let dependency = Dependency { condition: Condition::Healthy, restart: true };
        components[2].depends_on.insert("db".to_owned(), dependency);
        let replaces = self.rng.once_in(2);
        self.deploys(&components).await;
        self.rest("all of it runs").await;
        self.world.chaos.rage(false);
        let since = self.world.memory.control().history().len();
        let (after, down_for) = (self.rng.below(12), self.rng.while_());
        self.world.say(format_args!("db is changed, replaced: {replaces}; the agent dies after {after}"));
        self.world.arm(after);
        if replaces {
            self.version += 1;
            components[0].env.insert("VERSION".to_owned(), self.version.to_string());
            let accepted = self.world.deploy(&specs::service(components));
            self.complain(accepted.map(drop).map_err(|error| error.to_string()));
        } else {
            let accepted = self.world.controller().restart(NAME, Some("db"), None);
            self.complain(accepted.map(drop).map_err(|error| error.to_string()));
        }
        self.world.crash(down_for).await;
        tokio::time::sleep(LONG).await;
        self.followed_once(since);
        self.world.chaos.rage(true);
    }

    async fn deploys(&mut self, components: &[hythe_spec::Component]) {
        let outcome = match self.world.deploy(&specs::service(components.to_vec())) {
            Ok(Some(operation)) => self.world.outcome(&operation).await,
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(error.to_string())),
        };
        self.complain(outcome.unwrap_or_else(|| Err("no outcome".to_owned())));
    }

    fn followed_once(&mut self, since: usize) {
        let history = self.world.memory.control().history();
        let starts = |component: &str| -> Vec<jiff::Timestamp> {
            let of = |event: &&hythe_runtime::Event| {
                let is = event.identity.as_ref().is_some_and(|identity| identity.component == component);
                is && matches!(event.kind, EventKind::Started)
            };
            history[since..].iter().filter(of).map(|event| event.time).collect()
        };
        let (db, web) = (starts("db"), starts("web"));
        self.told_once("db", db.len());
        self.told_once("web", web.len());
        if db.len() != 1 || web.len() != 1 || web[0] < db[0] {
            self.complain(Err(format!("db was started at {db:?}, web at {web:?}")));
        }
    }

    /// Each start of this component since the last request is in the stream once.
    fn told_once(&mut self, component: &str, starts: usize) {
        let events = self.world.controller().events().read(&hythe_store::EventFilter::default()).unwrap();
        let asked = |event: &hythe_store::NewEvent| {
            event.kind == hythe_store::EventKind::Requested || event.kind == hythe_store::EventKind::Deployed
        };
        let workload = hythe_spec::service::workload_name(NAME, component);
        let of = events.iter().map(|record| &record.event).filter(|event| event.workload.as_ref() == Some(&workload));
        let since: Vec<_> = of.rev().take_while(|event| !asked(event)).collect();
        let told = since.iter().filter(|event| event.kind == hythe_store::EventKind::Started).count();
        if told != starts {
            let kinds: Vec<_> = since.iter().map(|event| (event.time, &event.kind, &event.message)).collect();
            self.complain(Err(format!("`{workload}` was started {starts} times, and told {kinds:?}")));
        }
    }
}

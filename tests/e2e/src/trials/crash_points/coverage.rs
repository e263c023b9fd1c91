//! What all scenarios of an engine passed together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::UNREACHED;

static COVERAGES: Mutex<BTreeMap<&'static str, Coverage>> = Mutex::new(BTreeMap::new());

/// Of one engine.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage {
    scenarios: BTreeSet<&'static str>,
    /// Names of the places that the scenarios pass.
    names: BTreeSet<String>,
    kills: usize,
    /// Places that came up when learning and not again: what an engine tells in time need not be looked up.
    missed: Vec<String>,
}

impl Coverage {
    pub(super) fn of(scenario: &'static str) -> Self {
        Self { scenarios: BTreeSet::from([scenario]), ..Self::default() }
    }

    pub(super) fn passed<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        self.names.extend(names.cloned());
    }

    pub(super) fn killed(&mut self) {
        self.kills += 1;
    }

    pub(super) fn missed(&mut self, name: &str) {
        self.missed.push(name.to_owned());
    }

    /// Adds a finished scenario of an engine; all of them once the last has finished.
    pub(super) fn add(self, engine: &'static str, scenarios: usize) -> Option<Self> {
        let mut tallies = COVERAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = tallies.entry(engine).or_default();
        sum.scenarios.extend(self.scenarios);
        sum.names.extend(self.names);
        sum.kills += self.kills;
        sum.missed.extend(self.missed);
        (sum.scenarios.len() == scenarios).then(|| sum.clone())
    }

    /// Prints the sum; every place that there is must have been passed.
    #[track_caller]
    pub(super) fn conclude(&self, engine: &str, all: &str) {
        let (names, kills) = (self.names.len(), self.kills);
        println!("crash points: killed at {kills} in {} scenarios on {engine}", self.scenarios.len());
        println!("  {names} steps by name; {} that did not come up a second time", self.missed.len());
        for (name, reason) in UNREACHED {
            println!("  not passed: {name}: {reason}");
        }
        assert!(self.missed.len() < kills, "most places never came up again on {engine}: {:?}", self.missed);
        let excused = |name: &&str| UNREACHED.iter().any(|(excused, _)| excused == name);
        let lacking: Vec<&str> = all.lines().filter(|name| !self.names.contains(*name) && !excused(name)).collect();
        assert!(lacking.is_empty(), "crash points that no scenario passes on {engine}: {lacking:?}");
    }
}

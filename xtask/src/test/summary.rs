//! Counting what test programs print; libtest and libtest-mimic print the same lines.

use std::collections::BTreeMap;
use std::time::Duration;

/// How many of the slowest are shown.
const SLOWEST: usize = 20;

/// Sums over every test program of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Why tests were skipped, and how many for each reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Names of failed tests.
    pub(crate) failures: Vec<String>,
    /// Names of tests that failed once and passed when they were run again.
    pub(crate) flaky: Vec<String>,
    /// The slowest trials of each suite, and how long each program of unit tests took.
    times: Vec<(Duration, String)>,
}

impl Summary {
    /// Takes in one line of output; most say nothing of interest.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.skipped += count(counts, "ignored");
        } else if let Some((name, outcome)) = outcome(line) {
            self.note(name, outcome);
        } else if let Some(name) = line.strip_prefix("flaky ") {
            self.flaky.push(name.to_owned());
        } else if let Some((count, reason)) = skipped_at_once(line) {
            self.skipped += count;
            *self.reasons.entry(reason.to_owned()).or_default() += count;
        } else if let Some((time, name)) = took(line) {
            self.took(time, name);
        }
    }

    /// Notes how long something took.
    pub(crate) fn took(&mut self, time: Duration, name: &str) {
        self.times.push((time, name.to_owned()));
    }

    /// One line for each of the slowest over all suites.
    pub(crate) fn slowest(&self) -> Vec<String> {
        let mut times: Vec<_> = self.times.iter().collect();
        times.sort_unstable_by(|one, other| other.cmp(one));
        times.iter().take(SLOWEST).map(|(time, name)| format!("slow {:6.1} s {name}", time.as_secs_f64())).collect()
    }

    fn note(&mut self, name: &str, outcome: &str) {
        if let Some(reason) = outcome.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            let reason = if reason.is_empty() { "no reason given" } else { reason };
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        } else if outcome.starts_with("FAILED") {
            self.failures.push(name.trim().to_owned());
        }
    }
}

fn outcome(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.rsplit_once(" ... ")
}

/// `took 12.5 s podman::crash::…`, as a suite prints of its slowest.
fn took(line: &str) -> Option<(Duration, &str)> {
    let (time, name) = line.strip_prefix("took ")?.trim_start().split_once(" s ")?;
    Some((Duration::try_from_secs_f64(time.parse().ok()?).ok()?, name))
}

/// `skipped 7 trials: there is no …`, as a program says that has no way to start them.
fn skipped_at_once(line: &str) -> Option<(u64, &str)> {
    let (count, reason) = line.strip_prefix("skipped ")?.split_once(" trials: ")?;
    Some((count.parse().ok()?, reason))
}

/// The number before `word` in `ok. 5 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> u64 {
    counts
        .split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowest_of_several_suites_are_sorted_and_bounded() {
        let mut summary = Summary::default();
        summary.read("took    2.5 s podman::a");
        summary.read("took   12.5 s docker::b");
        summary.read("took nobody knows how long");
        summary.took(Duration::from_secs(3), "all of c");
        assert_eq!(summary.slowest(), ["slow   12.5 s docker::b", "slow    3.0 s all of c", "slow    2.5 s podman::a"]);
        (0..50).for_each(|n| summary.took(Duration::from_millis(n), "d"));
        assert_eq!(summary.slowest().len(), SLOWEST);
    }

    #[test]
    fn the_closing_lines_are_summed() {
        let mut summary = Summary::default();
        for line in [
            "test a::b ... ok",
            "test [podman] stop_twice ... ignored, no `pause` here",
            "test c ... ignored",
            "test d  ... FAILED",
            "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "skipped 7 trials: there is no `pasta`",
            "skipped engine docker: no `dockerd`",
            "flaky podman::e",
        ] {
            summary.read(line);
        }
        assert_eq!((summary.passed, summary.failed, summary.skipped), (8, 1, 9));
        assert_eq!((summary.failures, summary.flaky), (vec!["d".to_owned()], vec!["podman::e".to_owned()]));
        assert_eq!(summary.reasons.len(), 3);
        assert_eq!(summary.reasons["there is no `pasta`"], 7);
    }
}

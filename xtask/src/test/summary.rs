//! Counting what test programs print; libtest and libtest-mimic print the same lines.

use std::collections::BTreeMap;

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
        }
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

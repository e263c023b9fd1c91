//! A trial that fails once and passes at the next go is flaky: a run goes on, and says so.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Set by `cargo xtask test`. Without it, as when somebody runs one trial, the first failure counts.
const VARIABLE: &str = "HYTHE_TEST_RETRY";
/// More failures than this are no accident, and none of them is tried again.
const MOST: usize = 3;

static FAILED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
static FLAKY: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs a trial, and once more where it failed and `HYTHE_TEST_RETRY` is set.
///
/// # Errors
/// The trial's: of the only go or of the second.
pub fn once_more<E: Display>(title: &str, run: impl Fn() -> Result<(), E>) -> Result<(), E> {
    retried(title, run, std::env::var_os(VARIABLE).is_some())
}

fn retried<E: Display>(title: &str, run: impl Fn() -> Result<(), E>, allowed: bool) -> Result<(), E> {
    let Err(first) = run() else { return Ok(()) };
    if !allowed || !may_retry(title, &first) {
        return Err(first);
    }
    let second = run();
    if second.is_ok() {
        FLAKY.lock().unwrap_or_else(PoisonError::into_inner).push(title.to_owned());
    }
    second
}

fn may_retry(title: &str, failure: &impl Display) -> bool {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    failed.push((title.to_owned(), failure.to_string()));
    failed.len() <= MOST
}

/// For the end of a suite: each first failure as it was, then one line `flaky TITLE` for each trial that passed at the second go.
pub fn lines() -> Vec<String> {
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    let flaky = FLAKY.lock().unwrap_or_else(PoisonError::into_inner);
    let failures = failed.iter().map(|(title, failure)| format!("first failure of {title}:\n{failure}"));
    failures.chain(flaky.iter().map(|title| format!("flaky {title}"))).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn fails_first(times: u32) -> impl Fn() -> Result<(), String> {
        let runs = Cell::new(0);
        move || {
            runs.set(runs.get() + 1);
            if runs.get() <= times { Err(format!("failure {}", runs.get())) } else { Ok(()) }
        }
    }

    #[test]
    fn a_trial_that_fails_once_is_flaky_and_one_that_fails_twice_has_failed() {
        assert_eq!(retried("without", fails_first(1), false), Err("failure 1".to_owned()));
        assert_eq!(lines(), Vec::<String>::new());
        assert_eq!(retried("once", fails_first(1), true), Ok(()));
        assert_eq!(retried("twice", fails_first(2), true), Err("failure 2".to_owned()));
        assert_eq!(retried("third", fails_first(1), true), Ok(()));
        assert_eq!(retried("more than accidents", fails_first(1), true), Err("failure 1".to_owned()));
        let told: Vec<String> = lines().into_iter().filter(|line| line.starts_with("flaky")).collect();
        assert_eq!(told, ["flaky once", "flaky third"]);
    }
}

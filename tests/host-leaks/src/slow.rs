//! How long trials take: a suite's time is a budget, and what spends it is told.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());
const TOLD: usize = 25;

/// Runs a trial and notes its time.
pub fn timed<T>(title: &str, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = run();
    TIMES.lock().unwrap_or_else(PoisonError::into_inner).push((began.elapsed(), title.to_owned()));
    outcome
}

/// One line for the sum of all and one for each of the slowest.
pub fn lines() -> Vec<String> {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    times.sort_unstable_by(|one, other| other.cmp(one));
    let sum: Duration = times.iter().map(|(time, _)| *time).sum();
    let head = format!("{} trials took {:.0} s in sum, the slowest:", times.len(), sum.as_secs_f64());
    let slowest = times.iter().take(TOLD).map(|(time, title)| format!("took {:6.1} s {title}", time.as_secs_f64()));
    std::iter::once(head).chain(slowest).collect()
}

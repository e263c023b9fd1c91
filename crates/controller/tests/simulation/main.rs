//! Whole histories of controller, store and engine in simulated time: faults of every kind, chosen by a seed, and what must hold all the same.
//!
//! A seed that fails is printed; `HYTHE_SIM_SEED=<seed> cargo test -p hythe-controller --test simulation -- --nocapture` lives it again and shows it.
//! `HYTHE_SIM_HISTORIES` says how many are lived, `HYTHE_SIM_FIRST` the first seed. Else `HYTHE_TEST_SEED` chooses a part of [`HISTORIES`], and without it
//! or with `HYTHE_TEST_FULL` all of them are.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod chaos;
mod check;
mod following;
mod history;
mod rng;
mod specs;
mod wanting;
mod world;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Histories lived unless the environment says otherwise: what a debug build lives in about two minutes on two cores.
const HISTORIES: u64 = 400;
/// One in so many where a seed chooses.
const SHARE: u64 = 4;

/// The first history and how many, unless both are said.
fn part() -> (u64, u64) {
    let whole = std::env::var_os("HYTHE_TEST_FULL").is_some();
    match number("HYTHE_TEST_SEED").filter(|_| !whole) {
        Some(seed) => (1 + seed % SHARE * (HISTORIES / SHARE), HISTORIES / SHARE),
        None => (1, HISTORIES),
    }
}

/// What one history amounted to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Lived {
    /// What was done and what the engine told, a line each.
    lines: Vec<String>,
    crashes: u64,
    faults: u64,
    requests: u64,
}

/// A history takes milliseconds; one that takes so long goes round in circles.
const ENDLESS: Duration = Duration::from_secs(600);

#[expect(clippy::print_stderr, clippy::exit, reason = "nothing else ends a thread that goes round in circles")]
fn live(seed: u64) -> Lived {
    let (ended, ending) = mpsc::channel::<()>();
    let watching = std::thread::spawn(move || {
        if ending.recv_timeout(ENDLESS) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("endless: HYTHE_SIM_SEED={seed} cargo test -p hythe-controller --test simulation");
            std::process::exit(101);
        }
    });
    let lived = catch_unwind(AssertUnwindSafe(|| alone(seed)));
    drop(ended);
    watching.join().unwrap();
    lived.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn alone(seed: u64) -> Lived {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(history::live(seed))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("`{name}` must be a number")))
}

#[test]
#[expect(clippy::print_stdout, reason = "the count and the failing seed are what this test has to say")]
fn every_history_ends_well() {
    if let Some(seed) = number("HYTHE_SIM_SEED") {
        for line in live(seed).lines {
            println!("{line}");
        }
        return;
    }
    let (first, wanted) = part();
    let wanted = number("HYTHE_SIM_HISTORIES").unwrap_or(wanted);
    let first = number("HYTHE_SIM_FIRST").unwrap_or(first);
    let next = AtomicU64::new(first);
    let sums = [const { AtomicU64::new(0) }; 3];
    let worker = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + wanted {
                return failed;
            }
            match catch_unwind(AssertUnwindSafe(|| live(seed))) {
                Ok(lived) => {
                    for (sum, value) in sums.iter().zip([lived.requests, lived.faults, lived.crashes]) {
                        sum.fetch_add(value, Ordering::Relaxed);
                    }
                }
                Err(_) => failed.push(seed),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let [requests, faults, crashes] = sums.map(AtomicU64::into_inner);
    // Past the harness, which shows only what failing tests print.
    let sum =
        format!("simulation: {wanted} histories, {requests} requests, {faults} faults, {crashes} crashes of the agent");
    writeln!(std::io::stdout(), "{sum}").unwrap();
    for seed in &failed {
        println!("failed: HYTHE_SIM_SEED={seed} cargo test -p hythe-controller --test simulation -- --nocapture");
    }
    assert!(failed.is_empty(), "{} of {wanted} histories failed, the first with seed {}", failed.len(), failed[0]);
}

#[test]
fn a_history_is_the_same_when_it_is_lived_again() {
    for seed in 1..20 {
        let (once, again) = (live(seed), live(seed));
        assert_eq!(once.lines, again.lines, "seed {seed}");
    }
}

//! Which trials of a slow runtime are tried: a share that changes with the seed, or all of them.
//!
//! A virtual machine takes seconds to boot where it is emulated. `HYTHE_TEST_SEED` chooses the share; without it, or with
//! `HYTHE_TEST_FULL`, everything is tried.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

/// A number that chooses the share.
const SEED: &str = "HYTHE_TEST_SEED";
/// Set: all trials.
const FULL: &str = "HYTHE_TEST_FULL";
/// The runtime whose trials take long.
const SLOW: &str = "vm";
/// One trial in so many is tried.
const SHARE: u64 = 6;
/// Trials of it at once: each keeps a processor busy.
const AT_ONCE: usize = 2;

/// Trials that the runtime does not pass yet, or that do not fit it, and why.
const GAPS: [(&str, &str); 4] = [
    ("security::namespaces_are_its_own", "the first namespaces of every kernel have the same numbers"),
    ("process_isolation::exec_with_missing_user_is_invalid", "an exec of an unknown user ends with 126 in a guest"),
    ("process_isolation::exec_over_its_time_is_killed_with_its_group", OVERDUE),
    ("process_isolation::exec_over_its_time_is_killed_without_its_session", OVERDUE),
];
const OVERDUE: &str = "what an exec over its time has started lives on in a guest";

/// Turns of trials of the slow runtime.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE));

/// Whether all trials of a runtime are tried: only then has it a column in the matrix, which would differ from day to day.
pub(crate) fn is_whole(runtime: &str) -> bool {
    runtime != SLOW || std::env::var_os(FULL).is_some()
}

/// Why a trial is left out of this run; `None`: it is tried.
pub(crate) fn left_out(runtime: &str, title: &str) -> Option<String> {
    if runtime != SLOW {
        return None;
    }
    if let Some((_, reason)) = GAPS.iter().find(|(gap, _)| *gap == title) {
        return Some((*reason).to_owned());
    }
    if is_whole(runtime) {
        return None;
    }
    let seed: u64 = std::env::var(SEED).ok()?.parse().ok()?;
    let is_tried = (number(title).wrapping_add(seed)).is_multiple_of(SHARE);
    (!is_tried).then(|| {
        format!("`{SLOW}` is slow: one trial in {SHARE} is tried, chosen by {SEED}={seed}; {FULL}=1 tries all")
    })
}

/// Runs a trial, of the slow runtime no more than some at once.
pub(crate) async fn in_turn<T>(runtime: &str, trial: impl Future<Output = T>) -> T {
    let _turn = match runtime {
        // The semaphore is never closed.
        SLOW => TURNS.acquire().await.ok(),
        _ => None,
    };
    trial.await
}

/// The same for the same title, and different enough for others (FNV-1a).
fn number(title: &str) -> u64 {
    title.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_one_after_the_other_try_everything_once() {
        let titles = ["lifecycle::a", "exec::b", "logs::c", "network::d"];
        for title in titles {
            let tried = (0..SHARE).filter(|seed| number(title).wrapping_add(*seed).is_multiple_of(SHARE)).count();
            assert_eq!(tried, 1, "{title}");
        }
    }
}

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

/// Turns of trials of the slow runtime.
static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE));

/// Why a trial is left out of this run; `None`: it is tried.
pub(crate) fn left_out(runtime: &str, title: &str) -> Option<String> {
    if runtime != SLOW || std::env::var_os(FULL).is_some() {
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

//! The corpus of every fuzzer, as it is and with random damage: found once, it stays mended.

#![expect(clippy::print_stdout, reason = "a test says what it did last")]

use std::path::{Path, PathBuf};

use hythe_fuzz::TARGETS;

/// Damaged copies of each seed; more is for the fuzzers, or for `HYTHE_REPLAY_ROUNDS`.
const ROUNDS: usize = 30;

fn rounds() -> usize {
    std::env::var("HYTHE_REPLAY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).unwrap_or(0)
    }
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&home).unwrap_or_else(|error| panic!("`{}`: {error}", home.display()));
    let mut paths: Vec<_> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().unwrap_or_default();
    paths.sort();
    paths.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?))).collect()
}

fn damaged(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.roll(8),
            1 if !bytes.is_empty() => bytes[at] = [0, b'"', b'/', b'=', b'$', 0xff, b'9', b'\n'][dice.roll(8)],
            2 => bytes.truncate(at),
            3 => {
                let end = (at + dice.roll(64)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            _ => {
                let end = (at + dice.roll(600)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
        }
    }
    bytes
}

#[test]
fn corpus_of_every_target_is_answered_without_a_panic() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "`{name}` has no corpus");
        for (at, (path, seed)) in seeds.iter().enumerate() {
            // Said by the test's output when what follows panics.
            println!("{name}: {}", path.display());
            target(seed);
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ at as u64);
            for _ in 0..rounds() {
                target(&damaged(seed, &mut dice));
            }
        }
    }
}

//! The agent is killed at every step of every kind of work, started again, and must bring the work to the same end.
//!
//! Each scenario runs once under trace: what it passes from its command to its rest is learnt from the program, not listed here. Then it runs once
//! for each place, with the agent killed there. A step that is added to the controller is covered when a scenario passes it, and when none does,
//! the last scenario fails. The witness is the engine's own program.

mod coverage;
mod look;
mod play;
mod scenarios;

use self::play::play;
use crate::trial::Trial;

pub(super) fn trials() -> Vec<Trial> {
    scenarios::trials()
}

/// Places that no scenario passes, each with the reason.
const UNREACHED: &[(&str, &str)] = &[];

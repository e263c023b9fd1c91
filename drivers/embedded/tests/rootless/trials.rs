//! What every container is good for, and what becomes of it when its shim dies.

use std::time::Duration;

use hythe_runtime::{Runtime, State, Stop};

use crate::bed::Bed;

pub(crate) const TRIALS: &[crate::Named] = &[("it_runs_and_is_gone", it_runs_and_is_gone)];

fn it_runs_and_is_gone() {
    let bed = Bed::new();
    assert!(bed.embedded.info().rootless);
    let id = bed.run(&bed.plan(1, "echo hello; echo trouble >&2; exit 7"));
    let seen = bed.until_exited(&id);
    assert_eq!(seen.exit.unwrap().code, 7);
    assert_eq!(bed.lines(&id), ["hello", "trouble"]);
    bed.end();
}

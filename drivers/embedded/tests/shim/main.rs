//! What becomes of containers when shims and agents die, on a real kernel: this program is its own shim, so it has its own `main`.
//!
//! Needs root and, for the image, a static busybox (`HYTHE_TEST_BUSYBOX`, else `/bin/busybox`); without them everything is skipped, and said so.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a trial fails by panicking")]

mod callers;
mod deaths;
mod filesystem;
mod harness;
mod image;
mod isolation;
mod many;
mod plugins;
mod snapshots;
mod traced;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::harness::Harness;

fn main() -> ExitCode {
    if let Some(code) = hythe_driver_embedded::shim(std::env::args_os().skip(1)) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    if let Some(code) = callers::caller() {
        return code;
    }
    if let Some(code) = filesystem::unified() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // They look at the whole machine.
    arguments.test_threads = Some(1);
    let trials: Vec<Trial> = [
        deaths::trials(),
        callers::trials(),
        many::trials(),
        plugins::trials(),
        snapshots::trials(),
        isolation::trials(),
        filesystem::trials(),
    ]
    .concat()
    .into_iter()
    .map(trial)
    .collect();
    if let Some(reason) = Harness::missing() {
        println!("skipped {} trials: {reason}", trials.len());
        return ExitCode::SUCCESS;
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A trial by name.
type Named = (&'static str, fn());

fn trial((name, act): Named) -> Trial {
    Trial::test(name, move || {
        std::panic::catch_unwind(act).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Failed::from(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
        })
    })
}

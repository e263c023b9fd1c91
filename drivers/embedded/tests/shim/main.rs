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

use std::process::{Command, ExitCode};

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
    // Each is a process of its own: it waits for its children, whichever they are, and looks at its own memory.
    arguments.test_threads.get_or_insert(THREADS);
    let all = [
        deaths::trials(),
        callers::trials(),
        many::trials(),
        plugins::trials(),
        snapshots::trials(),
        isolation::trials(),
        filesystem::trials(),
    ]
    .concat();
    if let Some(code) = alone(&all) {
        return code;
    }
    let trials: Vec<Trial> = all.into_iter().map(trial).collect();
    if let Some(reason) = Harness::missing() {
        println!("skipped {} trials: {reason}", trials.len());
        return ExitCode::SUCCESS;
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Trials at once, unless `--test-threads` says otherwise: they wait for the file system and for each other's deaths more than they compute.
const THREADS: usize = 3;

/// A trial by name.
type Named = (&'static str, fn());

/// The variable that says which trial this process is.
const ALONE: &str = "HYTHE_TRIAL_ALONE";

/// The trial that this process is, where it is one.
fn alone(all: &[Named]) -> Option<ExitCode> {
    let wanted = std::env::var(ALONE).ok()?;
    let (_, act) = all.iter().find(|(name, _)| *name == wanted)?;
    act();
    Some(ExitCode::SUCCESS)
}

fn trial((name, _): Named) -> Trial {
    Trial::test(name, move || {
        let output = Command::new("/proc/self/exe").env(ALONE, name).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() {
            // What it counted.
            out.lines().for_each(|line| println!("{line}"));
            return Ok(());
        }
        Err(Failed::from(format!("it ended with {}\n{out}\n{err}", output.status)))
    })
}

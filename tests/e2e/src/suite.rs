//! The program: hands every trial on every runtime to the test runner and tells what was skipped.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use hythe_host_leaks::{retry, slow};
use libtest_mimic::{Arguments, Completion, Failed};

use crate::environment::Environment;
use crate::subject::Subject;
use crate::trial::{Trial, caught, keep_panics};
use crate::trials;

/// Trials at once for each processor, unless `--test-threads` says otherwise: they wait for engines more than they compute.
const THREADS: usize = 2;
/// Areas whose trials take longest: they begin first, so that none of them is alone in the end.
const LONGEST: [&str; 5] = ["crash-points", "faults-own-engine", "drift", "demo", "crash"];

/// A runtime and what makes it ready for one trial, or says why it is not there.
type Named = (&'static str, fn(&Environment) -> Result<Subject, String>);
type Skips = Arc<Mutex<BTreeMap<String, u32>>>;

/// Runs the suite with the arguments of this process.
pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(THREADS * processors.min(4));
    let environment = Arc::new(Environment::load());
    let skips = Skips::default();
    let tests = tests(&environment, &skips);
    keep_panics();
    let conclusion = libtest_mimic::run(&arguments, tests);
    for (reason, count) in skips.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("skipped {count} x {reason}");
    }
    retry::lines().iter().for_each(|line| println!("{line}"));
    slow::lines().iter().for_each(|line| println!("{line}"));
    conclusion.exit_code()
}

const RUNTIMES: [Named; 5] = [
    ("memory", Subject::memory),
    ("podman", Subject::podman),
    ("docker", Subject::docker),
    ("containerd", Subject::containerd),
    ("embedded", Subject::embedded),
];

/// Each trial on every runtime before the next trial, so that those that run at a time ask different engines.
fn tests(environment: &Arc<Environment>, skips: &Skips) -> Vec<libtest_mimic::Trial> {
    let mut trials = trials::all();
    trials.sort_by_key(|trial| LONGEST.iter().position(|area| *area == trial.area).unwrap_or(LONGEST.len()));
    let on_each = |trial: Trial| {
        let concerned = RUNTIMES.into_iter().filter(move |runtime| trial.concerns(runtime.0));
        concerned.map(move |runtime| test_of(trial, runtime, environment, skips))
    };
    trials.into_iter().flat_map(on_each).collect()
}

fn test_of(
    trial: Trial,
    (runtime, subject): Named,
    environment: &Arc<Environment>,
    skips: &Skips,
) -> libtest_mimic::Trial {
    let (environment, skips) = (Arc::clone(environment), Arc::clone(skips));
    let title = format!("{runtime}::{}::{}", trial.area, trial.name);
    let name = title.clone();
    libtest_mimic::Trial::ignorable_test(title, move || {
        let runnable = match trial.skipped(runtime, &environment) {
            Some(reason) => Err(reason),
            None => caught(|| subject(&environment))?,
        };
        match runnable {
            Ok(subject) => {
                let run = || retry::once_more(&name, || trial.run(&environment, &subject));
                slow::timed(&name, run).map(|()| Completion::Completed).map_err(Failed::from)
            }
            Err(reason) => {
                *skips.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.clone()).or_default() += 1;
                Ok(Completion::ignored_with(reason))
            }
        }
    })
}

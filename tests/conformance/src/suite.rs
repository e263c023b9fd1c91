//! The program: connects the runtimes, hands every trial to the test runner, tells what was skipped, writes the matrix.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use hythe_host_leaks::{retry, slow};
use libtest_mimic::{Arguments, Completion, Failed};
use tokio::runtime::Runtime as Tokio;

use crate::environment::Environment;
use crate::failure::{Outcome, keep_panics};
use crate::isolation;
use crate::matrix::{Cell, Matrix};
use crate::rootless;
use crate::share;
use crate::subject::{self, Connected, Subject};
use crate::trial::Trial;
use crate::trials;

/// Trials at once, unless `--test-threads` says otherwise. They wait for engines more than they compute; with more, two processors are the limit.
const THREADS: usize = 3;

/// Runs the suite with the arguments of this process.
pub fn main() -> ExitCode {
    // Runtimes without an engine start this program as their supervisors.
    let shim = || hythe_driver_vm::shim(std::env::args_os().skip(1));
    if let Some(code) = shim().or_else(|| hythe_driver_embedded::shim(std::env::args_os().skip(1))) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    if let Some(code) = crate::echo::answer_datagrams(std::env::args()) {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match run(&arguments) {
        Ok(conclusion) => conclusion,
        Err(failure) => {
            println!("the suite cannot run: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<ExitCode> {
    let tokio = Arc::new(Tokio::new()?);
    let environment = Environment::load()?;
    let connected = tokio.block_on(subject::all(&environment))?;
    let matrix = Arc::new(Matrix::default());
    let trials = trials::all();
    let mut names: Vec<&'static str> = connected.iter().map(|(name, _)| *name).collect();
    let versions: BTreeMap<&'static str, String> = connected.iter().map(versioned).collect();
    let tests = connected.into_iter().flat_map(|subject| tests_of(subject, &trials, &tokio, &matrix)).collect();
    keep_panics();
    let conclusion = libtest_mimic::run(arguments, tests);
    retry::lines().iter().for_each(|line| println!("{line}"));
    trials::isolation::clean();
    let rootless = rootless::judge(arguments, &matrix, &mut names)?;
    if let Some(path) = rootless::results() {
        std::fs::write(&path, serde_json::to_vec(&matrix.cells()).map_err(std::io::Error::other)?)?;
        let facts = serde_json::to_vec(&isolation::collected()).map_err(std::io::Error::other)?;
        std::fs::write(rootless::facts(&path), facts)?;
        return Ok(conclusion.exit_code());
    }
    for (reason, count) in matrix.reasons() {
        println!("skipped {count} x {reason}");
    }
    slow::lines().iter().for_each(|line| println!("{line}"));
    write_matrix(&matrix, &trials, &names, &versions)?;
    let isolated = judge_isolation()?;
    Ok(if rootless && isolated { conclusion.exit_code() } else { ExitCode::FAILURE })
}

/// A runtime's name and the version of its engine.
fn versioned((name, subject): &Connected) -> (&'static str, String) {
    let version = subject.as_ref().map_or_else(|_| String::new(), |subject| subject.runtime.info().version.clone());
    (*name, version)
}

/// Whether the embedded runtime is at least as tight as the others of this run; the table goes where `HYTHE_ISOLATION` says.
fn judge_isolation() -> Outcome<bool> {
    let looser = isolation::looser_rows();
    for row in &looser {
        println!("isolation: {row}");
    }
    if let (Some(path), Some(page)) = (std::env::var_os("HYTHE_ISOLATION"), isolation::markdown()) {
        std::fs::write(path, page)?;
    }
    Ok(looser.is_empty())
}

fn tests_of(
    (name, subject): Connected,
    trials: &[Trial],
    tokio: &Arc<Tokio>,
    matrix: &Arc<Matrix>,
) -> Vec<libtest_mimic::Trial> {
    match subject {
        Err(failure) => {
            let fail = move || Err(Failed::from(failure.to_string()));
            vec![libtest_mimic::Trial::test(format!("{name}::connect"), fail)]
        }
        Ok(subject) => {
            let subject = Arc::new(subject);
            trials.iter().map(|trial| test_of(*trial, &subject, tokio, matrix)).collect()
        }
    }
}

fn test_of(trial: Trial, subject: &Arc<Subject>, tokio: &Arc<Tokio>, matrix: &Arc<Matrix>) -> libtest_mimic::Trial {
    let (subject, tokio, matrix) = (Arc::clone(subject), Arc::clone(tokio), Arc::clone(matrix));
    let title = format!("{}::{}", subject.name, trial.title());
    let name = title.clone();
    libtest_mimic::Trial::ignorable_test(title, move || {
        let note = |cell| matrix.note(&trial.title(), subject.name, cell);
        if let Some(reason) = trial.skipped(&subject) {
            note(Cell::Skip(reason.clone()));
            return Ok(Completion::ignored_with(reason));
        }
        if let Some(reason) = share::left_out(subject.name, &trial.title()) {
            note(Cell::Skip(reason.clone()));
            return Ok(Completion::ignored_with(reason));
        }
        let judge = || tokio.block_on(share::in_turn(subject.name, trial.run(&subject)));
        let run = || retry::once_more(&name, judge);
        match slow::timed(&name, run) {
            Ok(()) => {
                note(Cell::Pass);
                Ok(Completion::Completed)
            }
            Err(failure) => {
                note(Cell::Fail);
                Err(Failed::from(failure.to_string()))
            }
        }
    })
}

/// Where `HYTHE_MATRIX` says.
fn write_matrix(
    matrix: &Matrix,
    trials: &[Trial],
    names: &[&'static str],
    versions: &BTreeMap<&'static str, String>,
) -> Outcome {
    let Some(path) = std::env::var_os("HYTHE_MATRIX") else { return Ok(()) };
    let titles: Vec<String> = trials.iter().map(Trial::title).collect();
    let day = hythe_runtime::Clock::system().now().strftime("%Y-%m-%d").to_string();
    // Those that other users ran are this program too.
    let version = |name: &str| versions.get(name).or_else(|| versions.get("embedded")).cloned().unwrap_or_default();
    let engines: Vec<_> =
        names.iter().filter(|name| share::is_whole(name)).map(|name| (*name, version(name))).collect();
    Ok(std::fs::write(path, matrix.markdown(&titles, &engines, &day))?)
}

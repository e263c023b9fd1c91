//! The embedded runtime of unprivileged users is judged by this program once more, as such a user; what comes of it goes into the same table.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use hythe_host_leaks::unprivileged::{USER, give_ids, newuidmap};
use libtest_mimic::Arguments;

use crate::failure::Outcome;
use crate::isolation;
use crate::matrix::{Cell, Matrix};

/// Of a user without other ids, and of one with those of `/etc/subuid`.
const NAMES: [&str; 2] = ["embedded-rootless", "embedded-subuid"];
/// Where such a process writes what came of its trials.
const RESULTS: &str = "HYTHE_CONFORMANCE_RESULTS";
/// Where it writes what it found out about isolation.
pub(crate) fn facts(results: &Path) -> PathBuf {
    results.with_extension("isolation.json")
}

/// Which of the names it is.
const NAME: &str = "HYTHE_CONFORMANCE_ROOTLESS";

/// Where this process writes results; `None`: it is the first, and judges everything else.
pub(crate) fn results() -> Option<PathBuf> {
    std::env::var_os(RESULTS).map(PathBuf::from)
}

/// What this process judges, unless it is the first.
pub(crate) fn name() -> &'static str {
    let has_ids = std::env::var_os(NAME).is_some_and(|name| name == NAMES[1]);
    NAMES[usize::from(has_ids)]
}

/// Whether files can belong to others than the user.
pub(crate) fn has_ids() -> bool {
    name() == NAMES[1]
}

/// Whether another subject is meant, so that a filter is not for this one.
fn is_for_others(arguments: &Arguments, names: &[&str], name: &str) -> bool {
    let named = arguments.filter.as_deref().and_then(|filter| filter.split_once("::")).map(|(name, _)| name);
    named.is_some_and(|named| named != name && (names.contains(&named) || NAMES.contains(&named)))
}

/// Judges them, where this process could; `false`: something failed. It may add to the names.
pub(crate) fn judge(arguments: &Arguments, matrix: &Matrix, names: &mut Vec<&'static str>) -> Outcome<bool> {
    let is_first = results().is_none() && rustix::process::geteuid().is_root() && names.contains(&"embedded");
    if !is_first || arguments.list {
        return Ok(true);
    }
    let engines = names.clone();
    let mut well = true;
    for name in NAMES {
        if is_for_others(arguments, &engines, name) {
            continue;
        }
        if name == NAMES[1] && newuidmap().is_none() {
            println!("`{name}` is not judged: there is no `newuidmap`");
            continue;
        }
        names.push(name);
        well &= judge_one(name, matrix)?;
    }
    Ok(well)
}

fn judge_one(name: &'static str, matrix: &Matrix) -> Outcome<bool> {
    let directory = tempfile::Builder::new().prefix("hythe-user-").tempdir_in("/var/tmp")?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    // The checkout may be where others cannot look.
    let (program, home) = (directory.path().join("conformance"), directory.path().join("home"));
    fs::copy(std::env::current_exe()?, &program)?;
    fs::create_dir(&home)?;
    chown(&home, Some(USER), Some(USER))?;
    let results = home.join("results.json");
    let status = std::thread::scope(|scope| {
        let run = scope.spawn(|| run(name, &program, &home, &results));
        run.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts it died")))
    })?;
    let cells: Vec<(String, Cell)> = serde_json::from_slice(&fs::read(&results)?).map_err(std::io::Error::other)?;
    for (trial, cell) in cells {
        matrix.note(&trial, name, cell);
    }
    isolation::merge(serde_json::from_slice(&fs::read(facts(&results))?).map_err(std::io::Error::other)?);
    Ok(status.success())
}

/// In a thread of its own, since that may see another `/etc` afterwards.
fn run(name: &str, program: &Path, home: &Path, results: &Path) -> std::io::Result<ExitStatus> {
    if name == NAMES[1] {
        give_ids()?;
    }
    Command::new(program)
        .args(std::env::args_os().skip(1))
        .current_dir(home)
        .env("HOME", home)
        .env(RESULTS, results)
        .env(NAME, name)
        .uid(USER)
        .gid(USER)
        .status()
}

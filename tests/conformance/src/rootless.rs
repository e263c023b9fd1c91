//! The embedded runtime of an ordinary user is judged by this program once more, as such a user; what comes of it goes into the same table.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Arguments;

use crate::failure::Outcome;
use crate::matrix::{Cell, Matrix};

pub(crate) const NAME: &str = "embedded-rootless";
/// Nobody of this machine.
const USER: u32 = 64_321;
/// Where such a process writes what came of its trials.
const RESULTS: &str = "HYTHE_CONFORMANCE_RESULTS";

/// Where this process writes results; `None`: it is the first, and judges everything else.
pub(crate) fn results() -> Option<PathBuf> {
    std::env::var_os(RESULTS).map(PathBuf::from)
}

/// Whether there is another subject of that name, so that a filter is not for this one.
fn is_for_others(arguments: &Arguments, names: &[&str]) -> bool {
    let named = arguments.filter.as_deref().and_then(|filter| filter.split_once("::")).map(|(name, _)| name);
    named.is_some_and(|named| names.contains(&named))
}

/// Judges it, where this process could; `false`: something failed. It may add itself to the names.
pub(crate) fn judge(arguments: &Arguments, matrix: &Matrix, names: &mut Vec<&'static str>) -> Outcome<bool> {
    let is_first = results().is_none() && rustix::process::geteuid().is_root() && names.contains(&"embedded");
    if !is_first || arguments.list || is_for_others(arguments, names) {
        return Ok(true);
    }
    names.push(NAME);
    let directory = tempfile::Builder::new().prefix("hythe-user-").tempdir_in("/var/tmp")?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    // The checkout may be where others cannot look.
    let (program, home) = (directory.path().join("conformance"), directory.path().join("home"));
    fs::copy(std::env::current_exe()?, &program)?;
    fs::create_dir(&home)?;
    chown(&home, Some(USER), Some(USER))?;
    let results = home.join("results.json");
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .current_dir(&home)
        .env("HOME", &home)
        .env(RESULTS, &results)
        .uid(USER)
        .gid(USER)
        .status()?;
    let cells: Vec<(String, Cell)> = serde_json::from_slice(&fs::read(&results)?).map_err(std::io::Error::other)?;
    for (trial, cell) in cells {
        matrix.note(&trial, NAME, cell);
    }
    Ok(status.success())
}

//! Running a program to its end, and finding where it is.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::failure::{Context, Failure, Result};

/// Directories beside `PATH` where distributions keep engines and their helpers.
const EXTRA_DIRECTORIES: &[&str] =
    &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/podman", "/usr/libexec/podman", "/usr/lib/cni"];

/// The program's full path, or `None` when it is not installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(EXTRA_DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command for `program`, found like [`find`] does, with nothing on its standard input.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
    command.stdin(Stdio::null());
    command
}

/// Runs to the end and returns standard output; a failing exit becomes an error with the program's own words.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context(|| starting(command))?;
    check(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As [`output`], with `input` on standard input and raw bytes out.
pub(crate) fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| starting(command))?;
    let output = std::thread::scope(|scope| {
        let stdin = child.stdin.take();
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
        child.wait_with_output()
    })
    .context(|| starting(command))?;
    check(command, &output)?;
    Ok(output.stdout)
}

/// Runs to the end with output going to the terminal; true when it succeeded.
pub(crate) fn passes(command: &mut Command) -> Result<bool> {
    let status = command.status().context(|| starting(command))?;
    Ok(status.success())
}

/// Runs to the end with output discarded; false also when it could not be started.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn starting(command: &Command) -> String {
    format!("running `{}`", name(command))
}

fn check(command: &Command, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{}` ended with {}: {}",
        name(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program).chain(command.get_args()).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

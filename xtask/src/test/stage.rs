//! The stages of a run: which packages, through which cargo command, with whose output read along.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::interrupt::Interrupt;
use super::tally::Tally;
use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::run;

/// The packages whose tests are stages of their own.
const CONFORMANCE: &str = "hythe-conformance";
const E2E: &str = "hythe-e2e";

/// Tests that run together.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// Cargo's selection of packages.
    packages: &'static [&'static str],
    /// Whether the tests run the `hythe` program.
    needs_program: bool,
    /// Whether the tests write a matrix where `HYTHE_MATRIX` says.
    pub(crate) writes_matrix: bool,
}

/// All stages, in the order they run.
pub(crate) const STAGES: [Stage; 3] = [
    Stage {
        name: "unit",
        packages: &["--workspace", "--exclude", CONFORMANCE, "--exclude", E2E],
        needs_program: false,
        writes_matrix: false,
    },
    Stage { name: "conformance", packages: &["--package", CONFORMANCE], needs_program: false, writes_matrix: true },
    Stage { name: "e2e", packages: &["--package", E2E], needs_program: true, writes_matrix: false },
];

impl Stage {
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        STAGES
            .iter()
            .find(|stage| stage.name == name)
            .ok_or_else(|| Failure::usage(format!("`{name}` is not a stage; there are unit, conformance, e2e")))
    }

    /// Runs the stage; true when cargo was content with it.
    pub(crate) fn run(
        &self,
        filter: Option<&str>,
        variables: &[(&str, PathBuf)],
        interrupt: &Interrupt,
        tally: &mut Tally,
    ) -> Result<bool> {
        let mut command = cargo();
        command.args(["test", "--no-fail-fast"]).args(self.packages);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        if self.needs_program {
            command.env("HYTHE_BIN", program()?);
        }
        command.arg("--").args(filter);
        follow(&mut command, interrupt, |line| tally.read(line))
    }
}

/// Builds the `hythe` program and says where it is.
pub(crate) fn program() -> Result<PathBuf> {
    if !run::passes(cargo().args(["build", "--quiet", "--package", "hythe-cli"]))? {
        return Err(Failure::new("`hythe` does not build"));
    }
    let own = std::env::current_exe().context(|| "finding the build directory".into())?;
    Ok(own.with_file_name("hythe"))
}

fn cargo() -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = run::command(&program);
    command.current_dir(checkout());
    command
}

/// Runs a command in a process group of its own, showing and reading its output line by line.
fn follow(command: &mut Command, interrupt: &Interrupt, mut read: impl FnMut(&str)) -> Result<bool> {
    let running = || "running cargo".to_owned();
    let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().context(running)?;
    interrupt.running(i32::try_from(child.id()).ok().and_then(Pid::from_raw));
    let stdout = child.stdout.take().ok_or_else(|| Failure::new("no output to read"))?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context(running)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        read(&line);
    }
    let status = child.wait().context(running)?;
    interrupt.running(None);
    Ok(status.success())
}

//! The stages of a run: which packages, through which cargo command, with whose output read along.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::interrupt::Interrupt;
use super::root::{self, Programs};
use super::summary::Summary;
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

    /// Whether its programs were built before.
    pub(super) fn is_built_in(&self, programs: &Programs) -> bool {
        self.packages.iter().any(|package| programs.tests.contains_key(*package))
    }

    /// Runs the stage, by cargo or by programs that were built before; true when all succeeded.
    pub(super) fn run(
        &self,
        filter: Option<&str>,
        programs: Option<&Programs>,
        variables: &[(&str, PathBuf)],
        interrupt: &Interrupt,
        summary: &mut Summary,
    ) -> Result<bool> {
        let mut commands = match programs {
            Some(programs) => {
                let tests = self.packages.iter().filter_map(|package| programs.tests.get(*package)).flatten();
                tests.map(root::test).collect()
            }
            None => {
                let mut command = cargo();
                command.args(["test", "--no-fail-fast"]).args(self.packages).arg("--");
                vec![command]
            }
        };
        let hythe = match programs {
            _ if !self.needs_program => None,
            Some(programs) => Some(programs.hythe.clone()),
            None => Some(program()?),
        };
        let mut well = true;
        for command in &mut commands {
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            command.envs(hythe.iter().map(|hythe| ("HYTHE_BIN", hythe))).args(filter);
            well &= follow(command, interrupt, |line| summary.read(line))?;
        }
        Ok(well)
    }
}

/// Builds the `hythe` program, without symbols where `strip` is there, which is half the size to pack and to load, and says where it is. A copy: the
/// trials that run are not disturbed by whoever builds meanwhile.
pub(crate) fn program() -> Result<PathBuf> {
    if !run::passes(cargo().args(["build", "--quiet", "--package", "hythe-cli"]))? {
        return Err(Failure::new("`hythe` does not build"));
    }
    let own = std::env::current_exe().context(|| "finding the build directory".into())?;
    let (built, directory) = (own.with_file_name("hythe"), own.with_file_name("under-test"));
    let program = directory.join("hythe");
    std::fs::create_dir_all(&directory).context(|| format!("making `{}`", directory.display()))?;
    let stripped = run::command("strip").arg("-o").arg(&program).arg(&built).status();
    if !stripped.is_ok_and(|status| status.success()) {
        std::fs::copy(&built, &program).context(|| format!("copying `{}`", built.display()))?;
    }
    Ok(program)
}

/// Builds what runs against engines, for a place that has no compiler.
pub(super) fn built() -> Result<Programs> {
    let mut tests = BTreeMap::new();
    for package in [CONFORMANCE, E2E] {
        let mut command = cargo();
        command.args(["test", "--no-run", "--quiet", "--message-format=json", "--package", package]);
        let messages = run::output(&mut command)?;
        tests.insert(package.to_owned(), messages.lines().filter_map(test_program).collect());
    }
    Ok(Programs { hythe: program()?, tests })
}

/// A test program and the folder of its package, from a message of cargo.
fn test_program(message: &str) -> Option<(PathBuf, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    message["target"]["kind"].as_array()?.iter().find(|kind| **kind == "test")?;
    Some((message["executable"].as_str()?.into(), manifest.parent()?.to_owned()))
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

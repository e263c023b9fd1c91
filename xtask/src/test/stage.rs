//! The stages of a run: whose test programs, one after the other or side by side, with their output read along.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::build;
use super::interrupt::Interrupt;
use super::pool::{self, Job};
use super::root::{self, Programs};
use super::scratch::Scratch;
use super::summary::Summary;
use crate::failure::{Context, Failure, Result};

/// The packages whose tests are stages of their own.
const CONFORMANCE: &str = "hythe-conformance";
const E2E: &str = "hythe-e2e";
/// Packages whose tests take longest: they start first, so that none of them is alone in the end.
const LONGEST: [&str; 4] = ["hythe-driver-embedded", "hythe-controller", "hythe-oci", "hythe-network"];
/// Packages whose tests wait for the disk more than they compute, and do not mind where their directories are.
const IN_MEMORY: [&str; 2] = ["hythe-oci", "hythe-agent"];

/// Tests that run together.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// The package whose tests these are; none: all others.
    package: Option<&'static str>,
    /// Whether the tests write a matrix where `HYTHE_MATRIX` says.
    pub(crate) writes_matrix: bool,
}

/// All stages, in the order they run.
pub(crate) const STAGES: [Stage; 3] = [
    Stage { name: "unit", package: None, writes_matrix: false },
    Stage { name: "conformance", package: Some(CONFORMANCE), writes_matrix: true },
    Stage { name: "e2e", package: Some(E2E), writes_matrix: false },
];

/// What a stage runs with.
pub(super) struct Setting<'a> {
    pub(super) programs: &'a Programs,
    pub(super) filter: Option<&'a str>,
    pub(super) variables: &'a [(&'static str, PathBuf)],
    pub(super) interrupt: &'a Interrupt,
}

impl Stage {
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        STAGES
            .iter()
            .find(|stage| stage.name == name)
            .ok_or_else(|| Failure::usage(format!("`{name}` is not a stage; there are unit, conformance, e2e")))
    }

    /// Whether its programs were built before.
    pub(super) fn is_built_in(&self, programs: &Programs) -> bool {
        self.package.is_some_and(|package| programs.tests.contains_key(package))
    }

    /// Runs the stage; true when all succeeded.
    pub(super) fn run(&self, setting: &Setting<'_>, summary: &mut Summary) -> Result<bool> {
        let Some(package) = self.package else { return setting.side_by_side(summary) };
        let mut is_good = true;
        for test in setting.programs.tests.get(package).into_iter().flatten() {
            is_good &= follow(&mut setting.command(test), setting.interrupt, |line| summary.read(line))?;
        }
        Ok(is_good)
    }
}

impl Setting<'_> {
    fn command(&self, test: &(PathBuf, PathBuf)) -> Command {
        self.set(root::test(test))
    }

    fn set(&self, mut command: Command) -> Command {
        command.env("HYTHE_BIN", &self.programs.hythe);
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).args(self.filter);
        command
    }

    /// The tests of all packages without a stage of their own, and the examples in documentation.
    fn side_by_side(&self, summary: &mut Summary) -> Result<bool> {
        let is_longest = |package: &str| LONGEST.iter().position(|longest| *longest == package);
        let mut packages: Vec<_> =
            self.programs.tests.iter().filter(|(package, _)| ![CONFORMANCE, E2E].contains(&package.as_str())).collect();
        packages.sort_by_key(|(package, _)| is_longest(package).unwrap_or(LONGEST.len()));
        let program = |package: &String, test: &(PathBuf, PathBuf)| -> Job {
            let name = test.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Without the hash of its features.
            let name = name.rsplit_once('-').map_or(name.as_str(), |(name, _)| name).to_owned();
            (format!("{package}, {name}"), self.command(test))
        };
        let mut jobs: Vec<Job> =
            packages.iter().flat_map(|(package, tests)| tests.iter().map(|test| program(package, test))).collect();
        let mut examples = build::cargo();
        examples.args(["test", "--doc", "--workspace", "--no-fail-fast", "--quiet", "--"]);
        jobs.push(("examples in documentation".to_owned(), self.set(examples)));
        let scratch = Scratch::new()?;
        let waits =
            |name: &str| IN_MEMORY.iter().any(|package| name.split_once(", ").is_some_and(|(of, _)| of == *package));
        for (_, command) in jobs.iter_mut().filter(|(name, _)| waits(name)) {
            command.envs(scratch.variable());
        }
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut is_good = true;
        // One more than processors: some wait for the kernel or for a file system.
        pool::run(jobs, processors + 1, self.interrupt, |ended| {
            println!("-- {}: {:.1} s\n{}", ended.name, ended.took.as_secs_f64(), ended.output.trim_end());
            ended.output.lines().for_each(|line| summary.read(line));
            summary.took(ended.took, &format!("all of {}", ended.name));
            if !ended.is_good {
                is_good = false;
                println!("failed: {}", ended.name);
            }
        })?;
        let left = scratch.left();
        left.iter().for_each(|name| println!("left in the temporary directory: {name}"));
        Ok(is_good && left.is_empty())
    }
}

/// Builds what the stages run: all of it at once where there are several.
pub(super) fn build(stages: &[&Stage]) -> Result<Programs> {
    match stages {
        [Stage { package: Some(package), .. }] => build::programs(&[package]),
        _ => build::programs(&[]),
    }
}

/// Builds what runs against engines, for a place that has no compiler.
pub(super) fn built() -> Result<Programs> {
    build::programs(&[CONFORMANCE, E2E])
}

/// Builds everything that a complete run builds: the suite alone would be compiled with other features.
pub(super) fn conformance() -> Result<Programs> {
    build::programs(&[])
}

/// Runs a command in a process group of its own, showing and reading its output line by line.
pub(super) fn follow(command: &mut Command, interrupt: &Interrupt, mut read: impl FnMut(&str)) -> Result<bool> {
    let running = || "running the tests".to_owned();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn().context(running)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    interrupt.started(group);
    let stdout = child.stdout.take().ok_or_else(|| Failure::new("no output to read"))?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context(running)?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        read(&line);
    }
    let status = child.wait().context(running)?;
    interrupt.ended(group);
    Ok(status.success())
}

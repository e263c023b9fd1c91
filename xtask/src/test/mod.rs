//! `cargo xtask test`: every test of the workspace against real, private engines, and proof that nothing stays behind.

use std::path::PathBuf;

use crate::env;
use crate::failure::{Failure, Result};
use crate::leaks;
use crate::packages::{self, Need};

mod interrupt;
mod matrix;
mod stage;
mod tally;

use self::interrupt::Interrupt;
use self::matrix::Matrix;
pub(crate) use self::stage::program;
use self::stage::{STAGES, Stage};
use self::tally::Tally;

pub(crate) const USAGE: &str = "\
cargo xtask test [--only unit|conformance|e2e] [--keep] [--accept] [filter]
    Brings private engines up, runs the tests, looks for leaks, takes the engines down.
    --only STAGE   run one stage
    --keep         leave the engines up afterwards
    --accept       commit the conformance matrix of this run to docs/reference/conformance.md";

#[derive(Debug, Default)]
struct Options {
    only: Option<&'static Stage>,
    keep: bool,
    accept: bool,
    filter: Option<String>,
}

/// What trials use besides engines; those that need what is missing are skipped and say so.
const NEEDS: &[Need] = &[
    ("faketime", "faketime"),
    ("firewall", "containernetworking-plugins"),
    ("iptables", "iptables"),
    ("slirp4netns", "slirp4netns"),
    ("pasta", "passt"),
    ("newuidmap", "uidmap"),
];

/// Everything one run found out.
#[derive(Debug, Default)]
struct Findings {
    tally: Tally,
    problems: Vec<String>,
    skipped: Vec<(String, String)>,
}

/// Runs `test` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    let interrupt = Interrupt::listen()?;
    let mut findings = Findings::default();
    if let Err(failure) = with_engines(&options, &interrupt, &mut findings) {
        findings.problems.push(failure.to_string());
    }
    if !options.keep {
        take_down(&mut findings);
    }
    findings.print();
    if findings.is_good() {
        return Ok(());
    }
    Err(Failure::already_told())
}

fn with_engines(options: &Options, interrupt: &Interrupt, findings: &mut Findings) -> Result<()> {
    let description = env::up_all()?;
    findings.skipped = env::skipped();
    if let Some(reason) = packages::ensure(NEEDS)? {
        println!("some trials will be skipped: {reason}");
    }
    interrupt.check()?;
    let before = leaks::on_the_machine()?;
    let ran = run_stages(options, interrupt, description, findings);
    for leak in leaks::since(&before, leaks::on_the_machine, leaks::is_the_engines_own)? {
        findings.problems.push(format!("left behind by the tests: {leak}"));
    }
    ran
}

fn run_stages(options: &Options, interrupt: &Interrupt, description: PathBuf, findings: &mut Findings) -> Result<()> {
    let mut variables = vec![("HYTHE_TEST_ENV", description), ("HYTHE_TEST_BUSYBOX", env::busybox()?)];
    let stages: Vec<_> = STAGES.iter().filter(|stage| options.wants(stage)).collect();
    let complete = options.filter.is_none() && findings.skipped.is_empty();
    let matrix = (complete && stages.iter().any(|stage| stage.writes_matrix)).then(Matrix::new);
    if let Some(matrix) = &matrix {
        variables.push(("HYTHE_MATRIX", matrix.path().to_path_buf()));
    }
    for stage in stages {
        println!("== {}", stage.name);
        if !stage.run(options.filter.as_deref(), &variables, interrupt, &mut findings.tally)? {
            findings.problems.push(format!("stage {} failed", stage.name));
        }
        interrupt.check()?;
    }
    match matrix {
        Some(matrix) => matrix.settle(options.accept),
        None if options.accept => {
            Err(Failure::new("no matrix to accept: it needs every engine, the conformance stage and no filter"))
        }
        None => Ok(()),
    }
}

fn take_down(findings: &mut Findings) {
    if let Err(failure) = env::down() {
        findings.problems.push(format!("taking the engines down: {failure}"));
    }
    match leaks::since(&env::Remains::new(), env::remains, |_| false) {
        Ok(leaked) => {
            findings.problems.extend(leaked.into_iter().map(|leak| format!("left behind by the engines: {leak}")))
        }
        Err(failure) => findings.problems.push(failure.to_string()),
    }
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--keep" => options.keep = true,
                "--accept" => options.accept = true,
                "--only" => options.only = Some(Stage::named(words.next().map_or("", String::as_str))?),
                flag if flag.starts_with('-') => {
                    return Err(Failure::usage(format!("no option `{flag}`\n{USAGE}")));
                }
                _ if options.filter.is_some() => {
                    return Err(Failure::usage("more than one filter"));
                }
                filter => options.filter = Some(filter.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, stage: &Stage) -> bool {
        self.only.is_none_or(|only| only.name == stage.name)
    }
}

impl Findings {
    fn is_good(&self) -> bool {
        self.problems.is_empty() && self.tally.failed == 0
    }

    /// The closing summary; its last line is the count.
    fn print(&self) {
        println!();
        for (engine, reason) in &self.skipped {
            println!("skipped engine {engine}: {reason}");
        }
        for (reason, count) in &self.tally.reasons {
            println!("skipped {count}: {reason}");
        }
        for name in &self.tally.failures {
            println!("failed: {name}");
        }
        for problem in &self.problems {
            println!("problem: {problem}");
        }
        let Tally { passed, failed, skipped, .. } = &self.tally;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
}

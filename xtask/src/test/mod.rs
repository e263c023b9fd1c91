//! `cargo xtask test`: every test of the workspace against real, private engines, and proof that nothing stays behind.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::env;
use crate::failure::{Failure, Result};
use crate::leaks;
use crate::packages::{self, Need};

mod build;
mod interrupt;
mod matrix;
mod pool;
mod root;
mod scratch;
mod stage;
mod summary;

pub(crate) use self::build::program;
use self::interrupt::Interrupt;
use self::matrix::Matrix;
use self::root::Programs;
use self::stage::{STAGES, Setting, Stage};
use self::summary::Summary;

pub(crate) const USAGE: &str = "\
cargo xtask test [--only unit|conformance|e2e] [--full] [--in trixie|sid [--or-skip]] [--keep] [--accept] [--no-retry] [filter ...]
    Brings private engines up, runs the tests, looks for leaks, takes the engines down.
    --only STAGE   run one stage
    --full         kill the agent at every step on Podman and Docker too, and live as many simulated histories as before a
                   release; else a share of them, another each day
    --in SUITE     conformance and e2e against the engines of that Debian, in a root and namespaces of their own
    --or-skip      where that Debian cannot be installed, count its trials as skipped instead of failing
    --keep         leave the engines up afterwards
    --no-retry     a trial that fails once fails the run; else it is run again, and told as flaky where it then passes
    --accept       commit the conformance matrix and the isolation table of this run to docs/reference";

#[derive(Debug, Default)]
struct Options {
    only: Option<&'static Stage>,
    full: bool,
    keep: bool,
    accept: bool,
    no_retry: bool,
    or_skip: bool,
    suite: Option<String>,
    filters: Vec<String>,
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

/// Chooses the share that is tried of what has too many cases for every run; the suites say how.
const SEED: &str = "HYTHE_TEST_SEED";
/// Set: all cases.
const FULL: &str = "HYTHE_TEST_FULL";

/// Everything one run found out.
#[derive(Debug, Default)]
struct Findings {
    summary: Summary,
    problems: Vec<String>,
    skipped: Vec<(String, String)>,
    /// How long each stage took, compiling included.
    times: Vec<(&'static str, Duration)>,
}

/// Runs `test` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    let programs = Programs::handed_over();
    if let (Some(suite), None) = (&options.suite, &programs) {
        let root = match root::prepare(root::release(suite)?) {
            Err(failure) if options.or_skip => {
                Findings::without_root(suite, &failure).print();
                return Ok(());
            }
            prepared => prepared?,
        };
        let entered = root::enter(&root, &stage::built()?, words)?;
        return if entered { Ok(()) } else { Err(Failure::already_reported()) };
    }
    let interrupt = Interrupt::listen()?;
    let mut findings = Findings::default();
    if let Err(failure) = with_engines(&options, programs.as_ref(), &interrupt, &mut findings) {
        findings.problems.push(failure.to_string());
    }
    if !options.keep {
        take_down(&mut findings);
    }
    findings.print();
    if findings.is_good() {
        return Ok(());
    }
    Err(Failure::already_reported())
}

/// The `hythe` program and the conformance suite, built.
pub(crate) fn conformance() -> Result<(PathBuf, PathBuf)> {
    let programs = stage::conformance()?;
    let suite = programs
        .tests
        .into_values()
        .flatten()
        .map(|(program, _)| program)
        .find(|program| program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("conformance-")));
    Ok((programs.hythe, suite.ok_or_else(|| Failure::new("there is no conformance suite"))?))
}

/// Runs a command that prints what test programs print, counts it and prints the summary.
///
/// # Errors
/// It failed, counted a failure, or counted nothing.
pub(crate) fn counted(command: &mut Command) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let mut findings = Findings::default();
    if !stage::follow(command, &interrupt, |line| findings.summary.read(line))? {
        findings.problems.push("it did not end well".to_owned());
    }
    if findings.summary.passed == 0 {
        findings.problems.push("nothing was tried".to_owned());
    }
    findings.print();
    if findings.is_good() { Ok(()) } else { Err(Failure::already_reported()) }
}

fn with_engines(
    options: &Options,
    programs: Option<&Programs>,
    interrupt: &Interrupt,
    findings: &mut Findings,
) -> Result<()> {
    let description = env::up_all()?;
    findings.skipped = env::skipped();
    if let Some(reason) = packages::ensure(NEEDS)? {
        println!("some trials will be skipped: {reason}");
    }
    interrupt.check()?;
    let before = leaks::on_the_host()?;
    let ran = run_stages(options, programs, interrupt, description, findings);
    for leak in leaks::since(&before, leaks::on_the_host, leaks::is_the_engines_own)? {
        findings.problems.push(format!("leaked by the tests: {leak}"));
    }
    ran
}

#[expect(clippy::disallowed_methods, reason = "the day chooses which crash points are tried")]
fn run_stages(
    options: &Options,
    programs: Option<&Programs>,
    interrupt: &Interrupt,
    description: PathBuf,
    findings: &mut Findings,
) -> Result<()> {
    let mut variables = vec![("HYTHE_TEST_ENV", description), ("HYTHE_TEST_BUSYBOX", env::busybox()?)];
    if !options.no_retry {
        variables.push(("HYTHE_TEST_RETRY", PathBuf::from("1")));
    }
    let runs = |stage: &&Stage| options.wants(stage) && programs.is_none_or(|programs| stage.is_built_in(programs));
    let stages: Vec<_> = STAGES.iter().filter(runs).collect();
    let complete = options.filters.is_empty() && findings.skipped.is_empty();
    let writes = complete && stages.iter().any(|stage| stage.writes_matrix);
    let pages = if writes { Matrix::all(options.suite.as_deref()) } else { Vec::new() };
    variables.extend(pages.iter().map(Matrix::variable));
    if options.full {
        variables.push((FULL, PathBuf::from("1")));
    } else {
        let days = (jiff::Timestamp::now().as_second() / 86_400).to_string();
        let seed = std::env::var(SEED).unwrap_or(days);
        println!("a share of the crash points on engines and of the simulated histories: {SEED}={seed}");
        variables.push((SEED, PathBuf::from(seed)));
    }
    let built = match programs {
        Some(_) => None,
        None => {
            let began = Instant::now();
            let built = stage::build(&stages)?;
            findings.times.push(("build", began.elapsed()));
            Some(built)
        }
    };
    let Some(programs) = programs.or(built.as_ref()) else { return Ok(()) };
    let filters: Vec<_> = options.filters.iter().map(|filter| Some(filter.as_str())).collect();
    let filters = if filters.is_empty() { vec![None] } else { filters };
    for stage in stages {
        println!("== {}", stage.name);
        let began = Instant::now();
        // The test programs take one filter each time.
        for filter in &filters {
            let setting = Setting { programs, filter: *filter, variables: &variables, interrupt };
            if !stage.run(&setting, &mut findings.summary)? {
                findings.problems.push(format!("stage {} failed", stage.name));
            }
        }
        findings.times.push((stage.name, began.elapsed()));
        interrupt.check()?;
    }
    if pages.is_empty() && options.accept {
        return Err(Failure::new("no matrix to accept: it needs every engine, the conformance stage and no filter"));
    }
    pages.iter().try_for_each(|page| page.settle(options.accept))
}

fn take_down(findings: &mut Findings) {
    if let Err(failure) = env::down() {
        findings.problems.push(format!("taking the engines down: {failure}"));
    }
    match leaks::since(&env::Leftovers::new(), env::leftovers, |_| false) {
        Ok(leaked) => findings.problems.extend(leaked.into_iter().map(|leak| format!("leaked by the engines: {leak}"))),
        Err(failure) => findings.problems.push(failure.to_string()),
    }
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--full" => options.full = true,
                "--keep" => options.keep = true,
                "--accept" => options.accept = true,
                "--no-retry" => options.no_retry = true,
                "--or-skip" => options.or_skip = true,
                "--in" => options.suite = Some(words.next().cloned().unwrap_or_default()),
                "--only" => options.only = Some(Stage::named(words.next().map_or("", String::as_str))?),
                flag if flag.starts_with('-') => {
                    return Err(Failure::usage(format!("no option `{flag}`\n{USAGE}")));
                }
                filter => options.filters.push(filter.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, stage: &Stage) -> bool {
        self.only.is_none_or(|only| only.name == stage.name)
    }
}

impl Findings {
    /// Nothing ran, since the root of a release could not be made.
    fn without_root(suite: &str, failure: &Failure) -> Self {
        let mut findings = Self::default();
        findings.summary.skipped = 1;
        findings.summary.reasons.insert(format!("no root of {suite}: {failure}"), 1);
        findings
    }

    fn is_good(&self) -> bool {
        self.problems.is_empty() && self.summary.failed == 0
    }

    /// The closing summary; its last line is the count.
    fn print(&self) {
        println!();
        for (engine, reason) in &self.skipped {
            println!("skipped engine {engine}: {reason}");
        }
        for (reason, count) in &self.summary.reasons {
            println!("skipped {count}: {reason}");
        }
        for name in &self.summary.flaky {
            println!("flaky, passed at the second go: {name}");
        }
        for name in &self.summary.failures {
            println!("failed: {name}");
        }
        for problem in &self.problems {
            println!("problem: {problem}");
        }
        for (stage, time) in &self.times {
            println!("stage {stage}: {} s", time.as_secs());
        }
        self.summary.slowest().iter().for_each(|line| println!("{line}"));
        let Summary { passed, failed, skipped, .. } = &self.summary;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
}

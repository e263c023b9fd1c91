//! `cargo xtask bench`: the release build of `hythe` beside the engines' own command lines, on the same engines in one run.
//!
//! Contenders take turns round by round, medians are compared, nothing is asserted about time.
//! Not for: tests, or finding out where time goes (`HYTHE_LOG=debug` tells that of an agent).

use std::fs;
use std::path::Path;

use crate::env::{self, checkout};
use crate::failure::{Context, Failure, Result};

mod agent;
mod containerd;
mod deploy;
mod engine;
mod harness;
mod host;
mod memory;
mod ps;
mod pull;
mod report;
mod rounds;
mod scale;
mod start;
mod startup;
mod summary;
mod ten;

use self::harness::Harness;
use self::report::{Report, Table};

pub(crate) const USAGE: &str = "\
cargo xtask bench [startup] [deploy] [ten] [start] [pull] [ps] [memory] [scale] [--engine podman|docker] [--runs N] [--json] [--keep] [--write FILE]
    Measures a release build against the engines' own command lines, on private engines. Without names: everything.
    --engine NAME   one engine only
    --runs N        timed rounds of each comparison (default 15)
    --json          print the numbers as JSON
    --keep          leave the engines up afterwards
    --write FILE    also write the tables to FILE as Markdown, such as docs/reference/benchmarks.md, and the plot of `scale` beside it
    HYTHE_BIN names another build to measure.";

const RUNS: usize = 15;
/// Below this a quartile means nothing.
const FEWEST_RUNS: usize = 5;

type Measure = fn(&Harness) -> Result<Vec<Table>>;

const MEASURES: [(&str, Measure); 8] = [
    ("startup", startup::measure),
    ("deploy", deploy::measure),
    ("ten", ten::measure),
    ("start", start::measure),
    ("pull", pull::measure),
    ("ps", ps::measure),
    ("memory", memory::measure),
    ("scale", scale::measure),
];

/// What was asked for.
#[derive(Debug)]
struct Options {
    measures: Vec<&'static str>,
    engine: Option<String>,
    runs: usize,
    json: bool,
    keep: bool,
    write: Option<String>,
}

/// Runs `bench` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    let description = env::up_all()?;
    let measured = Harness::make(&description, options.engine.as_deref(), options.runs)
        .and_then(|harness| measure(&harness, &options));
    if !options.keep {
        env::down()?;
    }
    let report = measured?;
    if options.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.text());
    }
    match &options.write {
        Some(path) => write_all(&report, Path::new(path)),
        None => Ok(()),
    }
}

fn measure(harness: &Harness, options: &Options) -> Result<Report> {
    let mut tables = Vec::new();
    for (name, measure) in MEASURES {
        if options.wants(name) {
            eprintln!("xtask: measuring {name}");
            tables.extend(measure(harness)?);
        }
    }
    Ok(Report { facts: host::gather(harness), tables })
}

fn write_all(report: &Report, path: &Path) -> Result<()> {
    let plot = path.with_extension("svg");
    if let Some(svg) = report.plot() {
        write(&plot, svg)?;
    }
    write(path, &report.markdown(&plot))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(checkout().join(path), text).context(|| format!("writing `{}`", path.display()))?;
    eprintln!("xtask: wrote {}", path.display());
    Ok(())
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options =
            Self { measures: Vec::new(), engine: None, runs: RUNS, json: false, keep: false, write: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let missing = || Failure::usage(format!("`{word}` needs a value\n{USAGE}"));
                words.next().cloned().ok_or_else(missing)
            };
            match word.as_str() {
                "--json" => options.json = true,
                "--keep" => options.keep = true,
                "--engine" => options.engine = Some(value()?),
                "--runs" => options.runs = runs(&value()?)?,
                "--write" => options.write = Some(value()?),
                name => options.measures.push(known(name)?),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.measures.is_empty() || self.measures.contains(&name)
    }
}

fn runs(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(runs) if runs >= FEWEST_RUNS => Ok(runs),
        _ => Err(Failure::usage(format!("`{text}` is no number of runs; {FEWEST_RUNS} or more"))),
    }
}

fn known(name: &str) -> Result<&'static str> {
    let mut names = MEASURES.iter().map(|(name, _)| *name);
    names.find(|known| *known == name).ok_or_else(|| Failure::usage(format!("no measure `{name}`\n{USAGE}")))
}

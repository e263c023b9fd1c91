//! `cargo xtask fuzz`: the fuzzers of `fuzz/`, each for a bounded time.
//!
//! They are built on the stable toolchain: coverage is a pass of LLVM that every rustc has, and no sanitizer is needed where no code is unsafe.
//! Not for: the corpus as a test, which is `tests/replay.rs` of `tests/fuzz` and runs with all others.

use std::fs;
use std::path::{Path, PathBuf};

use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::run;

pub(crate) const USAGE: &str = "\
cargo xtask fuzz [--seconds N] [TARGET ...]
    Builds the fuzzers and runs each target, one after the other; without names: all of them.
    --seconds N     how long each target runs (default 20)
    What they learn and what they find is kept in /var/tmp/hythe-fuzz-UID, with the build; HYTHE_FUZZ_DIR names another place.";

const SECONDS: u64 = 20;
/// An input that takes longer is a finding.
const SLOWEST: &str = "-timeout=20";
/// For code of the target alone, which is why a triple is named: build scripts are built without them.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0";

#[derive(Debug)]
struct Options {
    seconds: u64,
    targets: Vec<String>,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let known = targets()?;
        let mut options = Self { seconds: SECONDS, targets: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seconds" => {
                    let number = words.next().and_then(|number| number.parse().ok());
                    options.seconds = number.ok_or_else(|| Failure::usage("--seconds wants a number"))?;
                }
                name if known.iter().any(|target| target == name) => options.targets.push(name.to_owned()),
                other => {
                    let all = known.join(", ");
                    return Err(Failure::usage(format!("there is no target `{other}`, only: {all}")));
                }
            }
        }
        if options.targets.is_empty() {
            options.targets = known;
        }
        Ok(options)
    }
}

/// Runs `fuzz` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    let root = root();
    let build = build(&root)?;
    let mut findings = Vec::new();
    for target in &options.targets {
        eprintln!("xtask: fuzzing {target} for {} s", options.seconds);
        if !fuzz(&root, &build.join(target), target, options.seconds)? {
            findings.push(target.as_str());
        }
    }
    if findings.is_empty() {
        return Ok(());
    }
    let place = root.join("artifacts");
    Err(Failure::new(format!("found something: {}; the inputs are in `{}`", findings.join(", "), place.display())))
}

fn root() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let usual = || PathBuf::from(format!("/var/tmp/hythe-fuzz-{user}"));
    std::env::var_os("HYTHE_FUZZ_DIR").map_or_else(usual, PathBuf::from)
}

/// A target for each file.
fn targets() -> Result<Vec<String>> {
    let home = checkout().join("fuzz/targets");
    let entries = fs::read_dir(&home).context(|| format!("reading `{}`", home.display()))?;
    let names = entries.flatten().filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned));
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

/// Gives the directory of the built fuzzers.
fn build(root: &Path) -> Result<PathBuf> {
    let triple = triple()?;
    let mut cargo = run::command("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", &triple, "--manifest-path"]);
    cargo.arg(checkout().join("fuzz/Cargo.toml"));
    cargo.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", root);
    if run::passes(&mut cargo)? {
        Ok(root.join(triple).join("release"))
    } else {
        Err(Failure::new("the fuzzers cannot be built"))
    }
}

fn triple() -> Result<String> {
    let told = run::output(run::command("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc does not say what machine this is"))
}

/// Whether nothing was found.
fn fuzz(root: &Path, program: &Path, target: &str, seconds: u64) -> Result<bool> {
    let (learnt, artifacts) = (root.join("corpus").join(target), root.join("artifacts").join(target));
    for directory in [&learnt, &artifacts] {
        fs::create_dir_all(directory).context(|| format!("making `{}`", directory.display()))?;
    }
    let mut fuzzer = run::command(&program.display().to_string());
    fuzzer.arg(&learnt).arg(checkout().join("fuzz/corpus").join(target));
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.args([SLOWEST, "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1", "-verbosity=0"]);
    run::passes(&mut fuzzer)
}

//! Builds the init: a static program of a workspace of its own, whose bytes are part of the library.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Variables of the outer build that may reach the inner one.
const KEPT: [&str; 6] =
    ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "CARGO_HTTP_PROXY", "CARGO_HTTP_CAINFO"];

#[expect(clippy::print_stderr, reason = "cargo shows it to the user")]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=init");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let program = out.join("init");
    let supported = env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64" && env::var("CARGO_CFG_TARGET_OS")? == "linux";
    if supported {
        fs::copy(build(&out.join("target"))?, program)?;
    } else {
        // An empty init: the library refuses with the reason.
        fs::write(program, [])?;
    }
    Ok(())
}

fn build(target: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let cargo = env::var_os("CARGO").ok_or("no CARGO")?;
    let manifest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("init/Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path"]).arg(&manifest);
    command.arg("--target-dir").arg(target);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let is_outer = text.starts_with("CARGO") || text.starts_with("RUST") && !text.starts_with("RUSTUP");
        if is_outer && !KEPT.contains(&&*text) && !text.starts_with("CARGO_REGISTRIES_") {
            command.env_remove(&name);
        }
    }
    if let Some(rustc) = env::var_os("RUSTC") {
        command.env("RUSTC", rustc);
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let output = command.output()?;
    if output.status.success() {
        return Ok(target.join(TARGET).join("release/hythe-init"));
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("the init of guests cannot be built; it needs a static C library beside the C compiler\n{words}")
        .into())
}

//! What cargo builds for a run. All test programs of a complete run are built by one command: packages built one by one get other features of
//! the same libraries, and each set is compiled anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::root::Programs;
use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::run;

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

/// Builds the `hythe` program and the test programs of these packages; of all of them where none is named.
pub(super) fn programs(packages: &[&str]) -> Result<Programs> {
    let hythe = program()?;
    let mut command = cargo();
    command.args(["test", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    match packages {
        [] => command.arg("--workspace"),
        some => command.args(some.iter().flat_map(|package| ["--package", package])),
    };
    let built = command.stderr(Stdio::inherit()).output().context(|| "running cargo".into())?;
    if !built.status.success() {
        return Err(Failure::new("the tests do not build"));
    }
    let mut tests = BTreeMap::<String, Vec<_>>::new();
    for (package, program) in String::from_utf8_lossy(&built.stdout).lines().filter_map(test_program) {
        tests.entry(package).or_default().push(program);
    }
    Ok(Programs { hythe, tests })
}

/// A test program, the folder and the name of its package, from a message of cargo.
fn test_program(message: &str) -> Option<(String, (PathBuf, PathBuf))> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let directory = manifest.parent()?.to_owned();
    let package = package(message["package_id"].as_str()?, &directory)?;
    Some((package, (message["executable"].as_str()?.into(), directory)))
}

/// The name in `path+file:///…/crates/spec#hythe-spec@0.1.0`. Where the folder has the name, the part behind `#` is the version alone.
fn package(id: &str, directory: &Path) -> Option<String> {
    let name = id.rsplit_once('#')?.1.split_once('@').map(|(name, _)| name);
    name.or_else(|| directory.file_name()?.to_str()).map(str::to_owned)
}

/// Without what cargo told this program of its own package: libraries whose build reads these variables, such as ring, would be built anew, with all
/// that needs them, each time that cargo is run by somebody else in between.
pub(super) fn cargo() -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = run::command(&program);
    command.current_dir(checkout());
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| is_of_own_package(name)) {
        command.env_remove(name);
    }
    command
}

fn is_of_own_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| variable.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_run_without_variables_of_own_package() {
        // This test is run by cargo, so they are there.
        assert!(std::env::vars().any(|(name, _)| is_of_own_package(&name)));
        let command = cargo();
        let removed = |name: &str| command.get_envs().any(|(of, value)| of == name && value.is_none());
        assert!(removed("CARGO_MANIFEST_DIR") && removed("CARGO_PKG_NAME"));
        assert!(!is_of_own_package("CARGO_TARGET_DIR"));
    }

    #[test]
    fn test_program_of_cargo_message_has_its_package() {
        let message = |id: &str, test: bool| {
            let message = serde_json::json!({
                "package_id": id, "manifest_path": "/w/crates/xtask/Cargo.toml", "executable": "/w/target/debug/deps/a-1",
                "profile": { "test": test },
            });
            test_program(&message.to_string()).map(|(package, _)| package)
        };
        assert_eq!(message("path+file:///w/crates/xtask#hythe-spec@0.1.0", true).as_deref(), Some("hythe-spec"));
        assert_eq!(message("path+file:///w/crates/xtask#0.1.0", true).as_deref(), Some("xtask"));
        assert_eq!(message("path+file:///w/crates/xtask#0.1.0", false), None);
    }
}

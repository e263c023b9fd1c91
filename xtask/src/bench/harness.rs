//! What a measurement stands on: engines that are up, the program under test, a directory that goes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::agent::Agent;
use super::containerd::Containerd;
use super::engine::{self, Engine};
use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::run;

/// Everything the measures share.
#[derive(Debug)]
pub(crate) struct Harness {
    /// The release build.
    pub(crate) hythe: PathBuf,
    pub(crate) engines: Vec<Engine>,
    /// The image every container is made of; present in every engine.
    pub(crate) image: String,
    /// The same in the registry, for who starts with nothing.
    pub(crate) remote_image: String,
    /// `host:port` of the registry.
    pub(crate) registry: String,
    pub(crate) containerd: Option<Containerd>,
    /// Timed rounds of each comparison.
    pub(crate) runs: usize,
    directory: PathBuf,
    /// Of the private engines.
    environment: PathBuf,
}

impl Harness {
    /// Builds the program and finds the engines `description` (`env.json`) names; `only` takes one of them.
    pub(crate) fn make(description: &Path, only: Option<&str>, runs: usize) -> Result<Self> {
        let reading = || format!("reading `{}`", description.display());
        let environment = description.parent().unwrap_or(description).to_path_buf();
        let bytes = fs::read(description).context(reading)?;
        let description: Value = serde_json::from_slice(&bytes).context(reading)?;
        let text = |at: &str| description.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let wanted = |engine: &Engine| only.is_none_or(|only| only == engine.name);
        let engines: Vec<_> = engine::all(&description).into_iter().filter(wanted).collect();
        if engines.is_empty() {
            return Err(Failure::new("no engine to measure is up"));
        }
        let hythe = program()?;
        let directory = std::env::temp_dir().join(format!("hythe-bench-{}", std::process::id()));
        fs::create_dir_all(&directory).context(|| format!("creating `{}`", directory.display()))?;
        Ok(Self {
            hythe,
            engines,
            image: text("/image"),
            remote_image: text("/registry/image"),
            registry: text("/registry/address"),
            containerd: Containerd::of(&description),
            runs,
            directory,
            environment,
        })
    }

    /// Starts an agent of its own over these engines, with a store that is empty.
    pub(crate) fn agent(&self, engines: &[&Engine]) -> Result<Agent> {
        let runtimes: Vec<String> = engines.iter().map(|engine| engine.configuration()).collect();
        Agent::start(&self.hythe, &self.directory, &runtimes)
    }

    /// The runtime that needs no engine, with a root of its own that is empty.
    pub(crate) fn embedded(&self) -> Engine {
        engine::embedded(&self.hythe, &self.directory.join("embedded"))
    }

    /// Where an engine has the image from.
    pub(crate) fn image_for(&self, engine: &Engine) -> &str {
        if engine.name == "embedded" { &self.remote_image } else { &self.image }
    }

    /// For files of a measure.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Directories that the command lines of everything private name.
    pub(crate) fn places(&self) -> [&Path; 2] {
        [&self.directory, &self.environment]
    }

    /// The same over the in-process runtime alone.
    pub(crate) fn agent_in_process(&self) -> Result<Agent> {
        Agent::start(&self.hythe, &self.directory, &["[[runtimes]]\nkind = \"memory\"\n".to_owned()])
    }

    /// Writes a service file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(format!("{name}.toml"));
        fs::write(&path, text).context(|| format!("writing `{}`", path.display()))?;
        Ok(path)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Builds `hythe` as it is released and says where it is; `HYTHE_BIN` names one that is built already.
fn program() -> Result<PathBuf> {
    if let Some(built) = std::env::var_os("HYTHE_BIN") {
        return Ok(built.into());
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build: Command = run::command(&cargo);
    build.current_dir(checkout());
    build.args(["build", "--quiet", "--release", "--package", "hythe-cli"]);
    if !run::passes(&mut build)? {
        return Err(Failure::new("`hythe` does not build"));
    }
    let own = std::env::current_exe().context(|| "finding the build directory".into())?;
    let target = own.ancestors().nth(2).unwrap_or(&own);
    Ok(target.join("release/hythe"))
}

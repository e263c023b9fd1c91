//! An engine as its own users drive it: the peer a comparison is made with.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::run;

/// A private engine and its command line.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    program: PathBuf,
    /// Words before every command.
    before: Vec<String>,
    /// What the agent's configuration says to reach it.
    pub(crate) place: (&'static str, String),
    /// The network containers join where nothing is said; absent where each service has its own.
    pub(crate) default_network: Option<&'static str>,
    /// Words that make `rm` kill at once.
    remove: &'static [&'static str],
}

/// The engines of an environment that have a command line here.
pub(crate) fn all(description: &Value) -> Vec<Engine> {
    [podman(description), docker(description)].into_iter().flatten().collect()
}

fn podman(description: &Value) -> Option<Engine> {
    let program = description["podman"]["program"].as_str()?;
    Some(Engine {
        name: "podman",
        program: program.into(),
        before: Vec::new(),
        place: ("program", program.to_owned()),
        default_network: Some("podman"),
        remove: &["rm", "--force", "--time=0"],
    })
}

fn docker(description: &Value) -> Option<Engine> {
    let host = format!("unix://{}", description["docker"]["socket"].as_str()?);
    let program = run::find("docker")?;
    Some(Engine {
        name: "docker",
        program,
        before: vec!["--host".to_owned(), host.clone()],
        place: ("host", host),
        default_network: Some("bridge"),
        remove: &["rm", "--force"],
    })
}

/// The embedded runtime with its files below `root`; it has no command line of its own.
pub(crate) fn embedded(hythe: &Path, root: &Path) -> Engine {
    Engine {
        name: "embedded",
        program: hythe.to_owned(),
        before: Vec::new(),
        place: ("root", root.display().to_string()),
        default_network: None,
        remove: &[],
    }
}

impl Engine {
    /// A command of the engine's own command line.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = run::command(&self.program.to_string_lossy());
        command.args(&self.before).args(words);
        command
    }

    /// Kills and removes containers.
    pub(crate) fn remove(&self, name: &str) -> Command {
        let mut command = self.command(self.remove);
        command.arg(name);
        command
    }

    /// Its part of the agent's configuration.
    pub(crate) fn configuration(&self) -> String {
        let (key, place) = &self.place;
        format!("[[runtimes]]\nkind = \"{}\"\n{key} = {}\n", self.name, json!(place))
    }

    /// The version of what does the work: the daemon where there is one.
    pub(crate) fn version(&self) -> String {
        let mut command = match self.name {
            "docker" => self.command(&["version", "--format", "{{.Server.Version}}, CLI {{.Client.Version}}"]),
            _ => self.command(&["version", "--format", "{{.Client.Version}}"]),
        };
        run::output(&mut command).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
    }
}

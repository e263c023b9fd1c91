//! Where an engine may listen: a pure list from an environment, in the order in which it is tried.
//!
//! A host in the agent's configuration is the only one tried. Without one, `DOCKER_HOST`, the docker context and the usual
//! sockets are tried in turn; passing over one that was named is said in the log and in every probe's warnings, and
//! `fall_through = false` forbids it.

use std::path::{Path, PathBuf};

use hythe_runtime::{Error, ErrorKind};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::Config;
use hythe_local::http::Endpoint;

const OPERATION: &str = "connect";

/// The part of a process's surroundings that says where engines listen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `DOCKER_HOST`, where set and not empty.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`, where set and not empty.
    pub docker_context: Option<String>,
    /// Docker's configuration directory: `DOCKER_CONFIG`, else `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// Home directory.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
}

/// Why a place is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The agent's configuration names it.
    Configured,
    /// `DOCKER_HOST` names it.
    DockerHost,
    /// This docker context names it.
    Context(String),
    /// It is where this engine usually listens.
    Usual(&'static str),
}

impl Origin {
    /// Whether somebody named this place, so that passing it over must be said.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self, Self::Usual(_))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configured => f.write_str("configuration"),
            Self::DockerHost => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "docker context `{name}`"),
            Self::Usual(engine) => f.write_str(engine),
        }
    }
}

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Why it is tried.
    pub origin: Origin,
    /// `unix:///path`, an absolute path, or `tcp://host:port`.
    pub host: String,
}

impl Environment {
    /// The surroundings of this process.
    pub fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = text("HOME").map(PathBuf::from);
        let docker_config =
            text("DOCKER_CONFIG").map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".docker")));
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config,
            home,
            runtime_dir: text("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }
}

/// The places to try, in order, each once.
///
/// # Errors
/// `Invalid`: the docker context that is asked for by `DOCKER_CONTEXT` cannot be read.
pub fn candidates(environment: &Environment, config: &Config) -> Result<Vec<Candidate>, Error> {
    if let Some(host) = &config.host {
        return Ok(vec![Candidate { origin: Origin::Configured, host: host.clone() }]);
    }
    let named = |host: &String| Candidate { origin: Origin::DockerHost, host: host.clone() };
    let mut list: Vec<Candidate> = environment.docker_host.iter().map(named).collect();
    // As for the docker command, `DOCKER_HOST` overrides the context.
    if list.is_empty() {
        list.extend(context(environment)?);
    }
    if list.is_empty() || config.fall_through {
        list.extend(usual(environment));
    }
    let mut seen = Vec::new();
    list.retain(|candidate| {
        let key =
            Endpoint::parse(&candidate.host).map_or_else(|_| candidate.host.clone(), |endpoint| endpoint.to_string());
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
    Ok(list)
}

fn usual(environment: &Environment) -> Vec<Candidate> {
    let home = |rest: &str| environment.home.as_ref().map(|home| home.join(rest));
    let runtime = |rest: &str| environment.runtime_dir.as_ref().map(|dir| dir.join(rest));
    [
        ("Docker", Some(PathBuf::from("/var/run/docker.sock"))),
        ("rootless Docker", runtime("docker.sock")),
        ("rootless Docker", home(".docker/run/docker.sock")),
        ("Docker Desktop", home(".docker/desktop/docker.sock")),
        ("Podman", Some(PathBuf::from("/run/podman/podman.sock"))),
        ("rootless Podman", runtime("podman/podman.sock")),
        ("Colima", home(".colima/default/docker.sock")),
        ("Colima", home(".config/colima/default/docker.sock")),
        ("Rancher Desktop", home(".rd/docker.sock")),
        ("OrbStack", home(".orbstack/run/docker.sock")),
    ]
    .into_iter()
    .filter_map(|(engine, path)| {
        Some(Candidate { origin: Origin::Usual(engine), host: format!("unix://{}", path?.display()) })
    })
    .collect()
}

#[derive(Deserialize)]
struct CliConfig {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints", default)]
    endpoints: std::collections::BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
}

/// The context that the docker command would use; a broken `currentContext` is passed over, a broken `DOCKER_CONTEXT` is an error.
fn context(environment: &Environment) -> Result<Option<Candidate>, Error> {
    let Some(directory) = environment.docker_config.as_deref() else { return Ok(None) };
    let asked = environment.docker_context.clone();
    let Some(name) = asked.clone().or_else(|| current_context(directory)).filter(|name| name != "default") else {
        return Ok(None);
    };
    match context_host(directory, &name) {
        Ok(host) => Ok(Some(Candidate { origin: Origin::Context(name), host })),
        Err(reason) if asked.is_some() => {
            let message = format!("docker context `{name}` cannot be used: {reason}");
            Err(Error::new(ErrorKind::Invalid, OPERATION, message).hint("`docker context ls` names those there are"))
        }
        Err(reason) => {
            tracing::warn!(context = name, reason, "docker context passed over");
            Ok(None)
        }
    }
}

fn current_context(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join("config.json")).ok()?;
    let config: CliConfig = serde_json::from_str(&text).ok()?;
    config.current_context.filter(|name| !name.is_empty())
}

fn context_host(directory: &Path, name: &str) -> Result<String, String> {
    let id = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let path = directory.join("contexts/meta").join(id).join("meta.json");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let meta: ContextMeta = serde_json::from_str(&text).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let host = meta.endpoints.get("docker").map(|endpoint| endpoint.host.clone()).filter(|host| !host.is_empty());
    host.ok_or_else(|| format!("`{}` names no docker endpoint", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn hosts(environment: &Environment, config: &Config) -> Vec<String> {
        candidates(environment, config).unwrap().into_iter().map(|candidate| candidate.host).collect()
    }

    fn user(directory: &Path) -> Environment {
        Environment {
            docker_config: Some(directory.join(".docker")),
            home: Some("/home/u".into()),
            runtime_dir: Some("/run/user/1000".into()),
            ..Environment::default()
        }
    }

    fn with_context(directory: &Path, name: &str, host: &str) {
        let id: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = directory.join(".docker/contexts/meta").join(id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = serde_json::json!({ "Name": name, "Endpoints": { "docker": { "Host": host } } }).to_string();
        std::fs::write(meta.join("meta.json"), text).unwrap();
        std::fs::write(directory.join(".docker/config.json"), format!("{{\"currentContext\":\"{name}\"}}")).unwrap();
    }

    #[test]
    fn the_usual_places_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = hosts(&user(directory.path()), &Config::default());
        assert_eq!(
            hosts,
            [
                "unix:///var/run/docker.sock",
                "unix:///run/user/1000/docker.sock",
                "unix:///home/u/.docker/run/docker.sock",
                "unix:///home/u/.docker/desktop/docker.sock",
                "unix:///run/podman/podman.sock",
                "unix:///run/user/1000/podman/podman.sock",
                "unix:///home/u/.colima/default/docker.sock",
                "unix:///home/u/.config/colima/default/docker.sock",
                "unix:///home/u/.rd/docker.sock",
                "unix:///home/u/.orbstack/run/docker.sock",
            ]
        );
    }

    #[test]
    fn a_configured_host_is_the_only_one() {
        let environment = Environment { docker_host: Some("unix:///b".to_owned()), ..Environment::default() };
        let config = Config { host: Some("/a".to_owned()), ..Config::default() };
        assert_eq!(hosts(&environment, &config), ["/a"]);
    }

    #[test]
    fn what_is_named_comes_first_and_alone_where_asked() {
        let directory = tempfile::tempdir().unwrap();
        with_context(directory.path(), "desk", "unix:///desk.sock");
        let strict = Config { fall_through: false, ..Config::default() };
        let environment = user(directory.path());
        assert_eq!(hosts(&environment, &strict), ["unix:///desk.sock"]);
        assert_eq!(hosts(&environment, &Config::default())[..2], ["unix:///desk.sock", "unix:///var/run/docker.sock"]);
        let environment = Environment { docker_host: Some("unix:///var/run/docker.sock".to_owned()), ..environment };
        assert_eq!(hosts(&environment, &strict), ["unix:///var/run/docker.sock"]);
        assert_eq!(hosts(&environment, &Config::default()).len(), 10, "each place once");
    }

    #[test]
    fn a_context_asked_for_must_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let environment = Environment { docker_context: Some("gone".to_owned()), ..user(directory.path()) };
        let error = candidates(&environment, &Config::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("`gone`"), "{error}");
    }
}

//! Finding the engine that answers, and asking it once what it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as Native;
use hythe_runtime::{EndedInputs, Error, ErrorKind, Health, RuntimeInfo};
use hythe_spec::RuntimeKind;

use crate::api_types::Info;
use crate::client::{ApiVersion, Client};
use crate::context::Context;
use crate::discover::{Candidate, Environment, candidates};
use crate::driver::Docker;
use crate::error::{broken, translate};
use crate::translate::Engine;
use crate::{Config, capability};
use hythe_local::http::Endpoint;

const OPERATION: &str = "connect";
const HINT: &str = "start Docker, or `podman system service`, or name the socket in `host` or `DOCKER_HOST`";

/// Finds the engine that the configuration and this process's surroundings name, and asks it what it is.
///
/// # Errors
/// `Unavailable`: nothing answered; the message names every place tried and why not. `Invalid`: an address that cannot be read.
pub async fn connect(config: Config) -> Result<Docker, Error> {
    connect_in(config, &Environment::of_process()).await
}

async fn connect_in(config: Config, environment: &Environment) -> Result<Docker, Error> {
    let mut failures = Vec::new();
    let mut passed_over = Vec::new();
    for candidate in candidates(environment, &config)? {
        match attempt(&candidate, &config).await {
            Ok(found) => return Ok(docker(found, config, passed_over)),
            Err(reason) => {
                let failure = format!("{} at `{}`: {reason}", candidate.origin, candidate.host);
                if candidate.origin.is_named() {
                    tracing::warn!(%failure, "engine passed over");
                    passed_over.push(failure.clone());
                }
                failures.push(failure);
            }
        }
    }
    let message = format!("no engine answered; tried {}", failures.join("; "));
    Err(Error::new(ErrorKind::Unavailable, OPERATION, message).hint(HINT))
}

/// An engine that answered.
struct Found {
    endpoint: Endpoint,
    client: Client,
    engine: Engine,
    info: Info,
}

async fn attempt(candidate: &Candidate, config: &Config) -> Result<Found, String> {
    let endpoint = Endpoint::parse(&candidate.host)?;
    if let Endpoint::Unix(path) = &endpoint {
        tokio::fs::symlink_metadata(path).await.map_err(|error| io_reason(&error))?;
    }
    let limit = config.connect_timeout.duration();
    let found = ask(endpoint, limit);
    tokio::time::timeout(limit, found).await.map_err(|_| format!("no answer within {}", config.connect_timeout))?
}

async fn ask(endpoint: Endpoint, limit: Duration) -> Result<Found, String> {
    let open = |version| Client::new(&endpoint, limit, version).map_err(|error| reason(&error));
    let headers = open(ApiVersion::NEWEST)?.ping().await.map_err(|error| reason(&error))?;
    let version = headers.get("api-version").and_then(|value| ApiVersion::parse(value.to_str().ok()?));
    let version = version.ok_or_else(|| "what answers there is no Docker engine".to_owned())?;
    let engine = if headers.contains_key("libpod-api-version") { Engine::Podman } else { Engine::Docker };
    let client = open(version.min(ApiVersion::NEWEST))?;
    let info: Info = client.get("/info", &[]).await.map_err(|error| reason(&error))?;
    Ok(Found { endpoint, client, engine, info })
}

fn docker(found: Found, config: Config, passed_over: Vec<String>) -> Docker {
    let Found { endpoint, client, engine, info } = found;
    let capability = capability::capability(&info, &config, engine, client.version(), endpoint.is_local());
    let described = RuntimeInfo {
        name: config.name.clone(),
        kind: RuntimeKind::Docker,
        endpoint: endpoint.to_string(),
        engine: engine.as_str().to_owned(),
        version: info.server_version.clone(),
        engine_id: engine_id(engine, &info),
        rootless: info.rootless || capability::has_security(&info, "rootless"),
    };
    let context = Context {
        rootless: described.rootless,
        pids: info.pids_limit,
        selinux: capability::has_security(&info, "selinux"),
        client,
        engine,
        local: endpoint.is_local(),
        config: Arc::new(config),
        passed_over,
        stopping: Arc::default(),
        making_network: Arc::default(),
        making_snapshot: Arc::default(),
        failed_starts: Arc::default(),
        ended_inputs: EndedInputs::default(),
    };
    Docker::new(described, capability, context)
}

impl Context {
    /// Asks the engine whether it answers, and its version.
    pub(crate) async fn probe(&self) -> Result<Health, Error> {
        let limit = self.config.connect_timeout;
        let asked = tokio::time::timeout(limit.duration(), self.client.get::<Info>("/info", &[])).await;
        let info = match asked {
            Ok(info) => info.map_err(|error| translate("probe", "", error))?,
            Err(_) => return Err(broken("probe", &format!("nothing within {limit}"))),
        };
        let mut warnings = self.passed_over.clone();
        warnings.extend(capability::warnings(&info));
        Ok(Health { version: info.server_version, warnings })
    }
}

/// Podman makes up another id for every answer; there its store on its host is what makes it itself, as its own driver says it.
fn engine_id(engine: Engine, info: &Info) -> Option<String> {
    match engine {
        Engine::Docker => Some(info.id.clone()).filter(|id| !id.is_empty()),
        Engine::Podman if info.docker_root_dir.is_empty() => None,
        Engine::Podman => Some(format!("{}:{}", info.name, info.docker_root_dir)),
    }
}

fn reason(native: &Native) -> String {
    let mut cause: Option<&dyn std::error::Error> = Some(native);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return io_reason(error);
        }
        cause = error.source();
    }
    native.to_string()
}

fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "absent".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (join the group that owns the socket, or use a rootless engine)".to_owned()
        }
        io::ErrorKind::ConnectionRefused => "refused (nothing listens on it)".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hythe_spec::Millis;

    use super::*;

    #[tokio::test]
    async fn a_failure_names_each_place_and_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("podman")).unwrap();
        // Bound and closed: refused. Bound and silent: no answer.
        drop(std::os::unix::net::UnixListener::bind(path("docker.sock")).unwrap());
        let _silent = std::os::unix::net::UnixListener::bind(path("podman/podman.sock")).unwrap();
        let environment = Environment {
            docker_host: Some(format!("unix://{}", path("absent.sock").display())),
            runtime_dir: Some(directory.path().to_owned()),
            ..Environment::default()
        };
        let config = Config { connect_timeout: Millis(300), ..Config::default() };
        let (mut failures, mut passed_over) = (Vec::new(), Vec::new());
        for candidate in candidates(&environment, &config).unwrap() {
            // The machine's own engines are nobody's business here.
            if candidate.host.contains(&directory.path().display().to_string()) {
                failures.push(attempt(&candidate, &config).await.err().unwrap());
                passed_over.extend(candidate.origin.is_named().then_some(candidate.host));
            }
        }
        assert_eq!(failures, ["absent", "refused (nothing listens on it)", "no answer within 300ms"]);
        assert_eq!(passed_over.len(), 1);
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_read_says_so() {
        for (host, words) in [
            ("ssh://box", "`ssh` is not supported"),
            ("tcp://box", "the port is missing"),
            ("unix://relative", "not absolute"),
        ] {
            let config = Config { host: Some(host.to_owned()), ..Config::default() };
            let error = connect_in(config, &Environment::default()).await.unwrap_err();
            assert!(error.message().contains(words), "{error}");
        }
    }
}

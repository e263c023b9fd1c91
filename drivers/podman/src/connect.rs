//! Asks podman once what it is, and at every probe whether it answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hythe_local::http::Endpoint;
use hythe_oci::auth::Files;
use hythe_oci::{Registry, RegistryConfig};
use hythe_runtime::{Error, ErrorKind, OpContext, Result, RuntimeInfo};
use hythe_spec::RuntimeKind;

use crate::Config;
use crate::api_types::Info;
use crate::capability::{capability, warnings};
use crate::client::{About, Client};
use crate::driver::{Local, Parts, Podman};
use crate::program::Program;
use crate::service::Service;

const ABOUT: About<'static> = About { operation: "connect", subject: "podman" };
/// What podman's own program reads.
const HOST_VARIABLE: &str = "CONTAINER_HOST";
/// Longest wait for an answer to a probe.
const PROBE: Duration = Duration::from_secs(10);
/// Pause between looks at a service that begins.
const LOOK: Duration = Duration::from_millis(10);

/// Connects to the configured podman: to its socket, else to a service of our own, bounded by `config.connect_timeout`.
///
/// # Errors
/// `Unavailable` with podman's words where it is absent, broken or too slow. `Invalid`: a socket that cannot be read.
pub async fn connect(config: Config) -> Result<Podman> {
    let program = Program::new(config.program.clone(), config.env.clone());
    crate::private::sweep();
    let asked = ask(&config, &program);
    let (client, info) = answer_within(config.connect_timeout.duration(), ABOUT, asked).await?.map_err(unavailable)?;
    let warnings = warnings(&info);
    let capability = capability(&config, &info);
    let local = is_local(&info).then(|| Local { volumes: PathBuf::from(&info.store.volume_path) });
    let program = match configured_socket(&config).filter(|_| local.is_none()) {
        // It would act on this host's store.
        Some(socket) => program.with_variable(HOST_VARIABLE, socket),
        None => program,
    };
    let runtime = RuntimeInfo {
        name: config.name.clone(),
        kind: RuntimeKind::Podman,
        endpoint: program.path(),
        engine: "podman".to_owned(),
        engine_id: engine_id(&info),
        version: info.version.version,
        rootless: info.host.security.rootless,
    };
    let default_capabilities = capability_names(&info.host.security.capabilities);
    let registry = registry(&config)?;
    Ok(Podman::new(Parts {
        client,
        program,
        config,
        info: runtime,
        capability,
        warnings,
        local,
        registry,
        default_capabilities,
    }))
}

/// A podman that answers, and what it says of itself.
async fn ask(config: &Config, program: &Program) -> Result<(Client, Info)> {
    let client = match configured_socket(config) {
        Some(socket) => {
            let invalid = |why| {
                Error::new(ErrorKind::Invalid, ABOUT.operation, format!("`{socket}`: {why}")).hint(
                    "of another host: `ssh -NL /path:/run/podman/podman.sock HOST`, and name that path in `socket`",
                )
            };
            Client::new(&Endpoint::parse(&socket).map_err(invalid)?, None)
        }
        None => own_service(program)?,
    };
    let version = first_answer(&client, &config.program).await?;
    let client = client.speaking(ABOUT, &version)?;
    let info = client.get(&OpContext::new("connect"), ABOUT, "/info", &[]).await?;
    Ok((client, info))
}

/// That of the configuration, else the one that the program itself would use.
fn configured_socket(config: &Config) -> Option<String> {
    let variable = || config.env.get(HOST_VARIABLE).cloned().or_else(|| std::env::var(HOST_VARIABLE).ok());
    config.socket.clone().or_else(variable).filter(|socket| !socket.is_empty())
}

fn own_service(program: &Program) -> Result<Client> {
    let service = Service::start(program).map_err(|cause| {
        let words = format!("the socket of podman's service cannot be prepared: {cause}");
        Error::new(ErrorKind::Unavailable, ABOUT.operation, words).source(cause)
    })?;
    let endpoint = Endpoint::Unix(service.socket());
    Ok(Client::new(&endpoint, Some(Arc::new(service))))
}

/// The version of podman, once it answers; fails at once where a service of ours ended instead.
async fn first_answer(client: &Client, program: &Path) -> Result<String> {
    loop {
        let failure = match client.ping(ABOUT).await {
            Ok(version) => return Ok(version),
            Err(failure) => failure,
        };
        match client.service() {
            None => return Err(failure),
            Some(service) => {
                if let Some(words) = service.failure() {
                    let words = format!("the service of `{}` cannot be started: {words}", program.display());
                    return Err(Error::new(ErrorKind::Unavailable, ABOUT.operation, words)
                        .hint("install podman, or name its program in the agent's configuration"));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the files that podman names are files of this host.
fn is_local(info: &Info) -> bool {
    let here = rustix::system::uname().nodename().to_bytes() == info.host.hostname.as_bytes();
    here && !info.host.service_is_remote && Path::new(&info.store.graph_root).is_dir()
}

/// Its store on its host; two hosts may well have theirs in the same place.
fn engine_id(info: &Info) -> Option<String> {
    let root = &info.store.graph_root;
    (!root.is_empty()).then(|| format!("{}:{root}", info.host.hostname))
}

/// Without `CAP_`, sorted.
fn capability_names(list: &str) -> Vec<String> {
    let names = list.split(',').filter_map(|name| name.strip_prefix("CAP_"));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// Registries are asked with the credentials that podman itself would use.
fn registry(config: &Config) -> Result<Registry> {
    let variable = |name: &str| config.env.get(name).cloned().or_else(|| std::env::var(name).ok());
    let asked = RegistryConfig {
        insecure: config.insecure_registries.clone(),
        auth: Files::from_env(&variable),
        ..RegistryConfig::default()
    };
    Registry::new(asked).map_err(|cause| Error::new(ErrorKind::Invalid, "connect", cause.to_string()).source(cause))
}

/// An engine that cannot even say what it is, is not usable, whatever its words.
fn unavailable(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Invalid => error,
        _ => Error::new(ErrorKind::Unavailable, "connect", error.message().to_owned()).source(error),
    }
}

/// Waits at most this long.
pub(crate) async fn answer_within<F: Future>(time: Duration, about: About<'_>, work: F) -> Result<F::Output> {
    tokio::time::timeout(time, work).await.map_err(|_| {
        let message = format!("`{}`: podman did not answer within {} s", about.subject, time.as_secs_f32());
        Error::new(ErrorKind::Unavailable, about.operation, message)
    })
}

/// Podman's version, if it works now: it looks for a container, for which it opens its database.
pub(crate) async fn answers(podman: &Podman, cx: &OpContext, about: About<'_>) -> Result<String> {
    let client = &podman.client;
    if let Some(service) = client.service() {
        service.trim_log();
    }
    let asked = async {
        let version = client.ping(about).await?;
        let looked = client.exists(about, "/containers/hythe/exists").await;
        looked.map(|_| version)
    };
    let asked = cx.with_deadline(about.operation, asked);
    answer_within(podman.config.connect_timeout.duration().min(PROBE), about, asked).await?
}

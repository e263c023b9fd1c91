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
use crate::program::{Invocation, Program};
use crate::service::{Server, Service};
use crate::tunnel::{Connection, Tunnel};

const ABOUT: About<'static> = About { operation: "connect", subject: "podman" };
/// What podman's own program reads.
const HOST_VARIABLE: &str = "CONTAINER_HOST";
const KEY_VARIABLE: &str = "CONTAINER_SSHKEY";
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
    let reached = answer_within(config.connect_timeout.duration(), ABOUT, asked).await?.map_err(unavailable)?;
    let Reached { client, info, socket, by_ssh } = reached;
    let warnings = warnings(&info);
    let capability = capability(&config, &info);
    let is_local = !by_ssh && is_local(&info);
    let local = is_local.then(|| Local { volumes: PathBuf::from(&info.store.volume_path) });
    let program = match socket.filter(|_| local.is_none()) {
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

/// How podman is reached.
struct Reached {
    client: Client,
    info: Info,
    /// Where the program has to be sent to act on the same podman, unless it does so by itself.
    socket: Option<String>,
    /// It may be on another host, whatever it says of itself.
    by_ssh: bool,
}

/// A podman that answers, and what it says of itself.
async fn ask(config: &Config, program: &Program) -> Result<Reached> {
    let (address, identity) = address(config, program).await?;
    let (client, server, socket) = match &address {
        Some(address) if Tunnel::is(address) => {
            let tunnel = Tunnel::parse(address, identity, config.env.clone()).map_err(|why| invalid(address, &why))?;
            let server = Server::Tunnel(tunnel);
            let (client, socket) = served(server.clone())?;
            (client, server, Some(socket))
        }
        Some(address) => {
            let endpoint = Endpoint::parse(address).map_err(|why| invalid(address, &why))?;
            (Client::new(&endpoint, None), Server::Podman(program.clone()), Some(address.clone()))
        }
        None => {
            let server = Server::Podman(program.clone());
            (served(server.clone())?.0, server, None)
        }
    };
    let version = first_answer(&client, &server).await?;
    let client = client.speaking(ABOUT, &version)?;
    let info = client.get(&OpContext::new("connect"), ABOUT, "/info", &[]).await?;
    Ok(Reached { client, info, socket, by_ssh: matches!(server, Server::Tunnel(_)) })
}

fn invalid(address: &str, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, ABOUT.operation, format!("`{address}`: {why}"))
        .hint("`socket` is `unix:///path`, `tcp://host:port` or `ssh://user@host/path`")
}

/// That of the configuration, else the one that the program itself would use; with the key for it.
async fn address(config: &Config, program: &Program) -> Result<(Option<String>, Option<PathBuf>)> {
    let variable = |name: &str| {
        let set = config.env.get(name).cloned().or_else(|| std::env::var(name).ok());
        set.filter(|value| !value.is_empty())
    };
    if let Some(name) = &config.connection {
        let found = connection(program, name).await?;
        let identity = Some(PathBuf::from(found.identity)).filter(|path| !path.as_os_str().is_empty());
        return Ok((Some(found.uri), identity));
    }
    let address = config.socket.clone().filter(|socket| !socket.is_empty()).or_else(|| variable(HOST_VARIABLE));
    Ok((address, config.identity.clone().or_else(|| variable(KEY_VARIABLE).map(PathBuf::from))))
}

/// A connection that `podman system connection add` or `podman machine` made.
async fn connection(program: &Program, name: &str) -> Result<Connection> {
    let words = Invocation::from(["system", "connection", "list", "--format=json"]);
    let failed = |cause: String| {
        let words = format!("`podman system connection list` failed: {cause}");
        Error::new(ErrorKind::Unavailable, ABOUT.operation, words)
    };
    let listed = program.command(&words).output().await.map_err(|cause| failed(cause.to_string()))?;
    if !listed.status.success() {
        return Err(failed(String::from_utf8_lossy(&listed.stderr).trim().to_owned()));
    }
    let all: Vec<Connection> = serde_json::from_slice(&listed.stdout).map_err(|cause| failed(cause.to_string()))?;
    let names = all.iter().map(|one| one.name.trim_end_matches('*')).collect::<Vec<_>>().join(", ");
    let unknown = || {
        Error::new(ErrorKind::Invalid, ABOUT.operation, format!("podman has no connection `{name}`"))
            .hint(if names.is_empty() { "`podman system connection add` makes one".to_owned() } else { names.clone() })
    };
    // The default one is marked with a star.
    let at = all.iter().position(|one| one.name.trim_end_matches('*') == name).ok_or_else(unknown)?;
    all.into_iter().nth(at).ok_or_else(|| failed("it is gone".to_owned()))
}

/// A client of what that serves, and its socket.
fn served(server: Server) -> Result<(Client, String)> {
    let service = Service::start(server).map_err(|cause| {
        let words = format!("the socket of podman's service cannot be prepared: {cause}");
        Error::new(ErrorKind::Unavailable, ABOUT.operation, words).source(cause)
    })?;
    let endpoint = Endpoint::Unix(service.socket());
    let address = endpoint.to_string();
    Ok((Client::new(&endpoint, Some(Arc::new(service))), address))
}

/// The version of podman, once it answers; fails at once where what serves it ended instead.
async fn first_answer(client: &Client, server: &Server) -> Result<String> {
    loop {
        let failure = match client.ping(ABOUT).await {
            Ok(version) => return Ok(version),
            Err(failure) => failure,
        };
        match client.service() {
            None => return Err(failure),
            Some(service) => {
                if let Some(words) = service.failure() {
                    return Err(not_served(server, &words));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn not_served(server: &Server, words: &str) -> Error {
    let (failed, hint) = match server {
        Server::Podman(_) => ("cannot be started", "install podman, or name its program in the agent's configuration"),
        Server::Tunnel(_) => (
            "does not reach podman",
            "the agent's user needs a key that the host accepts, the host's key in `known_hosts`, and `systemctl enable \
             --now podman.socket` there",
        ),
    };
    Error::new(ErrorKind::Unavailable, ABOUT.operation, format!("{} {failed}: {words}", server.name())).hint(hint)
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

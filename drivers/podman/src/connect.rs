//! Asks podman once what it is, and at every probe whether it answers.

use std::path::PathBuf;
use std::time::Duration;

use hythe_oci::auth::Files;
use hythe_oci::{Registry, RegistryConfig};
use hythe_runtime::{Error, ErrorKind, OpContext, Result, RuntimeInfo};
use hythe_spec::RuntimeKind;

use crate::Config;
use crate::api_types::{Info, Versions};
use crate::capability::{capability, warnings};
use crate::client::{About, Client};
use crate::driver::{Local, Parts, Podman};

const ABOUT: About<'static> = About { operation: "connect", subject: "podman" };

/// Connects to the configured podman: one `podman info`, bounded by `config.connect_timeout`.
///
/// # Errors
/// `Unavailable` with podman's words where it is absent, broken or too slow.
pub async fn connect(config: Config) -> Result<Podman> {
    let client = Client::new(config.program.clone(), config.env.clone());
    crate::private::sweep();
    let cx = OpContext::new("connect");
    let asked = client.document::<Info>(&cx, ABOUT, ["info", "--format=json"]);
    let info = answer_within(config.connect_timeout.duration(), ABOUT, asked).await?.map_err(unavailable)?;
    let warnings = warnings(&info);
    let capability = capability(&config, &info);
    let local = (!info.host.service_is_remote).then(|| Local { volumes: PathBuf::from(&info.store.volume_path) });
    let runtime = RuntimeInfo {
        name: config.name.clone(),
        kind: RuntimeKind::Podman,
        endpoint: client.program(),
        engine: "podman".to_owned(),
        engine_id: engine_id(&info),
        version: info.version.version,
        rootless: info.host.security.rootless,
    };
    let default_capabilities = capability_names(&info.host.security.capabilities);
    let registry = registry(&config)?;
    Ok(Podman::new(Parts {
        client,
        config,
        info: runtime,
        capability,
        warnings,
        local,
        registry,
        default_capabilities,
    }))
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
        ErrorKind::Unavailable | ErrorKind::Timeout => error,
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

/// Podman's version, if it works now: even for this it opens its store and its database.
/// `podman info` says no more that matters and costs a dozen processes, which look up the packages of podman's helpers.
pub(crate) async fn answers(podman: &Podman, cx: &OpContext, about: About<'_>) -> Result<String> {
    let asked = podman.client.document::<Versions>(cx, about, ["version", "--format=json"]);
    let versions = answer_within(podman.config.connect_timeout.duration(), about, asked).await??;
    Ok(versions.server.unwrap_or(versions.client).version)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    #[test]
    fn a_remote_podman_is_its_servers_version() {
        let version = |text| {
            let versions: Versions = serde_json::from_str(text).unwrap();
            versions.server.unwrap_or(versions.client).version
        };
        assert_eq!(version(r#"{"Client":{"APIVersion":"4.3.1","Version":"4.3.1","Os":"linux"}}"#), "4.3.1");
        assert_eq!(version(r#"{"Client":{"Version":"5.0.0"},"Server":{"Version":"4.3.1"}}"#), "4.3.1");
    }
}

//! Asks podman once what it is and what this host lets it do.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hythe_oci::auth::Files;
use hythe_oci::{Registry, RegistryConfig};
use hythe_runtime::{Capability, Error, ErrorKind, Feature, OpContext, Result, RuntimeInfo};
use hythe_spec::RuntimeKind;
use serde::Deserialize;

use crate::Config;
use crate::client::{About, Client};
use crate::driver::{Local, Parts, Podman};

const ABOUT: About<'static> = About { operation: "connect", subject: "podman" };

const TUN: &str = "/dev/net/tun";

/// `podman info`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Info {
    host: Host,
    #[serde(default)]
    store: Store,
    #[serde(default)]
    version: Version,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    cgroup_version: String,
    #[serde(default)]
    cgroup_controllers: Option<Vec<String>>,
    #[serde(default)]
    service_is_remote: bool,
    #[serde(default)]
    security: HostSecurity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostSecurity {
    #[serde(default)]
    rootless: bool,
    #[serde(default)]
    seccomp_enabled: bool,
    /// `CAP_CHOWN,CAP_KILL,…`
    #[serde(default)]
    capabilities: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    #[serde(default)]
    graph_root: String,
    #[serde(default)]
    volume_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    #[serde(default)]
    version: String,
}

/// Connects to the configured podman: one `podman info`, bounded by `config.connect_timeout`.
///
/// # Errors
/// `Unavailable` with podman's words where it is absent, broken or too slow.
pub async fn connect(config: Config) -> Result<Podman> {
    let client = Client::new(config.program.clone(), config.env.clone());
    let cx = OpContext::new("connect");
    let asked = client.document::<Info>(&cx, ABOUT, ["info", "--format=json"]);
    let info = bounded(config.connect_timeout.duration(), ABOUT, asked).await?.map_err(unavailable)?;
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
pub(crate) async fn bounded<F: Future>(time: Duration, about: About<'_>, work: F) -> Result<F::Output> {
    tokio::time::timeout(time, work).await.map_err(|_| {
        let message = format!("`{}`: podman did not answer within {time:?}", about.subject);
        Error::new(ErrorKind::Unavailable, about.operation, message)
    })
}

fn capability(config: &Config, info: &Info) -> Capability {
    let mut capability = Capability::of(Feature::ALL)
        .without(Feature::EgressAllowList, "podman's networks cannot filter by host name; not built yet")
        .without(Feature::IngressAllowList, "podman's networks cannot filter by host name; not built yet")
        .without(
            Feature::IsolatedNetworks,
            "podman's network backend forgets the rule when any such network is torn down",
        )
        .without(
            Feature::PublishIpv6,
            "podman forwards ports by NAT, which does not reach an instance from an IPv6 host address on its networks",
        );
    if !config.allow_privileged {
        capability =
            capability.without(Feature::Privileged, "not allowed in the agent's configuration (`allow_privileged`)");
    }
    if host_address().is_none() {
        capability = capability.without(Feature::HostGateway, "this host has no address that an instance could reach");
    }
    if !info.host.security.seccomp_enabled {
        capability = capability
            .without(Feature::SeccompDefault, "podman was built without seccomp")
            .without(Feature::SeccompFile, "podman was built without seccomp");
    }
    let missing = limits(info).into_iter().chain(networks(info, Path::new(TUN)));
    missing.fold(capability, |capability, (feature, reason)| capability.without(feature, reason))
}

/// Limits that this host's cgroups cannot enforce, and why.
fn limits(info: &Info) -> Vec<(Feature, String)> {
    let controlled = [(Feature::MemoryLimit, "memory"), (Feature::CpuLimit, "cpu"), (Feature::PidsLimit, "pids")];
    let Host { cgroup_version, cgroup_controllers, security, .. } = &info.host;
    let reason = |controller: &str| {
        if security.rootless && cgroup_version == "v1" {
            return Some(
                "rootless podman cannot limit resources on cgroup v1; boot with cgroup v2 or run podman as root"
                    .to_owned(),
            );
        }
        let present = cgroup_controllers.iter().flatten().any(|name| name == controller);
        (!present).then(|| format!("the cgroup controller `{controller}` is not delegated to this user"))
    };
    controlled.into_iter().filter_map(|(feature, controller)| Some((feature, reason(controller)?))).collect()
}

/// Rootless podman makes its networks with a tun device.
fn networks(info: &Info, tun: &Path) -> Vec<(Feature, String)> {
    let usable = || File::options().read(true).write(true).open(tun).is_ok();
    if !info.host.security.rootless || info.host.service_is_remote || usable() {
        return Vec::new();
    }
    let reason = format!("rootless podman needs `{}` for its networks, and this user cannot open it", tun.display());
    let needed = [Feature::BridgeNetwork, Feature::PublishTcp, Feature::PublishUdp, Feature::PublishSctp];
    needed.into_iter().map(|feature| (feature, reason.clone())).collect()
}

fn warnings(info: &Info) -> Vec<String> {
    limits(info)
        .into_iter()
        .chain(networks(info, Path::new(TUN)))
        .map(|(feature, reason)| format!("{}: {reason}", feature.describe()))
        .collect()
}

/// The address of this host on the way out; nothing is sent.
pub(crate) fn host_address() -> Option<IpAddr> {
    const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ANYWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// What `podman version` prints; `Client` is the program itself, and the only side where podman is local.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    client: Version,
    #[serde(default)]
    server: Option<Version>,
}

/// Podman's version, if it works now: even for this it opens its store and its database.
/// `podman info` says no more that matters and costs a dozen processes, which look up the packages of podman's helpers.
pub(crate) async fn answers(podman: &Podman, cx: &OpContext, about: About<'_>) -> Result<String> {
    let asked = podman.client.document::<Versions>(cx, about, ["version", "--format=json"]);
    let versions = bounded(podman.config.connect_timeout.duration(), about, asked).await??;
    Ok(versions.server.unwrap_or(versions.client).version)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    fn info(rootless: bool, version: &str, controllers: &[&str]) -> Info {
        let document = serde_json::json!({
            "host": {
                "cgroupVersion": version,
                "cgroupControllers": controllers,
                "serviceIsRemote": false,
                "security": { "rootless": rootless, "seccompEnabled": true },
            },
            "store": { "graphRoot": "/g", "volumePath": "/v" },
            "version": { "Version": "4.3.1" },
        });
        serde_json::from_value(document).unwrap()
    }

    fn supported(info: &Info, feature: Feature) -> bool {
        capability(&Config::default(), info).supports(feature)
    }

    #[test]
    fn a_remote_podman_is_its_servers_version() {
        let version = |text| {
            let versions: Versions = serde_json::from_str(text).unwrap();
            versions.server.unwrap_or(versions.client).version
        };
        assert_eq!(version(r#"{"Client":{"APIVersion":"4.3.1","Version":"4.3.1","Os":"linux"}}"#), "4.3.1");
        assert_eq!(version(r#"{"Client":{"Version":"5.0.0"},"Server":{"Version":"4.3.1"}}"#), "4.3.1");
    }

    #[test]
    fn limits_follow_the_cgroups() {
        let all = ["cpu", "memory", "pids"];
        assert!(supported(&info(false, "v1", &all), Feature::MemoryLimit));
        assert!(!supported(&info(true, "v1", &[]), Feature::MemoryLimit));
        let delegated = info(true, "v2", &["memory", "pids"]);
        assert!(supported(&delegated, Feature::PidsLimit) && !supported(&delegated, Feature::CpuLimit));
    }

    #[test]
    fn privilege_must_be_allowed() {
        let allowed = Config { allow_privileged: true, ..Config::default() };
        let info = info(false, "v2", &[]);
        assert!(!supported(&info, Feature::Privileged) && !supported(&info, Feature::EgressAllowList));
        assert!(capability(&allowed, &info).supports(Feature::Privileged));
    }

    #[test]
    fn rootless_networks_need_a_tun_device() {
        let absent = Path::new("/no/such/tun");
        assert!(networks(&info(false, "v2", &[]), absent).is_empty());
        assert!(networks(&info(true, "v2", &[]), absent).iter().any(|(feature, _)| *feature == Feature::BridgeNetwork));
    }
}

//! How an inspected container was set up, in the seam's words: network, security, hosts, who asked for what.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hythe_runtime::docker_compat::Unmodelled;
use hythe_runtime::{ImageConfig, ImageHealth, ObservedSecurity, docker_compat};
use hythe_spec::permissions::CAPABILITIES;
use hythe_spec::{Device, LogLimits, Millis};

use super::Engine;
use super::observed::pair;
use super::plan::CDI;
use crate::api_types::{ContainerConfig, ContainerDevice, ContainerHostConfig, ContainerLog, ContainerRestart};

/// What dockerd gives where it is told nothing.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const ALL: &str = "ALL";
/// Labels that Docker Desktop puts on every container by itself.
const OF_THE_DESKTOP: &str = "desktop.docker.io/";

pub(super) fn security(config: &ContainerHostConfig, engine: Engine) -> ObservedSecurity {
    ObservedSecurity {
        capabilities: capabilities(config, engine),
        privileged: Some(config.privileged),
        seccomp: Some(docker_compat::seccomp(&config.security_opt)),
        no_new_privileges: Some(docker_compat::no_new_privileges(&config.security_opt)),
    }
}

/// Podman's default set is configured, and its compatible API does not say it.
fn capabilities(config: &ContainerHostConfig, engine: Engine) -> Option<Vec<String>> {
    if engine == Engine::Podman {
        return None;
    }
    let (added, dropped) = (names(&config.cap_add), names(&config.cap_drop));
    let all = || CAPABILITIES.iter().map(|name| (*name).to_owned());
    if config.privileged {
        return Some(all().collect());
    }
    let mut kept: BTreeSet<String> = match (added.contains(ALL), dropped.contains(ALL)) {
        (true, _) => all().collect(),
        (false, true) => BTreeSet::new(),
        (false, false) => DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
    };
    kept.retain(|name| !dropped.contains(name));
    kept.extend(added.into_iter().filter(|name| name != ALL));
    Some(kept.into_iter().collect())
}

fn names(list: &[String]) -> BTreeSet<String> {
    list.iter().map(|name| name.to_uppercase().trim_start_matches("CAP_").to_owned()).collect()
}

pub(super) fn restart(policy: &ContainerRestart) -> String {
    docker_compat::restart(&policy.name, u64::try_from(policy.maximum_retry_count).unwrap_or_default())
}

/// What has no key in a service file.
pub(super) fn beyond(config: &ContainerHostConfig, engine: Engine) -> Vec<String> {
    let requested: usize = config.device_requests.iter().map(|request| request.device_ids.len().max(1)).sum();
    let told = if engine == Engine::Docker { devices(config).len() } else { 0 };
    let unmodelled = Unmodelled {
        security: &config.security_opt,
        namespaces: &[
            ("pid", &config.pid_mode),
            ("ipc", &config.ipc_mode),
            ("uts", &config.uts_mode),
            ("user", &config.userns_mode),
        ],
        counted: &[("devices", (config.devices.len() + requested).saturating_sub(told))],
    };
    unmodelled.told()
}

/// Those that a plan can ask for, sorted.
pub(super) fn devices(config: &ContainerHostConfig) -> Vec<Device> {
    let paths = config.devices.iter().map(|device| {
        let ContainerDevice { path_on_host, path_in_container, cgroup_permissions } = device;
        Device::Path {
            path: path_on_host.clone(),
            target: path_in_container.clone(),
            access: cgroup_permissions.clone(),
        }
    });
    let named = config.device_requests.iter().filter(|request| request.driver == CDI);
    let names = named.flat_map(|request| &request.device_ids).map(|name| Device::Cdi { name: name.clone() });
    let mut devices: Vec<Device> = paths.chain(names).filter(|device| device.check().is_ok()).collect();
    devices.sort();
    devices
}

/// How much of the log is kept, as far as it is said.
pub(super) fn logs(log: &ContainerLog) -> LogLimits {
    let value = |name: &str| log.config.get(name);
    LogLimits {
        max_size: value("max-size").and_then(|text| text.parse().ok()),
        max_files: value("max-file").and_then(|text| text.parse().ok()),
    }
}

pub(super) fn addresses(list: &[String]) -> Vec<IpAddr> {
    list.iter().filter_map(|text| text.parse().ok()).collect()
}

pub(super) fn seconds(number: i64) -> Option<Millis> {
    u64::try_from(number).ok().map(|seconds| Millis(seconds.saturating_mul(1000)))
}

/// Dockerd keeps apart what was asked for, Podman's API does not.
pub(super) fn is_given(config: &ContainerHostConfig, target: &str, engine: Engine) -> bool {
    let bound = |bind: &String| bind.split(':').nth(1) == Some(target);
    engine == Engine::Docker
        && (config.mounts.iter().any(|mount| mount.target == target)
            || config.tmpfs.contains_key(target)
            || config.binds.iter().any(bound))
}

/// The host path as it was asked for: an engine in a virtual machine tells its own.
pub(super) fn asked_source(config: &ContainerHostConfig, target: &str) -> Option<String> {
    let asked = config.mounts.iter().find(|mount| mount.kind == "bind" && mount.target == target);
    asked.map(|mount| mount.source.clone()).filter(|source| !source.is_empty())
}

pub(super) fn without_own(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.retain(|key, _| !key.starts_with(OF_THE_DESKTOP));
    labels
}

/// The word that takes an image's entrypoint away is no entrypoint.
pub(super) fn entrypoint(words: Vec<String>) -> Vec<String> {
    if words == [""] { Vec::new() } else { words }
}

/// What an image says of its process.
pub(crate) fn image_config(config: ContainerConfig) -> ImageConfig {
    let some = |text: String| (!text.is_empty()).then_some(text);
    ImageConfig {
        entrypoint: entrypoint(config.entrypoint),
        command: config.cmd,
        env: config.env.iter().map(|entry| pair(entry)).collect(),
        user: some(config.user),
        workdir: some(config.working_dir),
        stop_signal: docker_compat::signal(&config.stop_signal),
        labels: config.labels,
        health: ImageHealth::read(&config.healthcheck),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let config =
            ContainerHostConfig { cap_add: owned(add), cap_drop: owned(drop), ..ContainerHostConfig::default() };
        assert_eq!(capabilities(&config, Engine::Podman), None, "it does not report its default");
        capabilities(&config, Engine::Docker).unwrap_or_default()
    }

    #[test]
    fn capabilities_are_the_default_s_changed() {
        assert_eq!(of(&[], &[]), DEFAULT_CAPABILITIES);
        let changed = of(&["CAP_NET_ADMIN"], &["kill"]);
        assert!(changed.contains(&"NET_ADMIN".to_owned()) && !changed.contains(&"KILL".to_owned()), "{changed:?}");
        assert_eq!(of(&["NET_RAW"], &["ALL"]), ["NET_RAW"]);
        assert_eq!(of(&["ALL"], &["KILL"]).len(), CAPABILITIES.len() - 1);
    }
}

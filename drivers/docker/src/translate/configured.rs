//! How a container was set up beyond what is compared: for whoever takes it over.

use std::collections::BTreeMap;

use hythe_runtime::{Configured, ImageConfig};
use hythe_spec::permissions::STANDARD_CAPABILITIES;
use hythe_spec::{Millis, Restart, Signal};

use super::Engine;
use crate::native::{ContainerConfig, ContainerHostConfig, ContainerRestart};

/// What dockerd gives unasked.
const DOCKER_CAPABILITIES: [&str; 14] = [
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

pub(super) fn configured(config: &ContainerConfig, host: &ContainerHostConfig, engine: Engine) -> Configured {
    let default = match engine {
        Engine::Docker => DOCKER_CAPABILITIES.as_slice(),
        Engine::Podman => STANDARD_CAPABILITIES.as_slice(),
    };
    let has = |word: &str| host.security_opt.iter().any(|option| option.starts_with(word));
    Configured {
        network_mode: host.network_mode.clone(),
        engine_restart: restart(&host.restart_policy),
        auto_remove: host.auto_remove,
        privileged: host.privileged,
        capabilities: Configured::capabilities_of(default, &host.cap_add, &host.cap_drop),
        no_new_privileges: has("no-new-privileges"),
        unconfined: has("seccomp=unconfined"),
        tty: config.tty,
        stdin: config.open_stdin,
        init: host.init,
        stop_signal: signal(&config.stop_signal),
        stop_grace: config.stop_timeout.map(|seconds| Millis(seconds.saturating_mul(1000))),
        dns: host.dns.iter().filter_map(|text| text.parse().ok()).collect(),
        extra_hosts: host.extra_hosts.iter().filter_map(|text| text.parse().ok()).collect(),
        beyond: beyond(host),
    }
}

fn restart(policy: &ContainerRestart) -> Option<Restart> {
    match policy.name.as_str() {
        "always" => Some(Restart::Always),
        "unless-stopped" => Some(Restart::UnlessStopped),
        "on-failure" => {
            let max_retries = Some(policy.maximum_retry_count).filter(|count| *count > 0);
            Some(Restart::OnFailure { max_retries })
        }
        _ => None,
    }
}

fn signal(value: &serde_json::Value) -> Option<Signal> {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok()).filter(|number| *number > 0);
    number.map(Signal).or_else(|| value.as_str()?.parse().ok())
}

/// What has no key in a service file.
fn beyond(host: &ContainerHostConfig) -> Vec<String> {
    let mut words = Vec::new();
    let spoken =
        |option: &&String| ["no-new-privileges", "seccomp=unconfined"].iter().all(|known| !option.starts_with(known));
    words.extend(host.security_opt.iter().filter(spoken).map(|option| {
        // A whole profile stands in the option.
        let end = option.char_indices().nth(60).map_or(option.len(), |(at, _)| at);
        format!("security option `{}`", &option[..end])
    }));
    let modes =
        [("pid", &host.pid_mode), ("ipc", &host.ipc_mode), ("uts", &host.uts_mode), ("user", &host.userns_mode)];
    let usual = ["", "private", "shareable"];
    let unusual = modes.into_iter().filter(|(_, mode)| !usual.contains(&mode.as_str()));
    words.extend(unusual.map(|(kind, mode)| format!("{kind} namespace `{mode}`")));
    let counted = [
        ("devices", host.devices.len() + host.device_requests.len()),
        ("sysctls", host.sysctls.len()),
        ("additional groups", host.group_add.len()),
    ];
    words.extend(counted.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")));
    words
}

/// What an image says of its process.
pub(crate) fn image_config(config: ContainerConfig) -> ImageConfig {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let pair = |entry: &String| entry.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let env: BTreeMap<String, String> = config.env.iter().filter_map(pair).collect();
    ImageConfig {
        entrypoint: config.entrypoint,
        command: config.cmd,
        env,
        user: some(config.user),
        workdir: some(config.working_dir),
        stop_signal: signal(&config.stop_signal),
        labels: config.labels,
    }
}

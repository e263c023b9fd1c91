//! How a container was set up beyond what is compared: for whoever takes it over.

use hythe_runtime::Configured;
use hythe_spec::permissions::STANDARD_CAPABILITIES;
use hythe_spec::{Millis, Restart, Signal};

use super::container::{Container, HostConfig, RestartDocument};

pub(super) fn configured(container: &Container) -> Configured {
    let Container { config, host_config: host, pod, bounding_caps, .. } = container;
    let has = |word: &str| host.security_opt.iter().any(|option| option.starts_with(word));
    Configured {
        network_mode: host.network_mode.clone(),
        engine_restart: restart(&host.restart_policy),
        auto_remove: host.auto_remove,
        privileged: host.privileged,
        capabilities: match bounding_caps {
            // What it adds and drops is told against a default of its own making.
            Some(all) => Configured::capabilities_of(&[], all, &[]),
            None => Configured::capabilities_of(&STANDARD_CAPABILITIES, &host.cap_add, &host.cap_drop),
        },
        no_new_privileges: has("no-new-privileges"),
        unconfined: has("seccomp=unconfined"),
        tty: config.tty,
        stdin: config.open_stdin,
        init: host.init,
        stop_signal: signal(&config.stop_signal),
        stop_grace: config.stop_timeout.map(|seconds| Millis(seconds.saturating_mul(1000))),
        dns: host.dns.iter().filter_map(|text| text.parse().ok()).collect(),
        extra_hosts: host.extra_hosts.iter().filter_map(|text| text.parse().ok()).collect(),
        beyond: beyond(host, pod),
    }
}

fn restart(policy: &RestartDocument) -> Option<Restart> {
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

/// A number, or from podman 5 on a name; 0 is none.
pub(crate) fn signal(value: &serde_json::Value) -> Option<Signal> {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok()).filter(|number| *number > 0);
    number.map(Signal).or_else(|| value.as_str()?.parse().ok())
}

/// What has no key in a service file.
fn beyond(host: &HostConfig, pod: &str) -> Vec<String> {
    let mut words: Vec<String> =
        Some(pod).filter(|pod| !pod.is_empty()).map(|pod| format!("pod `{pod}`")).into_iter().collect();
    let spoken =
        |option: &&String| ["no-new-privileges", "seccomp=unconfined"].iter().all(|known| !option.starts_with(known));
    words.extend(host.security_opt.iter().filter(spoken).map(|option| format!("security option `{option}`")));
    let modes =
        [("pid", &host.pid_mode), ("ipc", &host.ipc_mode), ("uts", &host.uts_mode), ("user", &host.userns_mode)];
    let usual = ["", "private", "shareable"];
    let unusual = modes.into_iter().filter(|(_, mode)| !usual.contains(&mode.as_str()));
    words.extend(unusual.map(|(kind, mode)| format!("{kind} namespace `{mode}`")));
    let counted = [("devices", host.devices.len()), ("additional groups", host.group_add.len())];
    words.extend(counted.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")));
    words
}

//! What of a container's configuration no service file can say: for whoever takes it over.

use super::container::HostConfig;

/// What has no key in a service file.
pub(super) fn beyond(host: &HostConfig, pod: &str) -> Vec<String> {
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

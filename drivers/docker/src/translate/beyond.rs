//! What of a container's configuration no service file can say: for whoever takes it over.

use crate::native::ContainerHostConfig;

/// What has no key in a service file.
pub(super) fn beyond(host: &ContainerHostConfig) -> Vec<String> {
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

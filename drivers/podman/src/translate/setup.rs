//! How an inspected container was set up, in the seam's words: network, security, hosts, who asked for what.

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::docker_compat::Unmodelled;
use hythe_runtime::{ObservedSecurity, docker_compat};
use hythe_spec::Device;

use super::plan::FILE_NAMES;
use crate::api_types::{Container, HostConfig};

const INIT: &str = "io.podman.annotations.init";

pub(super) fn security(host: &HostConfig, bounding: Option<&[String]>) -> ObservedSecurity {
    ObservedSecurity {
        capabilities: bounding.map(names),
        privileged: Some(host.privileged),
        seccomp: Some(docker_compat::seccomp(&host.security_opt)),
        no_new_privileges: Some(docker_compat::no_new_privileges(&host.security_opt)),
    }
}

fn names(capabilities: &[String]) -> Vec<String> {
    let mut names: Vec<String> = capabilities.iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    names.sort();
    names
}

/// What has no key in a service file.
pub(super) fn beyond(host: &HostConfig, pod: &str, made_by: &[String]) -> Vec<String> {
    // Podman tells which nodes there are, and only its command line which were asked for.
    let asked = values_of(made_by, &["--device"]);
    let devices = if made_by.is_empty() { host.devices.len() } else { asked.len() - devices_of(&asked).len() };
    let unmodelled = Unmodelled {
        security: &host.security_opt,
        namespaces: &[
            ("pid", &host.pid_mode),
            ("ipc", &host.ipc_mode),
            ("uts", &host.uts_mode),
            ("user", &host.userns_mode),
        ],
        counted: &[("devices", devices)],
    };
    let pod = (!pod.is_empty()).then(|| format!("pod `{pod}`"));
    pod.into_iter().chain(unmodelled.told()).collect()
}

/// Each version says it in another place, or only runs it.
pub(super) fn has_init(container: &Container) -> bool {
    let annotated = container.config.annotations.get(INIT).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    annotated || container.host_config.init || is_init(&container.path)
}

pub(super) fn is_init(path: &str) -> bool {
    path.ends_with("/podman-init") || path.ends_with("/catatonit")
}

/// Names of variables on the command line that made it; a file of variables names them nowhere but where it is ours.
pub(super) fn explicit_env(words: &[String]) -> BTreeSet<String> {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let mut names = BTreeSet::new();
    let mut words = options(words).peekable();
    while let Some(word) = words.next() {
        let pair = match word {
            "-e" | "--env" => words.peek().copied(),
            _ if word.starts_with("--env=") => word.strip_prefix("--env="),
            _ if word.starts_with("--") => None,
            _ => word.strip_prefix("-e"),
        };
        names.extend(pair.map(name));
        names.extend(word.strip_prefix(FILE_NAMES).into_iter().flat_map(|names| names.split(':')).map(str::to_owned));
    }
    names
}

/// Kernel parameters on the command line that made it; `None`: there was none.
pub(super) fn given_sysctls(words: &[String]) -> Option<BTreeMap<String, String>> {
    let pairs = values_of(words, &["--sysctl"]).into_iter().filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    (!words.is_empty()).then(|| pairs.collect())
}

/// Devices on the command line that made it, sorted; `None`: there was none.
pub(super) fn given_devices(words: &[String]) -> Option<Vec<Device>> {
    (!words.is_empty()).then(|| devices_of(&values_of(words, &["--device"])))
}

fn devices_of(words: &[&str]) -> Vec<Device> {
    let mut devices: Vec<Device> = words.iter().filter_map(|word| word.parse().ok()).collect();
    devices.sort();
    devices
}

/// What follows these options on a command line, after `=` or as the next word.
fn values_of<'a>(words: &'a [String], names: &[&str]) -> Vec<&'a str> {
    let words: Vec<&str> = options(words).collect();
    let value = |(at, word): (usize, &&'a str)| {
        let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
        names.contains(&name).then(|| value.or_else(|| words.get(at + 1).copied())).flatten()
    };
    words.iter().enumerate().filter_map(value).collect()
}

const MOUNTING: [&str; 4] = ["--volume", "--tmpfs", "--mount", "-v"];

/// Whether the command line that made it names this target in a mount.
pub(super) fn is_given(words: &[String], target: &str) -> bool {
    given_mounts(words).into_iter().any(|(option, value)| target_of(option, value) == Some(target))
}

/// The memory file systems of the command line that made it: target, and options as `--tmpfs` has them. Podman tells none of a running container
/// whose target a link of the image leads elsewhere.
pub(super) fn given_tmpfs(words: &[String]) -> Vec<(&str, String)> {
    let tmpfs = |option: &str, value: &str| match option {
        "--tmpfs" => Some(value.split_once(':').map_or(String::new(), |(_, options)| options.to_owned())),
        "--mount" => value.split(',').any(|field| field == "type=tmpfs").then(|| tmpfs_options(value)),
        _ => None,
    };
    let all = given_mounts(words).into_iter();
    all.filter_map(|(option, value)| Some((target_of(option, value)?, tmpfs(option, value)?))).collect()
}

/// From the fields of a `--mount` of a memory file system.
fn tmpfs_options(fields: &str) -> String {
    let kept = fields.split(',').filter(|field| !field.contains('=') || field.starts_with("tmpfs-"));
    kept.map(|field| field.trim_start_matches("tmpfs-")).collect::<Vec<_>>().join(",")
}

/// Every option of the command line that mounts, with its value.
fn given_mounts(words: &[String]) -> Vec<(&'static str, &str)> {
    let words: Vec<&str> = options(words).collect();
    let mount = |at: usize| {
        let word: &str = words.get(at)?;
        let (option, rest) = MOUNTING.iter().find_map(|option| Some((*option, word.strip_prefix(option)?)))?;
        let value = if rest.is_empty() { words.get(at + 1).copied() } else { Some(rest.trim_start_matches('=')) };
        Some((option, value?))
    };
    (0..words.len()).filter_map(mount).collect()
}

fn target_of<'a>(option: &str, value: &'a str) -> Option<&'a str> {
    match option {
        "--tmpfs" => value.split(':').next(),
        "--mount" => value.split(',').find_map(|field| {
            let (key, value) = field.split_once('=')?;
            ["dst", "target", "destination"].contains(&key).then_some(value)
        }),
        // A volume without a name has no source.
        _ => value.split(':').nth(1).or(Some(value)),
    }
}

/// The words after podman's verb.
fn options(words: &[String]) -> impl Iterator<Item = &str> {
    let verb = words.iter().position(|word| word == "run" || word == "create").unwrap_or(words.len());
    words.iter().skip(verb + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_which_parameters_and_devices_were_given() {
        let words = words(
            "podman --log-level=info create --sysctl=net.core.somaxconn=9 --sysctl kernel.sem=1=2 --device /dev/fuse:r --device=x.com/y=z --device=kvm image",
        );
        let sysctls = [("kernel.sem", "1=2"), ("net.core.somaxconn", "9")];
        let given = given_sysctls(&words).unwrap_or_default();
        assert_eq!(given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), sysctls);
        let devices: Vec<String> = given_devices(&words).iter().flatten().map(ToString::to_string).collect();
        assert_eq!(devices, ["/dev/fuse:/dev/fuse:r", "x.com/y=z"]);
        assert_eq!((given_sysctls(&[]), given_devices(&[])), (None, None));
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_says_what_was_given() {
        let line = "podman --root /env run -d -e A=1 --env B --env=C=x=y -eD=2 --env-file f --annotation=hythe.env=E:F -v v:/data -v/tmp:/m \
                    --tmpfs=/t:ro --mount type=bind,src=/a,dst=/b image -c";
        let words = words(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(explicit_env(&words).into_iter().collect::<Vec<_>>(), ["A", "B", "C", "D", "E", "F"]);
        let given = ["/data", "/m", "/t", "/b", "/env", "/tmp", "/a"].map(|target| is_given(&words, target));
        assert_eq!(given, [true, true, true, true, false, false, false]);
    }

    #[test]
    fn the_command_line_says_which_tmpfs_were_given() {
        let line = "podman create --tmpfs /a --tmpfs=/b:rw,size=1m --mount type=tmpfs,noexec,notmpcopyup,tmpfs-mode=0700,tmpfs-size=5,dst=/c,ro \
                    --mount type=bind,src=/t,dst=/d -v /tmp:/e image";
        let words = words(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        let expected = [("/a", ""), ("/b", "rw,size=1m"), ("/c", "noexec,notmpcopyup,mode=0700,size=5,ro")];
        assert_eq!(given_tmpfs(&words), expected.map(|(target, options)| (target, options.to_owned())));
    }
}

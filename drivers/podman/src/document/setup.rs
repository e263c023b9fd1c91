//! How an inspected container was set up, in the seam's words: network, security, hosts, who asked for what.

use std::collections::BTreeSet;

use hythe_runtime::ObservedSecurity;
use hythe_runtime::words::{self, Beyond};

use super::container::{Container, HostConfig};

const INIT: &str = "io.podman.annotations.init";

pub(super) fn security(host: &HostConfig, bounding: Option<&[String]>) -> ObservedSecurity {
    ObservedSecurity {
        capabilities: bounding.map(names),
        privileged: Some(host.privileged),
        seccomp: Some(words::seccomp(&host.security_opt)),
        no_new_privileges: Some(words::no_new_privileges(&host.security_opt)),
    }
}

fn names(capabilities: &[String]) -> Vec<String> {
    let mut names: Vec<String> = capabilities.iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    names.sort();
    names
}

/// What has no key in a service file.
pub(super) fn beyond(host: &HostConfig, pod: &str) -> Vec<String> {
    let beyond = Beyond {
        security: &host.security_opt,
        namespaces: &[
            ("pid", &host.pid_mode),
            ("ipc", &host.ipc_mode),
            ("uts", &host.uts_mode),
            ("user", &host.userns_mode),
        ],
        counted: &[("devices", host.devices.len()), ("additional groups", host.group_add.len())],
    };
    let pod = (!pod.is_empty()).then(|| format!("pod `{pod}`"));
    pod.into_iter().chain(beyond.told()).collect()
}

/// Each version says it in another place, or only runs it.
pub(super) fn has_init(container: &Container) -> bool {
    let annotated = container.config.annotations.get(INIT).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    annotated || container.host_config.init || is_init(&container.path)
}

pub(super) fn is_init(path: &str) -> bool {
    path.ends_with("/podman-init") || path.ends_with("/catatonit")
}

/// Names of variables on the command line that made it; a file of variables names them nowhere, so then none is known.
pub(super) fn given_env(words: &[String]) -> BTreeSet<String> {
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
    }
    names
}

const MOUNTING: [&str; 4] = ["--volume", "--tmpfs", "--mount", "-v"];

/// Whether the command line that made it names this target in a mount.
pub(super) fn is_given(words: &[String], target: &str) -> bool {
    let words: Vec<&str> = options(words).collect();
    words.iter().enumerate().any(|(at, word)| {
        let Some((option, rest)) = MOUNTING.iter().find_map(|option| Some((*option, word.strip_prefix(option)?)))
        else {
            return false;
        };
        let value = if rest.is_empty() { words.get(at + 1).copied() } else { Some(rest.trim_start_matches('=')) };
        value.and_then(|value| target_of(option, value)) == Some(target)
    })
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

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_says_what_was_given() {
        let line = "podman --root /env run -d -e A=1 --env B --env=C=x=y -eD=2 --env-file f -v v:/data -v/tmp:/m \
                    --tmpfs=/t:ro --mount type=bind,src=/a,dst=/b image -c";
        let words = words(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(given_env(&words).into_iter().collect::<Vec<_>>(), ["A", "B", "C", "D"]);
        let given = ["/data", "/m", "/t", "/b", "/env", "/tmp", "/a"].map(|target| is_given(&words, target));
        assert_eq!(given, [true, true, true, true, false, false, false]);
    }
}

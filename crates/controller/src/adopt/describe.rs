//! A component that says what a container is: what it was observed to be, less what its image says anyway. Pure.

use std::collections::BTreeMap;

use hythe_runtime::{Error, ErrorKind, ImageConfig, NetworkMode, Observed, ObservedMount, ObservedSeccomp};
use hythe_spec::{
    ByteSize, Component, ImageRef, Mount, MountSource, Network, Permissions, Resources, Restart, Seccomp, Signal,
};

/// Variables that engines set by themselves.
const ENGINE_S: [&str; 4] = ["HOSTNAME", "HOME", "TERM", "container"];
/// What engines set where the image names no search path.
const USUAL_PATHS: [&str; 2] =
    ["/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "/usr/local/bin:/usr/bin:/bin"];
/// Sizes of `/dev/shm` that engines give unasked.
const USUAL_SHM: [u64; 2] = [64 << 20, 65_536_000];
/// Number of processes that an engine allows unasked.
const USUAL_PIDS: u32 = 2048;
const PROPAGATIONS: [&str; 5] = ["private", "rshared", "shared", "rslave", "slave"];

/// The component, and what it cannot say.
pub(super) fn describe(
    name: &str,
    seen: &Observed,
    image: &ImageRef,
    config: Option<&ImageConfig>,
) -> Result<(Component, Vec<String>), Error> {
    let none = ImageConfig::default();
    let base = config.unwrap_or(&none);
    let mut lost: Vec<String> = seen.beyond.clone();
    let (entrypoint, command) = words(seen, config);
    let mut mounts: Vec<Mount> = seen.mounts.iter().filter_map(|seen| mount(seen, &mut lost)).collect();
    mounts.sort();
    let component = Component {
        entrypoint,
        command,
        env: env(seen, base),
        ports: seen.ports.clone(),
        mounts,
        user: seen.user.clone().filter(|user| base.user.as_ref() != Some(user)),
        workdir: seen.workdir.clone().filter(|dir| base.workdir.as_ref() != Some(dir) && dir != "/"),
        hostname: seen.hostname.clone().filter(|host| host != name && seen.network_mode != NetworkMode::Host),
        network: network(seen)?,
        dns: seen.dns.clone().unwrap_or_default(),
        extra_hosts: seen.extra_hosts.clone().unwrap_or_default(),
        restart: engine_restart(seen).unwrap_or(Restart::No),
        stop_signal: seen.stop_signal.filter(|signal| *signal != base.stop_signal.unwrap_or(Signal::TERM)),
        stop_grace: seen.stop_grace.unwrap_or(Component::DEFAULT_STOP_GRACE),
        resources: resources(&seen.resources),
        read_only: seen.read_only,
        init: seen.init.unwrap_or_default(),
        tty: seen.tty.unwrap_or_default(),
        stdin: seen.stdin.unwrap_or_default(),
        labels: labels(seen, base),
        permissions: permissions(seen),
        ..Component::new(name, image.clone())
    };
    Ok((component, lost))
}

/// An entrypoint of one's own drops the image's command; with the image's own, only another command is said.
fn words(seen: &Observed, config: Option<&ImageConfig>) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let said = |words: &Vec<String>| Some(words.clone());
    match config {
        Some(image) if image.entrypoint == seen.entrypoint => {
            (None, said(&seen.command).filter(|command| *command != image.command))
        }
        Some(_) => (said(&seen.entrypoint), said(&seen.command).filter(|command| !command.is_empty())),
        None => (
            said(&seen.entrypoint).filter(|words| !words.is_empty()),
            said(&seen.command).filter(|words| !words.is_empty()),
        ),
    }
}

fn env(seen: &Observed, image: &ImageConfig) -> BTreeMap<String, String> {
    let is_own = |key: &String, value: &String| {
        let usual = key == "PATH" && USUAL_PATHS.contains(&value.as_str()) && !image.env.contains_key(key);
        image.env.get(key) != Some(value) && !ENGINE_S.contains(&key.as_str()) && !usual
    };
    seen.env.iter().filter(|(key, value)| is_own(key, value)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The user's own: not the image's, and not what the tool that made it put there.
fn labels(seen: &Observed, image: &ImageConfig) -> BTreeMap<String, String> {
    let is_own =
        |key: &String, value: &String| image.labels.get(key) != Some(value) && !hythe_runtime::foreign::is_theirs(key);
    let built = |key: &String| key.starts_with("io.buildah.");
    seen.labels
        .iter()
        .filter(|(key, value)| is_own(key, value) && !built(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// How its engine starts it again by itself.
pub(super) fn engine_restart(seen: &Observed) -> Option<Restart> {
    seen.engine_restart.as_ref()?.parse().ok().filter(|policy| *policy != Restart::No)
}

fn network(seen: &Observed) -> Result<Network, Error> {
    let mode = match &seen.network_mode {
        NetworkMode::Host => return Ok(Network::Host),
        NetworkMode::None => return Ok(Network::None),
        NetworkMode::Bridged => "bridged",
        NetworkMode::Other(word) => word.as_str(),
    };
    if matches!(seen.network_mode, NetworkMode::Other(_)) || seen.networks.is_empty() {
        let text = format!("the network of `{}` cannot be described: it is `{mode}`", seen.name);
        return Err(Error::new(ErrorKind::Unsupported, "adopt", text)
            .hint("only the host's network, none, and named networks can be taken over"));
    }
    Ok(Network::Named { names: seen.networks.iter().map(|network| network.name.clone()).collect() })
}

fn mount(seen: &ObservedMount, lost: &mut Vec<String>) -> Option<Mount> {
    let source = match seen.kind.as_str() {
        "volume" => {
            if is_anonymous(&seen.source) {
                lost.push(format!("volume at `{}` without a name, which goes with the container", seen.target));
            }
            MountSource::Volume { name: seen.source.clone(), external: true }
        }
        "bind" => MountSource::Bind {
            path: seen.source.clone(),
            propagation: seen.options.iter().find(|word| PROPAGATIONS.contains(&word.as_str())).cloned(),
            selinux: seen.options.iter().find_map(|word| match word.as_str() {
                "z" => Some('z'),
                "Z" => Some('Z'),
                _ => None,
            }),
        },
        "tmpfs" => {
            let value = |key: &str| seen.options.iter().find_map(|word| word.strip_prefix(key));
            MountSource::Tmpfs {
                size: value("size=").and_then(|text| text.parse::<ByteSize>().ok()),
                mode: value("mode=").and_then(|text| u32::from_str_radix(text, 8).ok()),
            }
        }
        other => {
            lost.push(format!("mount of kind `{other}` at `{}`", seen.target));
            return None;
        }
    };
    Some(Mount { target: seen.target.clone(), source, read_only: seen.read_only })
}

/// Engines name by 64 hexadecimal digits what nobody named.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn resources(seen: &Resources) -> Resources {
    Resources {
        pids: seen.pids.filter(|pids| *pids != USUAL_PIDS),
        shm_size: seen.shm_size.filter(|size| !USUAL_SHM.contains(&size.0)),
        ..seen.clone()
    }
}

fn permissions(seen: &Observed) -> Permissions {
    let set = &seen.security;
    let standard = Permissions::standard();
    let own = Permissions {
        capabilities: set.capabilities.clone().unwrap_or_else(|| standard.capabilities.clone()),
        seccomp: match set.seccomp {
            Some(ObservedSeccomp::Unconfined) => Seccomp::Unconfined,
            Some(ObservedSeccomp::Default | ObservedSeccomp::Profile) | None => Seccomp::Default,
        },
        no_new_privileges: set.no_new_privileges.unwrap_or_default(),
        privileged: set.privileged.unwrap_or_default(),
        ..standard.clone()
    };
    if own == standard { own } else { Permissions { profile: "inline".to_owned(), ..own } }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_runtime::{InstanceId, ObservedNetwork, ObservedSecurity, State};

    use super::*;

    fn seen() -> Observed {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
        };
        Observed {
            id: InstanceId("1".to_owned()),
            name: "web".to_owned(),
            labels: pairs(&[("mine", "1"), ("of.image", "1"), (hythe_runtime::foreign::COMPOSE_PROJECT, "shop")]),
            image: "localhost/web:1".to_owned(),
            state: State::Running,
            networks: vec![ObservedNetwork { name: "bridge".to_owned(), addresses: Vec::new(), aliases: None }],
            ports: vec!["127.0.0.1:8080:80".parse().unwrap()],
            mounts: vec![
                ObservedMount {
                    target: "/data".to_owned(),
                    kind: "volume".to_owned(),
                    source: "d".to_owned(),
                    read_only: false,
                    options: Vec::new(),
                    given: false,
                },
                ObservedMount {
                    target: "/t".to_owned(),
                    kind: "tmpfs".to_owned(),
                    source: String::new(),
                    read_only: false,
                    options: strings(&["noexec", "size=1m", "mode=700"]),
                    given: false,
                },
            ],
            entrypoint: strings(&["/entry"]),
            command: strings(&["serve"]),
            env: pairs(&[("PATH", USUAL_PATHS[0]), ("HOSTNAME", "x"), ("OF_IMAGE", "1"), ("CHANGED", "mine")]),
            user: Some("app".to_owned()),
            workdir: Some("/".to_owned()),
            hostname: Some("web".to_owned()),
            resources: Resources { pids: Some(2048), shm_size: Some(ByteSize(65_536_000)), ..Resources::default() },
            security: ObservedSecurity {
                capabilities: Some(Permissions::standard().capabilities),
                no_new_privileges: Some(true),
                ..ObservedSecurity::default()
            },
            stop_signal: Some(Signal::TERM),
            ..Observed::default()
        }
    }

    fn image() -> (ImageRef, ImageConfig) {
        let config = ImageConfig {
            entrypoint: vec!["/entry".to_owned()],
            command: vec!["help".to_owned()],
            env: BTreeMap::from([
                ("OF_IMAGE".to_owned(), "1".to_owned()),
                ("CHANGED".to_owned(), "image's".to_owned()),
            ]),
            user: Some("app".to_owned()),
            labels: BTreeMap::from([("of.image".to_owned(), "1".to_owned())]),
            ..ImageConfig::default()
        };
        ("localhost/web:1".parse().unwrap(), config)
    }

    #[test]
    fn what_the_image_and_the_engine_say_is_left_out() {
        let (reference, config) = image();
        let (component, lost) = describe("web", &seen(), &reference, Some(&config)).unwrap();
        let mut expected = Component::new("web", reference);
        expected.command = Some(vec!["serve".to_owned()]);
        expected.env.insert("CHANGED".to_owned(), "mine".to_owned());
        expected.labels.insert("mine".to_owned(), "1".to_owned());
        expected.network = Network::Named { names: vec!["bridge".to_owned()] };
        expected.ports = vec!["127.0.0.1:8080:80".parse().unwrap()];
        expected.restart = Restart::No;
        expected.mounts = vec![
            Mount {
                target: "/data".to_owned(),
                source: MountSource::Volume { name: "d".to_owned(), external: true },
                read_only: false,
            },
            Mount::parse_tmpfs("/t:size=1m,mode=700").unwrap(),
        ];
        assert_eq!((component, lost), (expected, Vec::new()));
    }

    #[test]
    fn without_the_image_s_word_everything_is_said() {
        let (component, _) = describe("web", &seen(), &image().0, None).unwrap();
        assert_eq!(component.entrypoint.unwrap(), ["/entry"]);
        assert_eq!(component.env.keys().collect::<Vec<_>>(), ["CHANGED", "OF_IMAGE"]);
        assert_eq!(component.user.as_deref(), Some("app"));
    }

    #[test]
    fn what_no_file_can_say_is_told_or_refused() {
        let (reference, config) = image();
        let mut odd = seen();
        odd.beyond = vec!["1 devices".to_owned()];
        odd.mounts[0].source = "a".repeat(64);
        odd.mounts[1].kind = "image".to_owned();
        let (component, lost) = describe("web", &odd, &reference, Some(&config)).unwrap();
        assert_eq!((lost.len(), component.mounts.len()), (3, 1), "{lost:?}");
        odd.network_mode = NetworkMode::Other("container:x".to_owned());
        assert_eq!(describe("web", &odd, &reference, None).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn what_it_may_do_is_kept_as_it_is() {
        let mut wide = seen();
        wide.security.no_new_privileges = Some(false);
        wide.security.capabilities.get_or_insert_default().push("NET_RAW".to_owned());
        let (component, _) = describe("web", &wide, &image().0, None).unwrap();
        let permissions = component.permissions;
        assert!(permissions.profile == "inline" && !permissions.no_new_privileges);
        assert!(permissions.capabilities.contains(&"NET_RAW".to_owned()));
    }
}

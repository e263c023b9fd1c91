//! A component that says what a container is: what it was observed to be, less what its image says anyway. Pure.

use std::collections::BTreeMap;

use hythe_runtime::labels::is_managers;
use hythe_runtime::{Error, ErrorKind, ImageConfig, NetworkMode, Observed, ObservedMount, ObservedSeccomp};
use hythe_spec::{
    ByteSize, Component, ImageRef, Mount, MountSource, Network, Permissions, Resources, Restart, Seccomp, Signal,
    TmpfsOptions, sysctl,
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

/// What a component cannot say or an engine does not, a warning each.
#[derive(Debug, Default)]
struct Warnings(Vec<String>);

impl Warnings {
    fn lost(&mut self, what: &str) {
        self.0.push(format!("no service file can say: {what}"));
    }

    /// What the engine reports, else the most restrictive value, with a warning.
    fn reported<T>(&mut self, what: &str, reported: Option<T>, assumed: T) -> T {
        reported.unwrap_or_else(|| {
            self.0.push(format!("its engine does not report {what}: a replacement has what a new instance has"));
            assumed
        })
    }
}

/// The component, and warnings of what it does not say.
pub(super) fn describe(
    name: &str,
    seen: &Observed,
    image: &ImageRef,
    config: Option<&ImageConfig>,
) -> Result<(Component, Vec<String>), Error> {
    let none = ImageConfig::default();
    let base = config.unwrap_or(&none);
    let mut warnings = Warnings::default();
    seen.unmodelled.iter().for_each(|what| warnings.lost(what));
    let (entrypoint, command) = words(seen, config);
    let mut mounts: Vec<Mount> = seen.mounts.iter().filter_map(|seen| mount(seen, &mut warnings)).collect();
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
        dns: warnings.reported("its name servers", seen.dns.clone(), Vec::new()),
        extra_hosts: warnings.reported("its extra hosts", seen.extra_hosts.clone(), Vec::new()),
        // Engines that do not say these count what they know of them among what no service file can say.
        dns_search: seen.dns_search.clone().unwrap_or_default(),
        dns_options: seen.dns_options.clone().unwrap_or_default(),
        group_add: seen.group_add.clone().unwrap_or_default(),
        sysctls: sysctls(seen, &mut warnings),
        devices: seen.devices.clone().unwrap_or_default(),
        restart: restart(seen, &mut warnings),
        stop_signal: seen.stop_signal.filter(|signal| *signal != base.stop_signal.unwrap_or(Signal::TERM)),
        stop_grace: seen.stop_grace.unwrap_or(Component::DEFAULT_STOP_GRACE),
        resources: resources(&seen.resources),
        read_only: seen.read_only,
        init: warnings.reported("whether an init is its pid 1", seen.init, false),
        tty: warnings.reported("whether it has a terminal", seen.tty, false),
        stdin: warnings.reported("whether its stdin is open", seen.stdin, false),
        labels: labels(seen, base),
        permissions: permissions(seen, &mut warnings),
        ..Component::new(name, image.clone())
    };
    Ok((component, warnings.0))
}

fn sysctls(seen: &Observed, warnings: &mut Warnings) -> BTreeMap<String, String> {
    let mut own = seen.sysctls.clone().unwrap_or_default();
    own.retain(|name, value| {
        let is_own = sysctl::check(name, value).is_ok();
        if !is_own {
            warnings.lost(&format!("kernel parameter `{name}`"));
        }
        is_own
    });
    own
}

fn restart(seen: &Observed, warnings: &mut Warnings) -> Restart {
    let policy = warnings.reported("whether it restarts it by itself", seen.engine_restart.as_deref(), "no");
    policy.parse().unwrap_or_else(|_| {
        warnings.lost(&format!("restart policy `{policy}`"));
        Restart::No
    })
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
    let is_own = |key: &String, value: &String| image.labels.get(key) != Some(value) && !is_managers(key);
    let built = |key: &String| key.starts_with("io.buildah.");
    seen.labels
        .iter()
        .filter(|(key, value)| is_own(key, value) && !built(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn network(seen: &Observed) -> Result<Network, Error> {
    let refused = |mode: &str| {
        let text = format!("the network of `{}` cannot be described: it is `{mode}`", seen.name);
        Err(Error::new(ErrorKind::Unsupported, "adopt", text)
            .hint("only the host's network, none, and named networks can be taken over"))
    };
    let names: Vec<String> = seen.networks.iter().map(|network| network.name.clone()).collect();
    match &seen.network_mode {
        NetworkMode::Host => Ok(Network::Host),
        NetworkMode::None => Ok(Network::None),
        NetworkMode::Other(word) if word.contains(':') || names.is_empty() => refused(word),
        NetworkMode::Networks if names.is_empty() => refused("bridged, without a network"),
        NetworkMode::Networks | NetworkMode::Other(_) => Ok(Network::Named { names }),
    }
}

fn mount(seen: &ObservedMount, warnings: &mut Warnings) -> Option<Mount> {
    let source = match seen.kind.as_str() {
        "volume" => {
            if is_anonymous(&seen.source) {
                warnings.lost(&format!("volume at `{}` without a name, which goes with the container", seen.target));
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
            let number = |key: &str| value(key).and_then(|text| text.parse().ok());
            let has = |word: &str| seen.options.iter().any(|option| option == word);
            let share = value("size=").and_then(|text| text.strip_suffix('%'));
            MountSource::Tmpfs {
                size: value("size=").and_then(|text| text.parse::<ByteSize>().ok()),
                mode: value("mode=").and_then(|text| u32::from_str_radix(text, 8).ok()),
                options: TmpfsOptions {
                    percent: share.and_then(|text| text.parse().ok()).filter(|share| (1..=100).contains(share)),
                    uid: number("uid="),
                    gid: number("gid="),
                    inodes: value("nr_inodes=").and_then(|text| text.parse().ok()).filter(|count| *count > 0),
                    exec: has("exec"),
                    suid: has("suid"),
                    dev: has("dev"),
                },
            }
        }
        other => {
            warnings.lost(&format!("mount of kind `{other}` at `{}`", seen.target));
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

fn permissions(seen: &Observed, warnings: &mut Warnings) -> Permissions {
    let set = &seen.security;
    let standard = Permissions::standard();
    // A filter of one's own stands among what no service file can say.
    let seccomp = match warnings.reported("its seccomp profile", set.seccomp, ObservedSeccomp::Default) {
        ObservedSeccomp::Unconfined => Seccomp::Unconfined,
        ObservedSeccomp::Default | ObservedSeccomp::Profile => Seccomp::Default,
    };
    let own = Permissions {
        capabilities: warnings.reported("its capabilities", set.capabilities.clone(), standard.capabilities.clone()),
        seccomp,
        no_new_privileges: warnings.reported("whether it may gain privileges", set.no_new_privileges, true),
        privileged: warnings.reported("whether it is privileged", set.privileged, false),
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
            labels: pairs(&[("mine", "1"), ("of.image", "1"), ("hythe.service", "shop")]),
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
            network_mode: NetworkMode::Networks,
            dns: Some(Vec::new()),
            extra_hosts: Some(Vec::new()),
            init: Some(false),
            tty: Some(false),
            stdin: Some(false),
            security: ObservedSecurity {
                capabilities: Some(Permissions::standard().capabilities),
                privileged: Some(false),
                seccomp: Some(ObservedSeccomp::Default),
                no_new_privileges: Some(true),
            },
            stop_signal: Some(Signal::TERM),
            engine_restart: Some("no".to_owned()),
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
    fn what_no_file_can_say_is_reported_or_refused() {
        let (reference, config) = image();
        let mut odd = seen();
        odd.unmodelled = vec!["1 devices".to_owned()];
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
        wide.security.capabilities.as_mut().unwrap().push("NET_RAW".to_owned());
        let (component, _) = describe("web", &wide, &image().0, None).unwrap();
        let permissions = component.permissions;
        assert!(permissions.profile == "inline" && !permissions.no_new_privileges);
        assert!(permissions.capabilities.contains(&"NET_RAW".to_owned()));
    }

    #[test]
    fn what_the_engine_does_not_say_is_read_as_the_least_and_warned_of() {
        let mut silent = seen();
        silent.security = ObservedSecurity::default();
        (silent.init, silent.engine_restart) = (None, None);
        let (component, warnings) = describe("web", &silent, &image().0, None).unwrap();
        assert_eq!(component.permissions, Permissions::standard());
        assert_eq!((component.init, component.restart, warnings.len()), (false, Restart::No, 6), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("does not report its capabilities")), "{warnings:?}");
    }

    #[test]
    fn the_engines_policy_becomes_the_components() {
        let with = |policy: &str| {
            let kept = Observed { engine_restart: Some(policy.to_owned()), ..seen() };
            let (component, warnings) = describe("web", &kept, &image().0, None).unwrap();
            (component.restart, warnings.len())
        };
        assert_eq!(with("on-failure:3"), (Restart::OnFailure { max_retries: Some(3) }, 0));
        assert_eq!(with("unless-stopped"), (Restart::UnlessStopped, 0));
        assert_eq!(with("sometimes"), (Restart::No, 1));
    }
}

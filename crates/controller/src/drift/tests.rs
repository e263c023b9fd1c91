#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::{
    Attachment, Identity, Image, ImageConfig, InstanceId, NetworkMode, Observed, ObservedMount, ObservedNetwork,
    ObservedSeccomp, ObservedSecurity, Plan, PlanNetwork, Security, State,
};
use hythe_spec::{ByteSize, Inbound, Millicores, Millis, Mount, MountSource, Port, Resources, Seccomp, Signal, Ulimit};
use serde_json::json;

use super::compare::compare;
use super::{Cause, Difference};

const IMAGE: &str = "localhost/web:1";
const IMAGE_ID: &str = "sha256:one";

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn ports(specs: &[&str]) -> Vec<Port> {
    specs.iter().flat_map(|spec| Port::parse_spec(spec).unwrap()).collect()
}

fn mount(target: &str, source: MountSource) -> Mount {
    Mount { target: target.to_owned(), source, read_only: false }
}

fn plan() -> Plan {
    let identity = Identity {
        owner: "me".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "hash".to_owned(),
    };
    let attachment = Attachment { network: "hythe-shop".to_owned(), aliases: strings(&["web", "shop-web"]) };
    Plan {
        identity,
        image: IMAGE.parse().unwrap(),
        entrypoint: Some(strings(&["sh", "-c"])),
        command: Some(strings(&["serve"])),
        env: pairs(&[("API_KEY", "secret"), ("MODE", "fast")]),
        labels: pairs(&[("team", "ops")]),
        ports: ports(&["127.0.0.1:8080:80", "81/udp"]),
        mounts: vec![
            mount("/cache", MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: None }),
            mount("/conf", MountSource::Bind { path: "/srv".to_owned(), propagation: None, selinux: None }),
            mount("/data", MountSource::Volume { name: "shop_data".to_owned(), external: false }),
        ],
        user: Some("1000".to_owned()),
        workdir: Some("/work".to_owned()),
        hostname: "web".to_owned(),
        network: PlanNetwork::Bridged { attachments: vec![attachment] },
        dns: vec!["10.0.0.53".parse().unwrap()],
        extra_hosts: vec!["gate:10.1.2.3".parse().unwrap(), "me:host-gateway".parse().unwrap()],
        stop_signal: Some(Signal(2)),
        stop_grace: Millis(1500),
        resources: Resources {
            memory: Some(ByteSize(64 << 20)),
            cpus: Some(Millicores(500)),
            pids: Some(50),
            shm_size: Some(ByteSize(1 << 20)),
            ulimits: vec![Ulimit::parse("nofile", "512:1024").unwrap()],
        },
        read_only: true,
        init: true,
        tty: false,
        stdin: true,
        security: Security {
            capabilities: strings(&["CHOWN"]),
            seccomp: Seccomp::Default,
            no_new_privileges: true,
            privileged: false,
        },
        outbound: None,
        inbound: Inbound::default(),
    }
}

fn mounted(target: &str, kind: &str, source: &str, options: &[&str]) -> ObservedMount {
    ObservedMount {
        target: target.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        read_only: false,
        options: strings(options),
        given: true,
    }
}

/// What an engine says of that plan, with what engines and images add.
fn seen() -> Observed {
    let plan = plan();
    let mut env = plan.env.clone();
    env.extend(pairs(&[("PATH", "/bin"), ("container", "engine")]));
    let mut labels = plan.all_labels();
    labels.extend(pairs(&[("made.by", "somebody")]));
    Observed {
        id: InstanceId("c1".to_owned()),
        name: plan.name(),
        identity: Some(plan.identity.clone()),
        labels,
        image: IMAGE.to_owned(),
        image_id: Some(IMAGE_ID.to_owned()),
        state: State::Running,
        pid: Some(1),
        networks: vec![ObservedNetwork {
            name: "hythe-shop".to_owned(),
            addresses: Vec::new(),
            aliases: Some(strings(&["c1", "shop-web", "web"])),
        }],
        ports: ports(&["127.0.0.1:8080:80", "0.0.0.0:40000:81/udp", "[::]:40001:81/udp"]),
        mounts: vec![
            mounted("/cache", "tmpfs", "", &["mode=1777", "noexec", "size=1024k"]),
            mounted("/conf", "bind", "/srv", &["rbind", "rprivate"]),
            mounted("/data", "volume", "shop_data", &["z"]),
            ObservedMount { given: false, ..mounted("/of-the-image", "volume", "0f0f", &[]) },
        ],
        entrypoint: strings(&["sh", "-c"]),
        command: strings(&["serve"]),
        given_env: Some(plan.env.keys().cloned().collect::<BTreeSet<_>>()),
        env,
        user: Some("1000".to_owned()),
        workdir: Some("/work/".to_owned()),
        hostname: Some("web".to_owned()),
        network_mode: NetworkMode::Bridged,
        dns: Some(plan.dns.clone()),
        extra_hosts: Some(vec!["gate:10.1.2.3".parse().unwrap(), "me:192.0.2.1".parse().unwrap()]),
        resources: Resources {
            ulimits: vec![Ulimit::parse("nofile", "512:1024").unwrap(), Ulimit::parse("nproc", "9").unwrap()],
            ..plan.resources
        },
        own_limits: true,
        read_only: true,
        init: Some(true),
        tty: Some(false),
        stdin: Some(true),
        stop_signal: Some(Signal(2)),
        stop_grace: Some(Millis(2000)),
        security: ObservedSecurity {
            capabilities: Some(strings(&["CHOWN"])),
            privileged: Some(false),
            seccomp: Some(ObservedSeccomp::Default),
            no_new_privileges: Some(true),
        },
        engine_restart: Some("no".to_owned()),
        ..Observed::default()
    }
}

fn image() -> Image {
    Image {
        id: IMAGE_ID.to_owned(),
        tags: Vec::new(),
        digests: Vec::new(),
        size: 0,
        created: None,
        config: Some(ImageConfig {
            entrypoint: strings(&["entry"]),
            command: strings(&["run"]),
            env: pairs(&[("PATH", "/bin"), ("container", "engine")]),
            labels: pairs(&[("made.by", "somebody")]),
            workdir: Some("/work".to_owned()),
            user: Some("app".to_owned()),
            stop_signal: None,
        }),
    }
}

fn short(found: &[Difference]) -> Vec<(&str, Cause)> {
    found.iter().map(|difference| (difference.field.as_str(), difference.cause)).collect()
}

#[test]
fn what_engines_add_is_no_difference() {
    assert_eq!(compare(&plan(), &seen(), Some(&image())), []);
    assert_eq!(compare(&plan(), &seen(), None), []);
}

type Change = fn(&mut Observed);

const CHANGES: &[(Change, &str, Cause)] = &[
    (|seen| seen.entrypoint.clear(), "entrypoint", Cause::ChangedByHand),
    (|seen| seen.command.push("more".to_owned()), "command", Cause::ChangedByHand),
    (|seen| _ = seen.env.insert("MODE".to_owned(), "slow".to_owned()), "env.MODE", Cause::ChangedByHand),
    (|seen| _ = seen.env.remove("MODE"), "env.MODE", Cause::Missing),
    (|seen| give(seen, "DEBUG"), "env.DEBUG", Cause::Extra),
    (|seen| _ = seen.labels.insert("team".to_owned(), "dev".to_owned()), "labels.team", Cause::ChangedByHand),
    (|seen| _ = seen.labels.remove("team"), "labels.team", Cause::Missing),
    (|seen| _ = seen.labels.insert("x".to_owned(), "y".to_owned()), "labels.x", Cause::Extra),
    (|seen| seen.user = None, "user", Cause::ChangedByHand),
    (|seen| seen.workdir = Some("/".to_owned()), "workdir", Cause::ChangedByHand),
    (|seen| seen.hostname = Some("other".to_owned()), "hostname", Cause::ChangedByHand),
    (|seen| seen.network_mode = NetworkMode::Host, "network", Cause::ChangedByHand),
    (|seen| seen.networks.clear(), "networks.hythe-shop", Cause::Missing),
    (|seen| seen.networks.push(network("other")), "networks.other", Cause::Extra),
    (|seen| seen.networks[0].aliases = Some(strings(&["web"])), "networks.hythe-shop.aliases.shop-web", Cause::Missing),
    (|seen| _ = seen.ports.remove(0), "ports.80/tcp", Cause::Missing),
    (|seen| seen.ports.extend(ports(&["9:9"])), "ports.9/tcp", Cause::Extra),
    (|seen| seen.mounts[2].read_only = true, "mounts./data", Cause::ChangedByHand),
    (|seen| seen.mounts[1].source = "/etc".to_owned(), "mounts./conf", Cause::ChangedByHand),
    (|seen| seen.mounts[1].options = strings(&["rshared"]), "mounts./conf", Cause::ChangedByHand),
    (|seen| seen.mounts[0].options = strings(&["size=2m"]), "mounts./cache", Cause::ChangedByHand),
    (|seen| _ = seen.mounts.remove(1), "mounts./conf", Cause::Missing),
    (|seen| seen.mounts.push(mounted("/more", "bind", "/", &[])), "mounts./more", Cause::Extra),
    (|seen| seen.dns = Some(Vec::new()), "dns", Cause::ChangedByHand),
    (|seen| hosts(seen, &["gate:10.9.9.9", "me:192.0.2.1"]), "extra_hosts.gate", Cause::ChangedByHand),
    (|seen| hosts(seen, &["gate:10.1.2.3"]), "extra_hosts.me", Cause::Missing),
    (|seen| hosts(seen, &["gate:10.1.2.3", "me:192.0.2.1", "x:10.1.1.1"]), "extra_hosts.x", Cause::Extra),
    (|seen| seen.stop_signal = None, "stop_signal", Cause::ChangedByHand),
    (|seen| seen.stop_grace = Some(Millis(9000)), "stop_grace", Cause::ChangedByHand),
    (|seen| seen.resources.memory = None, "memory", Cause::ChangedByHand),
    (|seen| seen.resources.cpus = Some(Millicores(700)), "cpus", Cause::ChangedByHand),
    (|seen| seen.resources.pids = Some(9), "pids", Cause::ChangedByHand),
    (|seen| seen.resources.shm_size = None, "shm_size", Cause::ChangedByHand),
    (|seen| seen.resources.ulimits[0].soft = 9, "ulimits.nofile", Cause::ChangedByHand),
    (|seen| _ = seen.resources.ulimits.remove(0), "ulimits.nofile", Cause::Missing),
    (|seen| seen.read_only = false, "read_only", Cause::ChangedByHand),
    (|seen| seen.init = Some(false), "init", Cause::ChangedByHand),
    (|seen| seen.tty = Some(true), "tty", Cause::ChangedByHand),
    (|seen| seen.stdin = Some(false), "stdin", Cause::ChangedByHand),
    (
        |seen| seen.security.capabilities = Some(strings(&["CHOWN", "SYS_ADMIN"])),
        "permissions.capabilities",
        Cause::ChangedByHand,
    ),
    (|seen| seen.security.privileged = Some(true), "permissions.privileged", Cause::ChangedByHand),
    (|seen| seen.security.seccomp = Some(ObservedSeccomp::Unconfined), "permissions.seccomp", Cause::ChangedByHand),
    (|seen| seen.security.no_new_privileges = Some(false), "permissions.no_new_privileges", Cause::ChangedByHand),
    (|seen| seen.engine_restart = Some("always".to_owned()), "restart", Cause::ChangedByHand),
    (|seen| seen.image_id = Some("sha256:other".to_owned()), "image", Cause::ImageMoved),
    (|seen| other_image(seen), "image", Cause::ChangedByHand),
];

fn give(seen: &mut Observed, name: &str) {
    seen.env.insert(name.to_owned(), "1".to_owned());
    seen.given_env.as_mut().unwrap().insert(name.to_owned());
}

fn network(name: &str) -> ObservedNetwork {
    ObservedNetwork { name: name.to_owned(), addresses: Vec::new(), aliases: None }
}

fn hosts(seen: &mut Observed, lines: &[&str]) {
    seen.extra_hosts = Some(lines.iter().map(|line| line.parse().unwrap()).collect());
}

fn other_image(seen: &mut Observed) {
    seen.image_id = Some("sha256:other".to_owned());
    seen.image = "localhost/other:1".to_owned();
}

#[test]
fn each_change_is_one_difference() {
    for (change, field, cause) in CHANGES {
        let mut seen = seen();
        change(&mut seen);
        assert_eq!(short(&compare(&plan(), &seen, Some(&image()))), [(*field, *cause)], "{field}");
    }
}

#[test]
fn what_an_engine_does_not_say_is_not_compared() {
    let mut seen = seen();
    seen.given_env = None;
    (seen.hostname, seen.dns, seen.extra_hosts) = (None, None, None);
    (seen.init, seen.tty, seen.stdin, seen.stop_grace) = (None, None, None, None);
    (seen.engine_restart, seen.image_id) = (None, None);
    seen.security = ObservedSecurity::default();
    seen.networks[0].aliases = None;
    assert_eq!(compare(&plan(), &seen, Some(&image())), []);
}

#[test]
fn what_a_plan_leaves_open_is_the_images() {
    let open = Plan { entrypoint: None, command: None, user: None, workdir: None, stop_signal: None, ..plan() };
    let as_image = Observed {
        entrypoint: strings(&["entry"]),
        command: strings(&["run"]),
        user: Some("app".to_owned()),
        stop_signal: None,
        ..seen()
    };
    assert_eq!(compare(&open, &as_image, Some(&image())), []);
    let fields: Vec<_> = compare(&open, &seen(), Some(&image())).into_iter().map(|found| found.field).collect();
    assert_eq!(fields, ["entrypoint", "command", "user", "stop_signal"]);
    assert_eq!(compare(&open, &seen(), None), [], "without the image nobody knows");
}

#[test]
fn limits_nobody_asked_for_are_the_engines_where_it_has_such() {
    let open = Plan { resources: Resources::default(), ..plan() };
    let limited = |own_limits| {
        let resources = Resources { pids: Some(2048), shm_size: Some(ByteSize(64_000_000)), ..Resources::default() };
        Observed { own_limits, resources, ..seen() }
    };
    assert_eq!(compare(&open, &limited(true), None), []);
    assert_eq!(short(&compare(&open, &limited(false), None)), [("pids", Cause::ChangedByHand)]);
    assert_eq!(
        short(&compare(&open, &seen(), None)),
        [("memory", Cause::ChangedByHand), ("cpus", Cause::ChangedByHand)]
    );
}

#[test]
fn ports_are_held_while_it_runs() {
    let stopped = Observed { state: State::Exited, ports: Vec::new(), ..seen() };
    assert_eq!(compare(&plan(), &stopped, None), []);
}

#[test]
fn secrets_are_not_shown() {
    let mut seen = seen();
    seen.env.insert("API_KEY".to_owned(), "other".to_owned());
    let found = compare(&plan(), &seen, None);
    assert_eq!(short(&found), [("env.API_KEY", Cause::ChangedByHand)]);
    assert_eq!((&found[0].desired, &found[0].observed), (&json!("********"), &json!("********")));
}

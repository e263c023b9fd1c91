#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::{
    Attachment, Identity, Image, ImageConfig, InstanceId, NetworkMode, Observed, ObservedMount, ObservedNetwork,
    ObservedSeccomp, ObservedSecurity, Plan, PlanNetwork, Security, State,
};
use hythe_spec::vocabulary::DriftCause;
use hythe_spec::{
    ByteSize, Inbound, LogLimits, Millicores, Millis, Mount, MountSource, Port, Resources, Seccomp, Signal, Ulimit,
};
use serde_json::json;

use super::compare::compare;
use crate::model::Difference;

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
        annotations: pairs(&[("team", "ops")]),
        ports: ports(&["127.0.0.1:8080:80", "81/udp"]),
        secrets: Vec::new(),
        mounts: vec![
            mount(
                "/cache",
                MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: None, options: Default::default() },
            ),
            mount("/conf", MountSource::Bind { path: "/srv".to_owned(), propagation: None, selinux: None }),
            mount("/data", MountSource::Volume { name: "shop_data".to_owned(), external: false }),
        ],
        user: Some("1000".to_owned()),
        workdir: Some("/work".to_owned()),
        hostname: "web".to_owned(),
        network: PlanNetwork::Networks { attachments: vec![attachment] },
        dns: vec!["10.0.0.53".parse().unwrap()],
        extra_hosts: vec!["gate:10.1.2.3".parse().unwrap(), "me:host-gateway".parse().unwrap()],
        dns_search: strings(&["example.com"]),
        dns_options: strings(&["ndots:2"]),
        group_add: strings(&["video"]),
        sysctls: pairs(&[("net.core.somaxconn", "1024")]),
        devices: vec!["/dev/kvm".parse().unwrap()],
        platform: Some("linux/arm64".parse().unwrap()),
        health: None,
        logs: Some(LogLimits { max_size: Some(ByteSize(1 << 20)), max_files: Some(3) }),
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
    let mut labels = plan.labels_and_annotations();
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
        explicit_env: Some(plan.env.keys().cloned().collect::<BTreeSet<_>>()),
        env,
        user: Some("1000".to_owned()),
        workdir: Some("/work/".to_owned()),
        hostname: Some("web".to_owned()),
        network_mode: NetworkMode::Networks,
        dns: Some(plan.dns.clone()),
        dns_search: Some(plan.dns_search.clone()),
        dns_options: Some(plan.dns_options.clone()),
        group_add: Some(plan.group_add.clone()),
        sysctls: Some(plan.sysctls.clone()),
        devices: Some(plan.devices.clone()),
        logs: plan.logs,
        extra_hosts: Some(vec!["gate:10.1.2.3".parse().unwrap(), "me:192.0.2.1".parse().unwrap()]),
        resources: Resources {
            ulimits: vec![Ulimit::parse("nofile", "512:1024").unwrap(), Ulimit::parse("nproc", "9").unwrap()],
            ..plan.resources
        },
        default_limits_unknown: true,
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
        platform: None,
        config: Some(ImageConfig {
            entrypoint: strings(&["entry"]),
            command: strings(&["run"]),
            env: pairs(&[("PATH", "/bin"), ("container", "engine")]),
            labels: pairs(&[("made.by", "somebody")]),
            workdir: Some("/work".to_owned()),
            user: Some("app".to_owned()),
            stop_signal: None,
            health: None,
        }),
    }
}

fn short(found: &[Difference]) -> Vec<(&str, DriftCause)> {
    found.iter().map(|difference| (difference.field.as_str(), difference.cause)).collect()
}

#[test]
fn what_engines_add_is_no_difference() {
    assert_eq!(compare(&plan(), &seen(), Some(&image())), []);
    assert_eq!(compare(&plan(), &seen(), None), []);
}

type Change = fn(&mut Observed);

const CHANGES: &[(Change, &str, DriftCause)] = &[
    (|seen| seen.entrypoint.clear(), "entrypoint", DriftCause::Modified),
    (|seen| seen.command.push("more".to_owned()), "command", DriftCause::Modified),
    (|seen| _ = seen.env.insert("MODE".to_owned(), "slow".to_owned()), "env.MODE", DriftCause::Modified),
    (|seen| _ = seen.env.remove("MODE"), "env.MODE", DriftCause::Missing),
    (|seen| give(seen, "DEBUG"), "env.DEBUG", DriftCause::Unexpected),
    (|seen| _ = seen.labels.insert("team".to_owned(), "dev".to_owned()), "labels.team", DriftCause::Modified),
    (|seen| _ = seen.labels.remove("team"), "labels.team", DriftCause::Missing),
    (|seen| _ = seen.labels.insert("x".to_owned(), "y".to_owned()), "labels.x", DriftCause::Unexpected),
    (|seen| seen.user = None, "user", DriftCause::Modified),
    (|seen| seen.workdir = Some("/".to_owned()), "workdir", DriftCause::Modified),
    (|seen| seen.hostname = Some("other".to_owned()), "hostname", DriftCause::Modified),
    (|seen| seen.network_mode = NetworkMode::Host, "network", DriftCause::Modified),
    (|seen| seen.networks.clear(), "networks.hythe-shop", DriftCause::Missing),
    (|seen| seen.networks.push(network("other")), "networks.other", DriftCause::Unexpected),
    (
        |seen| seen.networks[0].aliases = Some(strings(&["web"])),
        "networks.hythe-shop.aliases.shop-web",
        DriftCause::Missing,
    ),
    (|seen| _ = seen.ports.remove(0), "ports.80/tcp", DriftCause::Missing),
    (|seen| seen.ports.extend(ports(&["9:9"])), "ports.9/tcp", DriftCause::Unexpected),
    (|seen| seen.mounts[2].read_only = true, "mounts./data", DriftCause::Modified),
    (|seen| seen.mounts[1].source = "/etc".to_owned(), "mounts./conf", DriftCause::Modified),
    (|seen| seen.mounts[1].options = strings(&["rshared"]), "mounts./conf", DriftCause::Modified),
    (|seen| seen.mounts[0].options = strings(&["size=2m"]), "mounts./cache", DriftCause::Modified),
    (|seen| _ = seen.mounts.remove(1), "mounts./conf", DriftCause::Missing),
    (|seen| seen.mounts.push(mounted("/more", "bind", "/", &[])), "mounts./more", DriftCause::Unexpected),
    (|seen| seen.dns = Some(Vec::new()), "dns", DriftCause::Modified),
    (|seen| seen.dns_search = Some(Vec::new()), "dns_search", DriftCause::Modified),
    (|seen| seen.dns_options = Some(Vec::new()), "dns_options", DriftCause::Modified),
    (|seen| seen.group_add = Some(Vec::new()), "group_add", DriftCause::Modified),
    (|seen| seen.sysctls = Some(pairs(&[])), "sysctls.net.core.somaxconn", DriftCause::Missing),
    (
        |seen| _ = sysctls(seen).insert("net.core.somaxconn".to_owned(), "1".to_owned()),
        "sysctls.net.core.somaxconn",
        DriftCause::Modified,
    ),
    (
        |seen| _ = sysctls(seen).insert("kernel.sem".to_owned(), "1".to_owned()),
        "sysctls.kernel.sem",
        DriftCause::Unexpected,
    ),
    (|seen| seen.devices = Some(Vec::new()), "devices./dev/kvm:/dev/kvm:rwm", DriftCause::Missing),
    (
        |seen| seen.devices.as_mut().unwrap().push("/dev/mem".parse().unwrap()),
        "devices./dev/mem:/dev/mem:rwm",
        DriftCause::Unexpected,
    ),
    (|seen| seen.logs.as_mut().unwrap().max_size = None, "logs.max_size", DriftCause::Modified),
    (|seen| seen.logs.as_mut().unwrap().max_files = Some(9), "logs.max_files", DriftCause::Modified),
    (|seen| hosts(seen, &["gate:10.9.9.9", "me:192.0.2.1"]), "extra_hosts.gate", DriftCause::Modified),
    (|seen| hosts(seen, &["gate:10.1.2.3"]), "extra_hosts.me", DriftCause::Missing),
    (|seen| hosts(seen, &["gate:10.1.2.3", "me:192.0.2.1", "x:10.1.1.1"]), "extra_hosts.x", DriftCause::Unexpected),
    (|seen| seen.stop_signal = None, "stop_signal", DriftCause::Modified),
    (|seen| seen.stop_grace = Some(Millis(9000)), "stop_grace", DriftCause::Modified),
    (|seen| seen.resources.memory = None, "memory", DriftCause::Modified),
    (|seen| seen.resources.cpus = Some(Millicores(700)), "cpus", DriftCause::Modified),
    (|seen| seen.resources.pids = Some(9), "pids", DriftCause::Modified),
    (|seen| seen.resources.shm_size = None, "shm_size", DriftCause::Modified),
    (|seen| seen.resources.ulimits[0].soft = 9, "ulimits.nofile", DriftCause::Modified),
    (|seen| _ = seen.resources.ulimits.remove(0), "ulimits.nofile", DriftCause::Missing),
    (|seen| seen.read_only = false, "read_only", DriftCause::Modified),
    (|seen| seen.init = Some(false), "init", DriftCause::Modified),
    (|seen| seen.tty = Some(true), "tty", DriftCause::Modified),
    (|seen| seen.stdin = Some(false), "stdin", DriftCause::Modified),
    (
        |seen| seen.security.capabilities = Some(strings(&["CHOWN", "SYS_ADMIN"])),
        "permissions.capabilities",
        DriftCause::Modified,
    ),
    (|seen| seen.security.privileged = Some(true), "permissions.privileged", DriftCause::Modified),
    (|seen| seen.security.seccomp = Some(ObservedSeccomp::Unconfined), "permissions.seccomp", DriftCause::Modified),
    (|seen| seen.security.no_new_privileges = Some(false), "permissions.no_new_privileges", DriftCause::Modified),
    (|seen| seen.engine_restart = Some("always".to_owned()), "restart", DriftCause::Modified),
    (|seen| seen.image_id = Some("sha256:other".to_owned()), "image", DriftCause::ImageMoved),
    (|seen| other_image(seen), "image", DriftCause::Modified),
];

fn give(seen: &mut Observed, name: &str) {
    seen.env.insert(name.to_owned(), "1".to_owned());
    seen.explicit_env.as_mut().unwrap().insert(name.to_owned());
}

fn sysctls(seen: &mut Observed) -> &mut BTreeMap<String, String> {
    seen.sysctls.as_mut().unwrap()
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
    seen.explicit_env = None;
    (seen.hostname, seen.dns, seen.extra_hosts) = (None, None, None);
    (seen.dns_search, seen.dns_options, seen.group_add) = (None, None, None);
    (seen.sysctls, seen.devices, seen.logs) = (None, None, None);
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
    let limited_to = |pids, default_limits_unknown| {
        let resources = Resources { pids: Some(pids), shm_size: Some(ByteSize(64_000_000)), ..Resources::default() };
        Observed { default_limits_unknown, resources, ..seen() }
    };
    let limited = |default_limits_unknown| limited_to(60, default_limits_unknown);
    assert_eq!(compare(&open, &limited_to(2048, false), None), [], "that is our default");
    assert_eq!(compare(&open, &limited(true), None), []);
    assert_eq!(short(&compare(&open, &limited(false), None)), [("pids", DriftCause::Modified)]);
    assert_eq!(
        short(&compare(&open, &seen(), None)),
        [("memory", DriftCause::Modified), ("cpus", DriftCause::Modified)]
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
    assert_eq!(short(&found), [("env.API_KEY", DriftCause::Modified)]);
    assert_eq!((&found[0].desired, &found[0].observed), (&json!("********"), &json!("********")));
}

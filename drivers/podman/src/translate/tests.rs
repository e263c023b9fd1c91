#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;

use hythe_runtime::{Attachment, Identity, Plan, PlanNetwork, Security};
use hythe_spec::{
    ByteSize, ExtraHost, HostAddress, LogLimits, Millicores, Millis, Mount, MountSource, Port, Protocol, Resources,
    Seccomp, Signal, TmpfsOptions, Ulimit,
};

use super::mounts::{csv, has_own_shm};
use super::observed::entrypoint;
use super::{Settings, container_spec, explained};
use crate::api_types::{Container, ContainerRow, ContainerSpec};

fn settings() -> Settings {
    Settings {
        rootless: false,
        log_max_size: ByteSize(64 << 20),
        host: "10.0.0.7".parse().ok(),
        default_capabilities: ["CHOWN", "FOWNER"].map(str::to_owned).into(),
        read_only_shm: false,
        rlimits: ["nofile", "nproc"].map(|name| Ulimit { name: name.to_owned(), soft: 9, hard: 9 }).into(),
    }
}

fn small() -> Plan {
    let identity = Identity {
        owner: "agent".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 3,
        attempt: 1,
        plan_hash: "f00d".to_owned(),
    };
    Plan {
        security: Security {
            capabilities: vec!["CHOWN".to_owned(), "KILL".to_owned()],
            seccomp: Seccomp::Default,
            no_new_privileges: true,
            privileged: false,
        },
        ..Plan::plain("alpine:3".parse().unwrap(), identity)
    }
}

fn mount(target: &str, source: MountSource, read_only: bool) -> Mount {
    Mount { target: target.to_owned(), source, read_only }
}

fn large() -> Plan {
    let bind = MountSource::Bind { path: "/srv/a,b".to_owned(), propagation: None, selinux: Some('Z') };
    let port = |host_ip: Option<&str>, host_port, container_port, protocol| Port {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_port,
        protocol,
    };
    let host = |name: &str, address| ExtraHost { name: name.to_owned(), address };
    Plan {
        entrypoint: Some(Vec::new()),
        command: Some(vec!["sh".to_owned(), "-c".to_owned(), "echo --rm".to_owned()]),
        env: [
            ("API_TOKEN", "hush"),
            ("HOME", "/h"),
            ("LD_PRELOAD", "x.so"),
            ("EMPTY", ""),
            ("MODE", "a\nb"),
            ("lower_key", "k"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        annotations: BTreeMap::from([("tier".to_owned(), "a=b c".to_owned())]),
        ports: vec![
            port(None, None, 80, Protocol::Tcp),
            port(None, Some(53), 53, Protocol::Udp),
            port(Some("127.0.0.1"), Some(8080), 80, Protocol::Tcp),
            port(Some("127.0.0.1"), None, 81, Protocol::Tcp),
            port(Some("::1"), Some(9090), 90, Protocol::Sctp),
        ],
        mounts: vec![
            mount(
                "/cache",
                MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: Some(0o700), options: Default::default() },
                false,
            ),
            mount("/data", MountSource::Volume { name: "shop_data".to_owned(), external: false }, true),
            mount("/in", bind, true),
        ],
        user: Some("app:app".to_owned()),
        workdir: Some("/work".to_owned()),
        network: PlanNetwork::Networks {
            attachments: vec![
                Attachment { network: "hythe-shop".to_owned(), aliases: vec!["web".to_owned(), "shop-web".to_owned()] },
                Attachment { network: "edge".to_owned(), aliases: Vec::new() },
            ],
        },
        dns: vec!["9.9.9.9".parse().unwrap()],
        extra_hosts: vec![
            host("db", HostAddress::Ip("fd00::1".parse().unwrap())),
            host("host", HostAddress::HostGateway),
        ],
        dns_search: vec!["example.com".to_owned()],
        dns_options: vec!["ndots:2".to_owned()],
        group_add: vec!["video".to_owned(), "1001".to_owned()],
        sysctls: BTreeMap::from([("net.core.somaxconn".to_owned(), "1024".to_owned())]),
        devices: vec!["/dev/fuse:rw".parse().unwrap(), "vendor.com/class=one".parse().unwrap()],
        platform: Some("linux/arm64".parse().unwrap()),
        logs: Some(LogLimits { max_size: Some(ByteSize(10 << 20)), max_files: None }),
        stop_signal: Some(Signal(2)),
        stop_grace: Millis(1_500),
        resources: Resources {
            memory: Some(ByteSize(64 << 20)),
            cpus: Some(Millicores(1500)),
            pids: Some(50),
            shm_size: Some(ByteSize(1 << 20)),
            ulimits: vec![Ulimit { name: "nofile".to_owned(), soft: 1024, hard: -1 }],
        },
        read_only: true,
        init: true,
        tty: true,
        stdin: true,
        security: Security { seccomp: Seccomp::File("/etc/seccomp.json".to_owned()), ..small().security },
        ..small()
    }
}

fn spec(plan: &Plan) -> ContainerSpec {
    container_spec(plan, &settings()).unwrap()
}

#[test]
fn a_small_plan() {
    insta::assert_json_snapshot!(spec(&small()));
}

#[test]
fn a_plan_with_everything() {
    insta::assert_json_snapshot!(spec(&large()));
}

#[test]
fn the_command_line_of_a_container_has_names_of_variables_and_no_value() {
    let mut spec = spec(&large());
    let words = std::mem::take(&mut spec.create_command).join(" ");
    assert!(words.contains("--env=API_TOKEN") && !words.contains("hush") && !words.contains("a=b c"), "{words}");
    let mut shown = explained(&spec).unwrap();
    assert_eq!(shown["body"]["env"]["HOME"], "/h");
    hythe_spec::mask::document(&mut shown);
    let shown = shown.to_string();
    assert!(!shown.contains("hush") && shown.contains("/h"), "{shown}");
}

#[test]
fn a_privileged_plan_has_no_list_of_capabilities() {
    let mut plan = small();
    plan.security.privileged = true;
    let spec = spec(&plan);
    assert!(spec.privileged && spec.cap_add.is_empty() && spec.cap_drop.is_empty());
}

#[test]
fn an_empty_set_of_capabilities_drops_all() {
    let mut plan = small();
    plan.security.capabilities.clear();
    let spec = spec(&plan);
    assert!(spec.cap_drop == ["ALL"] && spec.cap_add.is_empty());
}

#[test]
fn shared_memory_stays_writable_below_a_read_only_root_that_covers_it() {
    let settings = Settings { read_only_shm: true, ..settings() };
    let shm = |plan: &Plan| has_own_shm(&container_spec(plan, &settings).unwrap().create_command);
    let plan = Plan { read_only: true, ..small() };
    assert!(shm(&plan) && !shm(&small()));
    let tmpfs = MountSource::Tmpfs { size: None, mode: None, options: TmpfsOptions::default() };
    assert!(!shm(&Plan { mounts: vec![mount("/dev/shm", tmpfs, false)], ..plan }));
}

#[test]
fn a_digest_is_named_without_its_tag() {
    let mut plan = small();
    plan.image = format!("alpine:3@sha256:{}", "0".repeat(64)).parse().unwrap();
    assert_eq!(spec(&plan).image, format!("docker.io/library/alpine@sha256:{}", "0".repeat(64)));
}

#[test]
fn mounts_are_one_line_of_csv() {
    assert_eq!(csv("src=/a,b\"c"), "\"src=/a,b\"\"c\"");
    assert_eq!(csv("src=/a b"), "src=/a b");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn an_inspected_container() {
    let containers: Vec<Container> = serde_json::from_str(include_str!("../../tests/data/inspect.json")).unwrap();
    let observed: Vec<_> = containers
        .into_iter()
        .map(|container| {
            let exit = container.exit();
            container.observed(exit)
        })
        .collect();
    insta::assert_json_snapshot!(observed);
}

#[test]
fn listed_containers() {
    let rows: Vec<ContainerRow> = serde_json::from_str(include_str!("../../tests/data/ps.json")).unwrap();
    insta::assert_json_snapshot!(rows.into_iter().map(ContainerRow::listed).collect::<Vec<_>>());
}

#[test]
fn the_entrypoint_keeps_its_words_apart() {
    let command = words(&["c d", "e"]);
    let args = words(&["--", "echo", "a b", "c d", "e"]);
    assert_eq!(entrypoint("/run/podman-init".to_owned(), args, &command), words(&["echo", "a b"]));
    assert_eq!(entrypoint("sh".to_owned(), words(&["-c"]), &words(&["sh", "-c"])), words(&[]));
}

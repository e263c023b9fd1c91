#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use hythe_runtime::{Attachment, Identity, Plan, PlanNetwork, Security, State};
use hythe_spec::{
    ByteSize, LogLimits, Millicores, Millis, Mount, MountSource, Port, Resources, Seccomp, Signal, Ulimit,
};
use serde_json::{Value, json};

use super::{Engine, Surroundings, create, explained, later_networks, listed, observed};
use crate::client::ApiVersion;

fn bare_plan() -> Plan {
    let identity = Identity {
        owner: "me".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 2,
        attempt: 1,
        plan_hash: "abc".to_owned(),
    };
    Plan::plain("alpine:3".parse().unwrap(), identity)
}

fn full_plan() -> Plan {
    let attach = |network: &str| Attachment {
        network: network.to_owned(),
        aliases: vec!["web".to_owned(), "shop-web".to_owned()],
    };
    let mount = |target: &str, source, read_only| Mount { target: target.to_owned(), source, read_only };
    Plan {
        image: "127.0.0.1:5000/shop/web:1@sha256:0123456789012345678901234567890123456789012345678901234567890123"
            .parse()
            .unwrap(),
        entrypoint: Some(Vec::new()),
        command: Some(vec!["serve".to_owned(), "--all".to_owned()]),
        env: BTreeMap::from(
            [("API_KEY", "s3cret"), ("EMPTY", ""), ("WORD", "a=b c")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        ),
        annotations: BTreeMap::from([("team".to_owned(), "ops".to_owned())]),
        ports: ["127.0.0.1:8080:80", "[::1]:8080:80", "53/udp"]
            .iter()
            .flat_map(|spec| Port::parse_spec(spec).unwrap())
            .collect(),
        mounts: vec![
            mount(
                "/cache",
                MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: Some(0o700), options: Default::default() },
                false,
            ),
            mount(
                "/config",
                MountSource::Bind {
                    path: "/srv/config".to_owned(),
                    propagation: Some("rslave".to_owned()),
                    selinux: Some('Z'),
                },
                true,
            ),
            mount("/data", MountSource::Volume { name: "shop_data".to_owned(), external: false }, false),
        ],
        user: Some("1000:1000".to_owned()),
        workdir: Some("/work".to_owned()),
        network: PlanNetwork::Networks { attachments: vec![attach("hythe-shop"), attach("other")] },
        dns: vec!["10.0.0.53".parse().unwrap()],
        extra_hosts: vec!["gate:host-gateway".parse().unwrap()],
        dns_search: vec!["example.com".to_owned()],
        dns_options: vec!["ndots:2".to_owned()],
        group_add: vec!["video".to_owned(), "1001".to_owned()],
        sysctls: BTreeMap::from([("net.core.somaxconn".to_owned(), "1024".to_owned())]),
        devices: vec!["/dev/fuse:rw".parse().unwrap(), "vendor.com/class=one".parse().unwrap()],
        platform: Some("linux/arm64".parse().unwrap()),
        logs: Some(LogLimits { max_size: Some(ByteSize(10 << 20)), max_files: Some(2) }),
        stop_signal: Some(Signal(2)),
        stop_grace: Millis(1_500),
        resources: Resources {
            memory: Some(ByteSize(64 << 20)),
            cpus: Some(Millicores(1_500)),
            pids: Some(50),
            shm_size: Some(ByteSize(1 << 20)),
            ulimits: vec![Ulimit::parse("nofile", "512:1024").unwrap()],
        },
        read_only: true,
        init: true,
        tty: true,
        stdin: true,
        security: Security {
            capabilities: vec!["CHOWN".to_owned(), "NET_RAW".to_owned()],
            seccomp: Seccomp::File("/etc/profile.json".to_owned()),
            no_new_privileges: true,
            privileged: false,
        },
        ..bare_plan()
    }
}

fn around(engine: Engine) -> Surroundings {
    Surroundings {
        rootless: false,
        engine,
        version: ApiVersion(1, 41),
        pids: false,
        selinux: false,
        seccomp: Some("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}".to_owned()),
        default_limits_unknown: if engine == Engine::Podman {
            vec![Ulimit::parse("nproc", "30000").unwrap()]
        } else {
            Vec::new()
        },
        log_file_bytes: 1 << 20,
        log_files: 3,
    }
}

fn document(plan: &Plan, around: &Surroundings) -> Value {
    explained(
        &plan.name(),
        super::platform(plan, around).as_deref(),
        serde_json::to_value(create(plan, around)).unwrap(),
    )
}

#[test]
fn a_bare_plan_for_docker() {
    insta::assert_json_snapshot!(document(&bare_plan(), &around(Engine::Docker)));
}

#[test]
fn a_full_plan_for_docker() {
    insta::assert_json_snapshot!(document(&full_plan(), &around(Engine::Docker)));
}

#[test]
fn a_full_plan_for_podman() {
    insta::assert_json_snapshot!(document(&full_plan(), &around(Engine::Podman)));
}

#[test]
fn relabelled_binds_are_said_where_labels_can_be() {
    let relabelling = Surroundings { selinux: true, ..around(Engine::Docker) };
    let document = document(&full_plan(), &relabelling);
    assert_eq!(document["body"]["HostConfig"]["Binds"], json!(["/srv/config:/config:ro,Z,rslave"]));
}

#[test]
fn further_networks_wait_where_create_takes_one() {
    let names = |around: &Surroundings| later_networks(&full_plan(), around).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&around(Engine::Docker)), ["other"]);
    assert_eq!(names(&around(Engine::Podman)), [""; 0]);
    assert_eq!(names(&Surroundings { version: ApiVersion(1, 44), ..around(Engine::Docker) }), [""; 0]);
}

#[test]
fn privileged_names_no_capabilities() {
    let mut plan = bare_plan();
    plan.security.privileged = true;
    let body = document(&plan, &around(Engine::Docker))["body"]["HostConfig"].clone();
    assert_eq!((&body["Privileged"], &body["CapDrop"], &body["CapAdd"]), (&json!(true), &Value::Null, &Value::Null));
}

#[test]
fn the_hosts_network_keeps_its_own_name() {
    let plan = Plan { network: PlanNetwork::Host, ..bare_plan() };
    let body = document(&plan, &around(Engine::Docker))["body"].clone();
    assert_eq!((&body["Hostname"], &body["HostConfig"]["NetworkMode"]), (&Value::Null, &json!("host")));
}

#[test]
fn a_row_says_what_the_engine_says() {
    let row = json!({
        "Id": "c1", "Names": ["/shop-web-2-1"], "Image": "alpine:3", "Created": 1_700_000_000, "State": "exited",
        "Status": "Exited (137) 2 minutes ago", "Labels": bare_plan().identity.labels(), "HostConfig": {"NetworkMode": "x"},
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "127.0.0.1", "PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}, {"PrivatePort": 81, "Type": "tcp"},
        ],
        "NetworkSettings": {"Networks": {"hythe-shop": {}, "none": {}}}
    });
    let row = listed(serde_json::from_value(row).unwrap());
    assert_eq!((row.name.as_str(), row.state, row.exit_code), ("shop-web-2-1", State::Exited, Some(137)));
    assert_eq!(row.identity, Some(bare_plan().identity));
    assert_eq!(row.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080:80/tcp", "127.0.0.1:5353:53/udp"]);
    assert_eq!(row.networks, ["hythe-shop"]);
}

#[test]
fn a_state_nobody_knows_spoils_nothing() {
    let row = listed(
        serde_json::from_value(json!({"Id": "c1", "State": "dreaming", "Names": null, "Ports": null, "Labels": null}))
            .unwrap(),
    );
    assert_eq!((row.state, row.exit_code), (State::Unknown, None));
}

#[test]
fn an_inspected_container() {
    let container = json!({
        "Id": "c1", "Name": "/shop-web-2-1", "Created": "2026-11-22T10:13:06.232222654Z", "Image": "93dc36", "RestartCount": 0,
        "State": {"Status": "created", "OOMKilled": false, "Pid": 0, "ExitCode": 127, "Error": "exec: \"x\": not found",
                  "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"},
        "Config": {"Hostname": "web", "User": "", "Env": ["A=b=c", "D"], "Cmd": ["run"], "Entrypoint": "one", "Image": "alpine:3", "WorkingDir": "/w",
                   "Labels": bare_plan().identity.labels(), "StopSignal": "SIGINT", "StopTimeout": 7, "Tty": true},
        "HostConfig": {"Memory": 67108864, "NanoCpus": 0, "CpuQuota": 50000, "CpuPeriod": 100_000, "PidsLimit": null, "ShmSize": 67108864,
                       "Ulimits": [{"Name": "RLIMIT_NOFILE", "Soft": 512, "Hard": 18_446_744_073_709_551_615_u64}], "ReadonlyRootfs": true,
                       "Tmpfs": {"/t": "rw,noexec,nodev", "/tmp": "ro,nosuid,tmpcopyup,rprivate"},
                       "Mounts": [{"Type": "volume", "Source": "v", "Target": "/a"}], "NetworkMode": "n", "Dns": ["10.0.0.53"], "Init": false,
                       "ExtraHosts": ["gate:host-gateway"], "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                       "CapAdd": ["CAP_SYS_TIME"], "CapDrop": ["MKNOD"], "SecurityOpt": ["no-new-privileges", "seccomp={}"]},
        "Mounts": [{"Type": "volume", "Name": "v", "Source": "/var/lib/v", "Destination": "/a", "Mode": "z", "RW": false, "Propagation": ""}],
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32769"}], "81/tcp": null},
            "Networks": {"n": {"IPAddress": "10.0.0.2", "GlobalIPv6Address": "fd00::2", "Aliases": ["web", "a"]}}
        }
    });
    insta::assert_json_snapshot!(observed(serde_json::from_value(container).unwrap(), Engine::Docker));
}

//! What a plan becomes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_oci_spec::{Command, Host, Paths};
use hythe_runtime::{Attachment, Identity, ImageConfig, Plan, PlanNetwork};
use hythe_shim::record::Config;
use hythe_spec::{ImageRef, Millis, Ulimit};
use serde_json::{Value, json};

use super::*;

fn plan() -> Plan {
    let identity = Identity {
        owner: "owner".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "0".to_owned(),
    };
    Plan {
        env: BTreeMap::from([("A".to_owned(), "plan".to_owned())]),
        stop_grace: Millis(1),
        ..Plan::plain("localhost/web:1".parse::<ImageRef>().unwrap(), identity)
    }
}

fn host() -> HostFacts {
    let spec = Host {
        name: "host".to_owned(),
        rlimit_ceilings: BTreeMap::from([("nofile".to_owned(), 1000)]),
        capabilities: vec!["CHOWN".to_owned(), "SYS_ADMIN".to_owned()],
        apparmor: Some("docker-default".to_owned()),
        limits_pids: true,
        rootless: false,
    };
    HostFacts { spec, log_segment: 1, user_namespace: None, cgroups: None, outward: false }
}

fn translated(plan: &Plan) -> Config {
    let at = |path: &str| PathBuf::from(path);
    let instance = Instance {
        id: "1".to_owned(),
        metadata: Value::Null,
        layers: vec![at("/layer")],
        journal: at("/journal"),
        paths: Paths {
            volumes: at("/volumes"),
            anonymous: Vec::new(),
            hosts: at("/hosts"),
            resolv_conf: at("/resolv.conf"),
            hostname: at("/hostname"),
            cgroup: at("/cgroup"),
        },
        networks: at("/networks"),
        name_servers: None,
    };
    shim_config("create", plan, &Command::new(plan, &image()), Vec::new(), &instance, &host()).unwrap()
}

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: vec!["serve".to_owned()],
        command: vec!["--all".to_owned()],
        env: BTreeMap::from([("A".to_owned(), "image".to_owned()), ("B".to_owned(), "image".to_owned())]),
        ..ImageConfig::default()
    }
}

#[test]
fn only_a_network_of_its_own_is_a_namespace_with_ports() {
    let kinds = |config: &Config| config.spec["linux"]["namespaces"].to_string().contains("network");
    let mut plan = plan();
    plan.ports = "8080:80".parse().into_iter().collect();
    plan.network = PlanNetwork::Host;
    let host = translated(&plan);
    assert!(!kinds(&host) && !host.own_network);
    assert_eq!(host.network["ports"], json!([]));
    let attachment = Attachment { network: "shop".to_owned(), aliases: Vec::new() };
    plan.network = PlanNetwork::Networks { attachments: vec![attachment] };
    let bridged = translated(&plan);
    assert!(kinds(&bridged) && bridged.own_network);
    assert_eq!(bridged.network["ports"].as_array().unwrap().len(), 1);
}

#[test]
fn only_the_privileged_see_the_kernel() {
    let mut plan = plan();
    let masked = |config: &Config| config.spec["linux"]["maskedPaths"].as_array().unwrap().len();
    let standard = translated(&plan);
    assert!(masked(&standard) > 5 && standard.process.no_new_privileges);
    assert_eq!(standard.spec["process"]["apparmorProfile"], "docker-default");
    plan.security.privileged = true;
    let privileged = translated(&plan);
    assert!(privileged.spec["process"]["apparmorProfile"].is_null());
    assert_eq!((masked(&privileged), privileged.process.no_new_privileges), (0, false));
    assert_eq!(privileged.process.capabilities, ["CHOWN", "SYS_ADMIN"], "no more than this process has itself");
}

#[test]
fn shim_is_given_the_process_of_the_command() {
    let config = translated(&plan());
    assert_eq!(config.process.arguments, ["serve", "--all"]);
    assert_eq!(config.spec["linux"]["cgroupsPath"], "/cgroup");
    let process = &config.spec["process"];
    let twice = ["args", "terminal", "capabilities", "noNewPrivileges"].map(|name| process[name].is_null());
    assert_eq!(twice, [true; 4], "the shim sees to these itself: {process}");
}

#[test]
fn rlimits_and_log_bounds_reach_the_shim() {
    let mut plan = plan();
    plan.resources.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 10, hard: -1 }];
    let config = translated(&plan);
    assert_eq!(config.spec["process"]["rlimits"], json!([{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 1000 }]));
    assert_eq!((config.logs.segment, config.logs.segments), (1, 5));
}

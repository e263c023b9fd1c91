//! What a plan becomes, and what a task means.

use std::path::PathBuf;

use hythe_network::shim_network::Connected;
use hythe_oci_spec::{Command, Host, Paths};
use hythe_runtime::{Identity, ImageConfig, Plan, State};
use hythe_spec::Seccomp;
use hythe_spec::vocabulary::ExitCause;
use serde_json::json;

use super::{Instance, config_of, observed, state, supervisor_config};
use crate::api_types::{Process, Status};
use crate::record::Record;
use crate::seccomp;
use crate::task::Run;

fn plan() -> Plan {
    let identity = Identity {
        owner: "owner".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "0".to_owned(),
    };
    Plan::plain("localhost/web:1".parse().unwrap(), identity)
}

fn translated(plan: &Plan) -> serde_json::Value {
    let at = |name: &str| PathBuf::from("/i").join(name);
    let paths = Paths {
        volumes: PathBuf::new(),
        anonymous: Vec::new(),
        hosts: at("hosts"),
        resolv_conf: at("resolv.conf"),
        hostname: at("hostname"),
        cgroup: PathBuf::from("/hythe-1"),
    };
    let host = Host {
        name: "host".to_owned(),
        rlimit_ceilings: Default::default(),
        capabilities: Vec::new(),
        apparmor: None,
        limits_pids: true,
        rootless: false,
    };
    let instance = Instance {
        id: "1".to_owned(),
        paths,
        rootfs: Vec::new(),
        networks: PathBuf::new(),
        seccomp: seccomp::profile("create", plan).unwrap(),
        init: Some(PathBuf::from("/usr/bin/tini")),
        log_segment: 7,
    };
    let command = Command::new(plan, &ImageConfig::default());
    serde_json::to_value(supervisor_config("create", plan, &command, &instance, &host).unwrap()).unwrap()
}

#[test]
fn supervisor_config_of_plain_plan_has_filter_and_bounds() {
    let config = translated(&plan());
    assert_eq!(config["spec"]["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(config["spec"]["linux"]["cgroupsPath"], "/hythe-1");
    assert_eq!((&config["logs"]["segment"], &config["logs"]["segments"]), (&json!(7), &json!(5)));
}

#[test]
fn supervisor_config_of_plan_with_init_runs_it_first() {
    let plan = Plan { init: true, command: Some(vec!["sh".to_owned()]), ..plan() };
    let config = translated(&plan);
    assert_eq!(config["process"]["arguments"], json!(["/dev/init", "--", "sh"]));
    let mounts = config["spec"]["mounts"].as_array().unwrap();
    assert_eq!(mounts.last().map(|mount| &mount["source"]), Some(&json!("/usr/bin/tini")));
}

#[test]
fn supervisor_config_of_unconfined_plan_has_no_filter() {
    let mut plan = plan();
    plan.security.seccomp = Seccomp::Unconfined;
    assert_eq!(translated(&plan)["spec"]["linux"]["seccomp"], json!(null));
}

#[test]
fn observed_of_task_that_was_lost_is_exited_without_code() {
    let plan = plan();
    let command = Command::new(&plan, &ImageConfig::default());
    let record = Record {
        id: "1".to_owned(),
        name: plan.name(),
        created: jiff::Timestamp::UNIX_EPOCH,
        labels: plan.labels_and_annotations(),
        plan,
        image_id: "sha256:0".to_owned(),
        manifest: String::new(),
        command,
        stop_signal: None,
        volumes: Vec::new(),
        seccomp: json!(null),
    };
    let run = Run { started: Some(jiff::Timestamp::UNIX_EPOCH), ..Run::default() };
    let seen = observed(&record, None, Some(&run), Connected::default());
    assert_eq!(seen.state, State::Exited);
    assert_eq!(seen.exit.map(|exit| (exit.cause, exit.code)), Some((ExitCause::EngineGone, None)));
    assert_eq!(observed(&record, None, None, Connected::default()).state, State::Created);
}

#[test]
fn state_of_stopped_task_is_exited() {
    let process = Process { status: Status::Stopped.into(), ..Process::default() };
    assert_eq!(state(Some(&process), None), State::Exited);
}

#[test]
fn config_of_image_document_reads_its_process() {
    let config = config_of(&json!({ "config": { "Cmd": ["sh"], "Env": ["A=b=c"], "User": "" } }));
    assert_eq!((config.command, config.env["A"].as_str(), config.user), (vec!["sh".to_owned()], "b=c", None));
}

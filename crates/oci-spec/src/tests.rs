//! What a plan becomes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_runtime::{ErrorKind, Identity, ImageConfig, Plan, PlanNetwork};
use hythe_spec::{ByteSize, ImageRef, Millicores, Millis, Mount, MountSource, Ulimit};
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

fn host() -> Host {
    Host {
        name: "host".to_owned(),
        rlimit_ceilings: BTreeMap::from([("nofile".to_owned(), 1000)]),
        capabilities: vec!["CHOWN".to_owned(), "SYS_ADMIN".to_owned()],
        apparmor: Some("docker-default".to_owned()),
        limits_pids: true,
        rootless: false,
    }
}

fn command(plan: &Plan) -> Command {
    Command::new(plan, &image())
}

fn translated_on(host: &Host, plan: &Plan) -> Value {
    let paths = Paths {
        volumes: PathBuf::from("/volumes"),
        anonymous: Vec::new(),
        hosts: PathBuf::from("/hosts"),
        resolv_conf: PathBuf::from("/resolv.conf"),
        hostname: PathBuf::from("/hostname"),
        cgroup: PathBuf::from("/cgroup"),
    };
    serde_json::to_value(spec("create", plan, &command(plan), &paths, host).unwrap()).unwrap()
}

fn translated(plan: &Plan) -> Value {
    translated_on(&host(), plan)
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
fn plan_overrides_image() {
    let mut plan = plan();
    assert_eq!(command(&plan).arguments(), ["serve", "--all"]);
    plan.command = Some(vec!["--few".to_owned()]);
    assert_eq!(command(&plan).arguments(), ["serve", "--few"]);
    (plan.entrypoint, plan.command) = (Some(vec!["other".to_owned()]), None);
    assert_eq!(command(&plan).arguments(), ["other"], "the image's command belongs to its entrypoint");
    let env = command(&plan).env;
    assert_eq!((env["A"].as_str(), env["B"].as_str()), ("plan", "image"));
}

#[test]
fn limits_become_linux_resources() {
    let mut plan = plan();
    plan.resources.memory = Some(ByteSize(64 << 20));
    plan.resources.cpus = Some(Millicores(1500));
    plan.resources.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 10, hard: -1 }];
    let spec = translated(&plan);
    let limits = &spec["linux"]["resources"];
    assert_eq!(limits["memory"], json!({ "limit": 64 << 20, "swap": 64 << 20 }), "no swap on top");
    assert_eq!(limits["cpu"], json!({ "quota": 150_000, "period": 100_000 }));
    assert_eq!(limits["pids"], json!({ "limit": 2048 }), "a default where the plan does not say");
    plan.resources.pids = Some(9);
    assert_eq!(translated(&plan)["linux"]["resources"]["pids"], json!({ "limit": 9 }));
    let expected = json!([{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 1000 }]);
    assert_eq!(spec["process"]["rlimits"], expected, "not above the hard limit of the host");
}

#[test]
fn mounts_are_sorted_by_depth_and_those_of_the_plan_win() {
    let mount = |target: &str| Mount {
        target: target.to_owned(),
        source: MountSource::Volume { name: "data".to_owned(), external: false },
        read_only: true,
    };
    let mut plan = plan();
    plan.mounts = vec![mount("/etc/hosts"), mount("/etc"), mount("/srv/deep")];
    let spec = translated(&plan);
    let mounts = spec["mounts"].as_array().unwrap();
    let at = |target: &str| mounts.iter().position(|mount| mount["destination"] == target).unwrap();
    assert!(at("/etc") < at("/etc/hosts"));
    assert_eq!(mounts[at("/etc/hosts")]["source"], "/volumes/data/data");
    assert!(mounts[at("/etc/hosts")]["options"].as_array().unwrap().contains(&json!("ro")));
}

#[test]
fn mounts_are_nodev_except_below_dev() {
    let bind = |path: &str| Mount {
        target: format!("/binds{path}"),
        source: MountSource::Bind { path: path.to_owned(), propagation: None, selinux: None },
        read_only: false,
    };
    let mut plan = plan();
    plan.mounts = vec![bind("/srv"), bind("/dev/dri")];
    let spec = translated(&plan);
    let devices = |mount: &&Value| !mount["options"].as_array().unwrap().contains(&json!("nodev"));
    let targets = spec["mounts"].as_array().unwrap().iter().filter(devices);
    let targets: Vec<&str> = targets.map(|mount| mount["destination"].as_str().unwrap()).collect();
    assert_eq!(targets, ["/dev", "/dev/pts", "/binds/dev/dri"]);
}

#[test]
fn spec_of_rootless_container_has_no_view_of_cgroups_and_no_group_of_terminals() {
    let rootless = Host { rootless: true, ..host() };
    let spec = translated_on(&rootless, &plan());
    assert!(spec["linux"]["resources"].is_object());
    let mounts = spec["mounts"].as_array().unwrap();
    assert!(mounts.iter().all(|mount| mount["type"] != "cgroup"));
    let terminals = mounts.iter().find(|mount| mount["type"] == "devpts").unwrap();
    assert!(!terminals["options"].as_array().unwrap().contains(&json!("gid=5")));
}

#[test]
fn spec_of_host_network_has_no_network_namespace_and_the_name_of_the_host() {
    let mut plan = plan();
    let has_network = |spec: &Value| spec["linux"]["namespaces"].to_string().contains("network");
    assert!(has_network(&translated(&plan)));
    plan.network = PlanNetwork::Host;
    let spec = translated(&plan);
    assert!(!has_network(&spec));
    assert_eq!(spec["hostname"], "host");
}

#[test]
fn process_of_spec_is_complete_but_for_its_user() {
    let mut plan = plan();
    plan.security.capabilities = vec!["CHOWN".to_owned()];
    let process = &translated(&plan)["process"];
    assert_eq!((&process["args"], &process["cwd"]), (&json!(["serve", "--all"]), &json!("/")));
    assert_eq!(process["noNewPrivileges"], true);
    assert_eq!(process["apparmorProfile"], "docker-default");
    let given = json!(["CAP_CHOWN"]);
    assert_eq!(process["capabilities"], json!({ "bounding": given, "effective": given, "permitted": given }));
    plan.security.privileged = true;
    let privileged = translated(&plan);
    assert_eq!(privileged["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 2);
    assert_eq!(privileged["process"]["noNewPrivileges"], false);
    assert!(privileged["process"]["apparmorProfile"].is_null());
    assert_eq!(privileged["linux"]["maskedPaths"], json!([]));
}

#[test]
fn spec_with_unknown_capability_or_rlimit_is_invalid() {
    let with = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        let none = PathBuf::new;
        let paths = Paths {
            volumes: none(),
            anonymous: Vec::new(),
            hosts: none(),
            resolv_conf: none(),
            hostname: none(),
            cgroup: none(),
        };
        spec("create", &plan, &command(&plan), &paths, &host()).unwrap_err()
    };
    let capability = with(|plan| plan.security.capabilities = vec!["FLY".to_owned()]);
    assert_eq!((capability.kind(), capability.message()), (ErrorKind::Invalid, "no capability `FLY`"));
    let rlimit = with(|plan| plan.resources.ulimits = vec![Ulimit { name: "wings".to_owned(), soft: 1, hard: 1 }]);
    assert_eq!((rlimit.kind(), rlimit.message()), (ErrorKind::Invalid, "no rlimit `wings`"));
    for name in Ulimit::NAMES {
        let mut plan = plan();
        plan.resources.ulimits = vec![Ulimit { name: name.to_owned(), soft: 1, hard: 1 }];
        assert!(translated(&plan)["process"]["rlimits"].is_array(), "{name}");
    }
}

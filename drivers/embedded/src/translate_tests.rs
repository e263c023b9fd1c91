//! What a plan becomes.

use hythe_runtime::{Attachment, Identity};
use hythe_spec::{ByteSize, ImageRef, Millicores, Millis};

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

fn machine() -> Machine {
    Machine {
        name: "host".to_owned(),
        ceilings: BTreeMap::from([("nofile".to_owned(), 1000)]),
        capabilities: vec!["CHOWN".to_owned(), "SYS_ADMIN".to_owned()],
        log_segment: 1,
        user_namespace: None,
        outward: false,
    }
}

fn translated(plan: &Plan) -> Launch {
    let at = |path: &str| PathBuf::from(path);
    let places = Places {
        id: "1".to_owned(),
        about: Value::Null,
        layers: vec![at("/layer")],
        journal: at("/journal"),
        volumes: at("/volumes"),
        networks: at("/networks"),
        hosts: at("/hosts"),
        resolv: at("/resolv.conf"),
        hostname: at("/hostname"),
    };
    launch(plan, &command(plan, &image()), Vec::new(), &places, &machine())
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
fn the_plan_stands_over_the_image() {
    let mut plan = plan();
    assert_eq!(translated(&plan).process.arguments, ["serve", "--all"]);
    plan.command = Some(vec!["--few".to_owned()]);
    assert_eq!(translated(&plan).process.arguments, ["serve", "--few"]);
    (plan.entrypoint, plan.command) = (Some(vec!["other".to_owned()]), None);
    assert_eq!(translated(&plan).process.arguments, ["other"], "the image's command belongs to its entrypoint");
    let env = command(&plan, &image()).env;
    assert_eq!((env["A"].as_str(), env["B"].as_str()), ("plan", "image"));
}

#[test]
fn limits_are_those_of_the_kernel() {
    let mut plan = plan();
    plan.resources.memory = Some(ByteSize(64 << 20));
    plan.resources.cpus = Some(Millicores(1500));
    plan.resources.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 10, hard: -1 }];
    let spec = translated(&plan).spec;
    let limits = &spec["linux"]["resources"];
    assert_eq!(limits["memory"], json!({ "limit": 64 << 20, "swap": 64 << 20 }), "no swap on top");
    assert_eq!(limits["cpu"], json!({ "quota": 150_000, "period": 100_000 }));
    let expected = json!([{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 1000 }]);
    assert_eq!(spec["process"]["rlimits"], expected, "what the machine does not let us have is not asked for");
}

#[test]
fn what_is_above_is_mounted_first_and_the_plans_own_wins() {
    let mount = |target: &str| Mount {
        target: target.to_owned(),
        source: MountSource::Volume { name: "data".to_owned(), external: false },
        read_only: true,
    };
    let mut plan = plan();
    plan.mounts = vec![mount("/etc/hosts"), mount("/etc"), mount("/srv/deep")];
    let spec = translated(&plan).spec;
    let mounts = spec["mounts"].as_array().unwrap();
    let at = |target: &str| mounts.iter().position(|mount| mount["destination"] == target).unwrap();
    assert!(at("/etc") < at("/etc/hosts"));
    assert_eq!(mounts[at("/etc/hosts")]["source"], "/volumes/data/data");
    assert!(mounts[at("/etc/hosts")]["options"].as_array().unwrap().contains(&json!("ro")));
}

#[test]
fn only_a_network_of_its_own_is_a_namespace_with_ports() {
    let kinds = |launch: &Launch| launch.spec["linux"]["namespaces"].to_string().contains("network");
    let mut plan = plan();
    plan.ports = "8080:80".parse().into_iter().collect();
    plan.network = PlanNetwork::Host;
    let host = translated(&plan);
    assert!(!kinds(&host) && !host.own_network);
    assert_eq!(host.network["ports"], json!([]));
    let attachment = Attachment { network: "shop".to_owned(), aliases: Vec::new() };
    plan.network = PlanNetwork::Bridged { attachments: vec![attachment] };
    let bridged = translated(&plan);
    assert!(kinds(&bridged) && bridged.own_network);
    assert_eq!(bridged.network["ports"].as_array().unwrap().len(), 1);
}

#[test]
fn only_the_privileged_see_the_kernel() {
    let mut plan = plan();
    let masked = |launch: &Launch| launch.spec["linux"]["maskedPaths"].as_array().unwrap().len();
    let standard = translated(&plan);
    assert!(masked(&standard) > 5 && standard.process.no_new_privileges);
    plan.security.privileged = true;
    let privileged = translated(&plan);
    assert_eq!((masked(&privileged), privileged.process.no_new_privileges), (0, false));
    assert_eq!(privileged.process.capabilities, ["CHOWN", "SYS_ADMIN"], "no more than this process has itself");
}

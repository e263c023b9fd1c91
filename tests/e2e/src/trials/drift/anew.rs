//! Instances that somebody made anew under the old name with the old labels, each with one thing done differently.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Belongings, Expected, is, short};
use crate::files::IMAGE;
use crate::http;
use crate::scene::Scene;
use crate::wait;

const SCRIPT: &str = "trap 'exit 3' TERM; sleep 3600 & wait";
const BY_HAND: &str = "changed by hand";

/// A command line, option by option.
struct Line {
    options: Vec<(String, String)>,
    image: String,
    command: Vec<String>,
}

impl Line {
    fn set(&mut self, option: &str, value: &str) {
        self.drop(option);
        self.add(option, value);
    }

    fn add(&mut self, option: &str, value: &str) {
        self.options.push((option.to_owned(), value.to_owned()));
    }

    fn drop(&mut self, option: &str) {
        self.options.retain(|(name, _)| name != option);
    }

    /// Another value for the first use of the option whose value contains `part`; none: it is left out.
    fn replace(&mut self, option: &str, part: &str, value: Option<&str>) {
        let at = self.options.iter().position(|(name, old)| name == option && old.contains(part)).unwrap();
        match value {
            Some(value) => value.clone_into(&mut self.options[at].1),
            None => _ = self.options.remove(at),
        }
    }

    fn words(&self) -> Vec<String> {
        let options = self.options.iter().map(|(name, value)| format!("{name}={value}"));
        let head = ["run".to_owned(), "--detach".to_owned()].into_iter().chain(options);
        head.chain([self.image.clone()]).chain(self.command.iter().cloned()).collect()
    }
}

type Case = (&'static str, fn(&mut Line), &'static [Expected<'static>]);

/// A component each: its name, what is done differently, what must be found.
const CASES: &[Case] = &[
    ("same", |_| {}, &[]),
    ("env-value", |line| line.replace("--env", "MODE", Some("MODE=slow")), &[("env.MODE", BY_HAND)]),
    ("env-gone", |line| line.replace("--env", "MODE", None), &[("env.MODE", "missing")]),
    ("env-more", |line| line.add("--env", "DEBUG=1"), &[("env.DEBUG", "extra")]),
    ("command", |line| line.command[1].push(' '), &[("command", BY_HAND)]),
    ("entrypoint", |line| line.set("--entrypoint", "/bin/sh"), &[("entrypoint", BY_HAND)]),
    ("user", |line| line.set("--user", "0:0"), &[("user", BY_HAND)]),
    ("workdir", |line| line.set("--workdir", "/"), &[("workdir", BY_HAND)]),
    ("hostname", |line| line.set("--hostname", "other"), &[("hostname", BY_HAND)]),
    ("port-gone", |line| line.drop("--publish"), &[("ports.80/tcp", "missing")]),
    ("port-more", |line| line.add("--publish", "127.0.0.1::81"), &[("ports.81/tcp", "extra")]),
    ("mount-ro", |line| remount(line, "/data", |mount| mount + ":ro"), &[("mounts./data", BY_HAND)]),
    ("mount-source", |line| remount(line, "/conf", |mount| format!("{mount}-b")), &[("mounts./conf", BY_HAND)]),
    ("mount-kind", |line| remount(line, "/data", |_| "/tmp:/data".to_owned()), &[("mounts./data", BY_HAND)]),
    ("mount-gone", |line| line.replace("--volume", "/data", None), &[("mounts./data", "missing")]),
    ("mount-more", |line| line.add("--volume", "/tmp:/more"), &[("mounts./more", "extra")]),
    ("tmpfs", |line| line.set("--tmpfs", "/t:size=2m"), &[("mounts./t", BY_HAND)]),
    ("label-value", |line| line.replace("--label", "team=", Some("team=dev")), &[("labels.team", BY_HAND)]),
    ("label-gone", |line| line.replace("--label", "team=", None), &[("labels.team", "missing")]),
    ("label-more", |line| line.add("--label", "by=hand"), &[("labels.by", "extra")]),
    ("writable", |line| line.drop("--read-only"), &[("read_only", BY_HAND)]),
    ("capabilities", |line| line.add("--cap-add", "NET_ADMIN"), &[("permissions.capabilities", BY_HAND)]),
    ("seccomp", |line| line.add("--security-opt", "seccomp=unconfined"), &[("permissions.seccomp", BY_HAND)]),
    ("privileges", |line| line.drop("--security-opt"), &[("permissions.no_new_privileges", BY_HAND)]),
    ("dns", |line| line.set("--dns", "10.0.0.54"), &[("dns", BY_HAND)]),
    ("hosts", |line| line.set("--add-host", "gate:10.9.9.9"), &[("extra_hosts.gate", BY_HAND)]),
    ("ulimit", |line| line.replace("--ulimit", "nofile", Some("nofile=256:1024")), &[("ulimits.nofile", BY_HAND)]),
    ("pids", |line| line.set("--pids-limit", "60"), &[("pids", BY_HAND)]),
    ("unlimited", |line| unlimited(line), &[("memory", BY_HAND)]),
    ("shm", |line| line.set("--shm-size", "2m"), &[("shm_size", BY_HAND)]),
    ("stop-signal", |line| line.set("--stop-signal", "SIGINT"), &[("stop_signal", BY_HAND)]),
    ("stop-grace", |line| line.set("--stop-timeout", "9"), &[("stop_grace", BY_HAND)]),
    ("tty", |line| line.add("--tty", "true"), &[("tty", BY_HAND)]),
    ("stdin", |line| line.add("--interactive", "true"), &[("stdin", BY_HAND)]),
    ("restart", |line| line.set("--restart", "always"), &[("restart", BY_HAND)]),
    ("alias", |line| line.replace("--network-alias", "-alias", None), &[("networks.NET.aliases.WORKLOAD", "missing")]),
];

fn remount(line: &mut Line, target: &str, change: fn(String) -> String) {
    let old = line.options.iter().find(|(name, value)| name == "--volume" && value.contains(target)).unwrap().1.clone();
    let new = match old.split_once(":/conf") {
        // The source changes, not the target.
        Some((source, rest)) => format!("{}:/conf{rest}", change(source.to_owned())),
        None => change(old),
    };
    line.replace("--volume", target, Some(&new));
}

fn unlimited(line: &mut Line) {
    line.drop("--memory-swap");
    line.drop("--memory");
}

pub(super) fn instances_made_anew_are_compared_in_every_field(scene: &mut Scene<'_>) {
    // In directories that exist under both names.
    let conf = scene.agent.path("conf").display().to_string();
    for path in [conf.clone(), format!("{conf}-b")] {
        std::fs::create_dir(path).unwrap();
    }
    let ports: BTreeMap<&str, String> =
        CASES.iter().map(|(name, ..)| (*name, format!("127.0.0.1:{}:80", http::free_port()))).collect();
    scene.deploy(&file(&scene.service, &conf, &ports)).ok();
    let all = scene.differences();
    assert!(all.is_empty(), "as deployed: {all:#?}");
    let names: BTreeMap<String, String> = scene.workloads().iter().map(name_and_instance).collect();
    end_all(scene, &names);
    scene.agent.stop();
    let mut belongings = Belongings::new(scene.engine());
    for (name, change, _) in CASES {
        let workload = format!("{}-{name}", scene.service);
        let mut line = line(scene, &names[&workload], name, &conf, &ports[name]);
        change(&mut line);
        let words = line.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        scene.engine().run(&["rm", "-f", &names[&workload]]);
        belongings.make(&words, &["rm", "-f", "-v", &names[&workload]]);
    }
    scene.agent.start_again();
    let status = wait::until("the engine is asked again", || status(scene), |status| !is_unreachable(status));
    let mut wrong = Vec::new();
    for (name, _, expected) in CASES {
        let workload = format!("{}-{name}", scene.service);
        let found = &status[&workload];
        let network = format!("hythe-{}", scene.service);
        let filled = |field: &str| field.replace("NET", &network).replace("WORKLOAD", &workload);
        let fields: Vec<(String, &str)> = expected.iter().map(|(field, cause)| (filled(field), *cause)).collect();
        let expected: Vec<Expected<'_>> = fields.iter().map(|(field, cause)| (field.as_str(), *cause)).collect();
        if !is(found, &expected) {
            wrong.push(format!("{name}: expected {expected:?}, found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{}: {} instances made anew found", scene.subject.name, CASES.len() - 1);
}

fn file(service: &str, conf: &str, ports: &BTreeMap<&str, String>) -> String {
    let component = |(name, ..): &Case| {
        format!(
            "[[components]]\nname = '{name}'\nimage = '{IMAGE}'\nentrypoint = ['sh']\ncommand = ['-c', '''{SCRIPT}''']\n\
             env = {{ MODE = 'fast' }}\nlabels = {{ team = 'ops' }}\nports = ['{port}']\nvolumes = ['data:/data', '{conf}:/conf:ro']\n\
             tmpfs = ['/t:size=1m']\nuser = '1000:1000'\nworkdir = '/tmp'\ndns = ['10.0.0.53']\nextra_hosts = ['gate:10.1.2.3']\n\
             restart = 'no'\nread_only = true\nmemory = '64m'\ncpus = 0.5\npids = 50\nshm_size = '1m'\nulimits = {{ nofile = '512:1024' }}\n",
            port = ports[name],
        )
    };
    let components: Vec<String> = CASES.iter().map(component).collect();
    format!("name = '{service}'\n{}", components.join("\n"))
}

/// The same as the drivers ask for, in the words that both programs understand.
fn line(scene: &Scene<'_>, instance: &str, name: &str, conf: &str, port: &str) -> Line {
    let service = &scene.service;
    let labels = scene.engine().run(&["container", "inspect", "--format", "{{json .Config.Labels}}", instance]);
    let labels: BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    let capabilities = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let fixed = [
        ("--restart", "no"),
        ("--hostname", name),
        ("--env", "MODE=fast"),
        ("--tmpfs", "/t:size=1m"),
        ("--user", "1000:1000"),
        ("--workdir", "/tmp"),
        ("--dns", "10.0.0.53"),
        ("--add-host", "gate:10.1.2.3"),
        ("--stop-timeout", "10"),
        ("--read-only", "true"),
        ("--memory", "64m"),
        ("--memory-swap", "64m"),
        ("--cpus", "0.5"),
        ("--pids-limit", "50"),
        ("--shm-size", "1m"),
        ("--ulimit", "nofile=512:1024"),
        // Podman would raise it beyond what a machine may allow.
        ("--ulimit", "nproc=4096:4096"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--entrypoint", "sh"),
        ("--network-alias", name),
    ];
    let mut line =
        Line { options: Vec::new(), image: IMAGE.to_owned(), command: vec!["-c".to_owned(), SCRIPT.to_owned()] };
    fixed.iter().for_each(|(option, value)| line.add(option, value));
    line.add("--name", instance);
    line.add("--network", &format!("hythe-{service}"));
    line.add("--network-alias", &format!("{service}-{name}"));
    line.add("--publish", port);
    line.add("--volume", &format!("{service}_data:/data"));
    line.add("--volume", &format!("{conf}:/conf:ro"));
    capabilities.iter().for_each(|name| line.add("--cap-add", name));
    labels.iter().for_each(|(key, value)| line.add("--label", &format!("{key}={value}")));
    line
}

fn name_and_instance(workload: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&workload["name"]), text(&workload["instance"]["name"]))
}

/// What has failed for good the agent leaves alone, so that what is made in its place is seen.
fn end_all(scene: &Scene<'_>, names: &BTreeMap<String, String>) {
    let kill: Vec<&str> = ["kill"].into_iter().chain(names.values().map(String::as_str)).collect();
    scene.engine().run(&kill);
    wait::until(
        "all have failed",
        || scene.workloads(),
        |all| all.iter().all(|workload| workload["state"] == "failed"),
    );
}

/// Differences by workload.
fn status(scene: &Scene<'_>) -> BTreeMap<String, Vec<Value>> {
    let status = scene.hythe(&["status", &scene.service, "--json"]).ok().json();
    let workloads = status["workloads"].as_array().cloned().unwrap_or_default();
    let of = |workload: &Value| workload["differences"].as_array().cloned().unwrap_or_default();
    let name = |workload: &Value| workload["workload"]["name"].as_str().unwrap_or_default().to_owned();
    workloads.iter().map(|workload| (name(workload), of(workload))).collect()
}

fn is_unreachable(status: &BTreeMap<String, Vec<Value>>) -> bool {
    status.values().any(|found| short(found).iter().any(|(_, cause)| cause == "unreachable"))
}

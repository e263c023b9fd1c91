//! Instances that somebody made anew under the old name with the old labels, each with one thing done differently.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Belongings, Expected, is, short};
use crate::files::IMAGE;
use crate::fixture::Fixture;
use crate::http;
use crate::wait;

const SCRIPT: &str = "trap 'exit 3' TERM; sleep 3600 & wait";
const MODIFIED: &str = "modified";

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
    ("env-value", |line| line.replace("--env", "MODE", Some("MODE=slow")), &[("env.MODE", MODIFIED)]),
    ("env-gone", |line| line.replace("--env", "MODE", None), &[("env.MODE", "missing")]),
    ("env-more", |line| line.add("--env", "DEBUG=1"), &[("env.DEBUG", "unexpected")]),
    ("command", |line| line.command[1].push(' '), &[("command", MODIFIED)]),
    ("entrypoint", |line| line.set("--entrypoint", "/bin/sh"), &[("entrypoint", MODIFIED)]),
    ("user", |line| line.set("--user", "0:0"), &[("user", MODIFIED)]),
    ("workdir", |line| line.set("--workdir", "/"), &[("workdir", MODIFIED)]),
    ("hostname", |line| line.set("--hostname", "other"), &[("hostname", MODIFIED)]),
    ("port-gone", |line| line.drop("--publish"), &[("ports.80/tcp", "missing")]),
    ("port-more", |line| line.add("--publish", "127.0.0.1::81"), &[("ports.81/tcp", "unexpected")]),
    ("mount-ro", |line| remount(line, "/data", |mount| mount + ":ro"), &[("mounts./data", MODIFIED)]),
    ("mount-source", |line| remount(line, "/conf", |mount| format!("{mount}-b")), &[("mounts./conf", MODIFIED)]),
    ("mount-kind", |line| remount(line, "/data", |_| "/tmp:/data".to_owned()), &[("mounts./data", MODIFIED)]),
    ("mount-gone", |line| line.replace("--volume", "/data", None), &[("mounts./data", "missing")]),
    ("mount-more", |line| line.add("--volume", "/tmp:/more"), &[("mounts./more", "unexpected")]),
    ("tmpfs", |line| line.set("--tmpfs", "/t:size=2m"), &[("mounts./t", MODIFIED)]),
    ("label-value", |line| line.replace("--label", "team=", Some("team=dev")), &[("labels.team", MODIFIED)]),
    ("label-gone", |line| line.replace("--label", "team=", None), &[("labels.team", "missing")]),
    ("label-more", |line| line.add("--label", "by=hand"), &[("labels.by", "unexpected")]),
    ("writable", |line| line.drop("--read-only"), &[("read_only", MODIFIED)]),
    ("capabilities", |line| line.add("--cap-add", "NET_ADMIN"), &[("permissions.capabilities", MODIFIED)]),
    ("seccomp", |line| line.add("--security-opt", "seccomp=unconfined"), &[("permissions.seccomp", MODIFIED)]),
    ("privileges", |line| line.drop("--security-opt"), &[("permissions.no_new_privileges", MODIFIED)]),
    ("dns", |line| line.set("--dns", "10.0.0.54"), &[("dns", MODIFIED)]),
    ("groups", |line| line.add("--group-add", "7"), &[("group_add", MODIFIED)]),
    (
        "sysctl",
        |line| line.add("--sysctl", "net.ipv4.tcp_fin_timeout=7"),
        &[("sysctls.net.ipv4.tcp_fin_timeout", "unexpected")],
    ),
    (
        "device",
        |line| line.add("--device", "/dev/full:/dev/more:r"),
        &[("devices./dev/full:/dev/more:r", "unexpected")],
    ),
    ("hosts", |line| line.set("--add-host", "gate:10.9.9.9"), &[("extra_hosts.gate", MODIFIED)]),
    ("ulimit", |line| line.replace("--ulimit", "nofile", Some("nofile=256:1024")), &[("ulimits.nofile", MODIFIED)]),
    ("pids", |line| line.set("--pids-limit", "60"), &[("pids", MODIFIED)]),
    ("unlimited", |line| unlimited(line), &[("memory", MODIFIED)]),
    ("shm", |line| line.set("--shm-size", "2m"), &[("shm_size", MODIFIED)]),
    ("stop-signal", |line| line.set("--stop-signal", "SIGINT"), &[("stop_signal", MODIFIED)]),
    ("stop-grace", |line| line.set("--stop-timeout", "9"), &[("stop_grace", MODIFIED)]),
    ("tty", |line| line.add("--tty", "true"), &[("tty", MODIFIED)]),
    ("stdin", |line| line.add("--interactive", "true"), &[("stdin", MODIFIED)]),
    ("restart", |line| line.set("--restart", "always"), &[("restart", MODIFIED)]),
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

pub(super) fn instances_made_anew_are_compared_in_every_field(fixture: &mut Fixture<'_>) {
    // In directories that exist under both names.
    let conf = fixture.agent.path("conf").display().to_string();
    for path in [conf.clone(), format!("{conf}-b")] {
        std::fs::create_dir(path).unwrap();
    }
    let ports: BTreeMap<&str, String> =
        CASES.iter().map(|(name, ..)| (*name, format!("127.0.0.1:{}:80", http::free_port()))).collect();
    fixture.deploy(&file(&fixture.service, &conf, &ports)).ok();
    let all = fixture.differences();
    assert!(all.is_empty(), "as deployed: {all:#?}");
    let names: BTreeMap<String, String> = fixture.workloads().iter().map(name_and_instance).collect();
    end_all(fixture, &names);
    fixture.agent.stop();
    let mut belongings = Belongings::new(fixture.engine());
    for (name, change, _) in CASES {
        let workload = format!("{}-{name}", fixture.service);
        let mut line = line(fixture, &names[&workload], name, &conf, &ports[name]);
        change(&mut line);
        let words = line.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        fixture.engine().run(&["rm", "-f", &names[&workload]]);
        belongings.make(&words, &["rm", "-f", "-v", &names[&workload]]);
    }
    fixture.agent.start_again();
    let status = wait::until("the engine is asked again", || status(fixture), |status| !is_unreachable(status));
    let mut wrong = Vec::new();
    for (name, _, expected) in CASES {
        let workload = format!("{}-{name}", fixture.service);
        let found = &status[&workload];
        let network = format!("hythe-{}", fixture.service);
        let filled = |field: &str| field.replace("NET", &network).replace("WORKLOAD", &workload);
        let fields: Vec<(String, &str)> = expected.iter().map(|(field, cause)| (filled(field), *cause)).collect();
        let expected: Vec<Expected<'_>> = fields.iter().map(|(field, cause)| (field.as_str(), *cause)).collect();
        if !is(found, &expected) {
            wrong.push(format!("{name}: expected {expected:?}, found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{}: {} instances made anew found", fixture.subject.name, CASES.len() - 1);
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
fn line(fixture: &Fixture<'_>, instance: &str, name: &str, conf: &str, port: &str) -> Line {
    let service = &fixture.service;
    let labels = fixture.engine().run(&["container", "inspect", "--format", "{{json .Config.Labels}}", instance]);
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
fn end_all(fixture: &Fixture<'_>, names: &BTreeMap<String, String>) {
    let kill: Vec<&str> = ["kill"].into_iter().chain(names.values().map(String::as_str)).collect();
    fixture.engine().run(&kill);
    wait::until(
        "all have failed",
        || fixture.workloads(),
        |all| all.iter().all(|workload| workload["state"] == "failed"),
    );
}

/// Differences by workload.
fn status(fixture: &Fixture<'_>) -> BTreeMap<String, Vec<Value>> {
    let status = fixture.hythe(&["status", &fixture.service, "--json"]).ok().json();
    let workloads = status["workloads"].as_array().cloned().unwrap_or_default();
    let of = |workload: &Value| workload["differences"].as_array().cloned().unwrap_or_default();
    let name = |workload: &Value| workload["workload"]["name"].as_str().unwrap_or_default().to_owned();
    workloads.iter().map(|workload| (name(workload), of(workload))).collect()
}

fn is_unreachable(status: &BTreeMap<String, Vec<Value>>) -> bool {
    status.values().any(|found| short(found).iter().any(|(_, cause)| cause == "unreachable"))
}

//! Networks of an unprivileged user: bridges in a namespace that is held while somebody needs it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hythe_runtime::{Attachment, InstanceId, NetworkSpec, Networks, Plan, PlanNetwork, Runtime};
use hythe_spec::{Port, Protocol};

use crate::harness::{Harness, kill, runs};
use crate::trials::exec;

pub(crate) const TRIALS: &[crate::Named] = &[
    ("members_reach_each_other_and_are_reached_from_the_machine", members_reach_each_other),
    ("a_low_port_is_refused_with_a_next_step", a_low_port_is_refused),
    ("what_holds_the_namespaces_goes_with_the_last_who_needs_them", the_holder_goes),
    ("without_what_holds_the_namespaces_containers_go_on", without_the_holder),
];

const GREETER: &str = "while :; do echo hello from $HOSTNAME | busybox nc -l -p 8080 -w 1; done";

pub(crate) fn network(harness: &Harness) {
    let spec = NetworkSpec {
        name: "net".to_owned(),
        labels: [("hythe.owner".to_owned(), "me".to_owned())].into(),
        internal: false,
    };
    harness.wait(Networks::ensure(&harness.embedded, &harness.cx, &spec)).unwrap();
}

pub(crate) fn end(harness: &Harness) {
    harness.end();
    harness.wait(Networks::remove(&harness.embedded, &harness.cx, "net", "me")).unwrap();
}

pub(crate) fn member(harness: &Harness, attempt: u32, alias: &str) -> Plan {
    let mut plan = harness.plan(attempt, GREETER);
    alias.clone_into(&mut plan.hostname);
    let attachment = Attachment { network: "net".to_owned(), aliases: vec![alias.to_owned()] };
    plan.network = PlanNetwork::Networks { attachments: vec![attachment] };
    let host_ip = Some(Ipv4Addr::LOCALHOST.into());
    plan.ports = vec![Port { host_ip, host_port: None, container_port: 8080, protocol: Protocol::Tcp }];
    plan
}

/// What is said at a port of the machine.
fn heard(harness: &Harness, id: &InstanceId) -> String {
    let port = harness.inspect(id).ports[0].host_port.unwrap();
    let began = Instant::now();
    loop {
        let mut text = String::new();
        let read = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
            stream.write_all(b"\n")?;
            stream.read_to_string(&mut text)
        });
        if read.is_ok() && !text.is_empty() {
            return text;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "nobody answers");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn members_reach_each_other() {
    let harness = Harness::new();
    network(&harness);
    let (one, two) = (harness.run(&member(&harness, 1, "one")), harness.run(&member(&harness, 2, "two")));
    assert_eq!(heard(&harness, &one), "hello from one\n");
    assert_eq!(heard(&harness, &two), "hello from two\n");
    let ask = "for n in 1 2 3 4 5 6 7 8 9; do busybox nc -w 1 two 8080 </dev/null && exit; sleep 0.1; done";
    assert_eq!(exec(&harness, &one, None, ask).0, "hello from two\n");
    end(&harness);
}

fn a_low_port_is_refused() {
    let harness = Harness::new();
    network(&harness);
    let mut plan = member(&harness, 1, "one");
    plan.ports[0].host_port = Some(81);
    let error = harness.wait(harness.embedded.run(&harness.cx, &plan)).unwrap_err();
    assert_eq!(error.kind(), hythe_runtime::ErrorKind::Unauthorized);
    end(&harness);
}

pub(crate) fn root(harness: &Harness, id: &InstanceId) -> PathBuf {
    harness.directory(id).path().ancestors().nth(2).unwrap().to_owned()
}

/// The process that holds the namespaces of a root.
pub(crate) fn holder(root: &Path) -> Option<i32> {
    let place = root.join("user");
    let words = format!("\0shim\0pause\0{}\0", place.display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_it = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(&words))
            && runs(pid.cast_unsigned())
    };
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it)
}

fn the_holder_goes() {
    let harness = Harness::new();
    let (one, two) = (harness.run(&harness.plan(1, "sleep 1000")), harness.run(&harness.plan(2, "sleep 1000")));
    let root = root(&harness, &one);
    let first = holder(&root).unwrap();
    harness.remove(&one);
    assert_eq!(holder(&root), Some(first));
    harness.remove(&two);
    let began = Instant::now();
    while holder(&root).is_some() {
        assert!(began.elapsed() < Duration::from_secs(10), "it stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    harness.run(&harness.plan(3, "sleep 1000"));
    assert!(holder(&root).is_some_and(|pid| pid != first));
    harness.end();
}

fn without_the_holder() {
    let harness = Harness::new();
    network(&harness);
    let one = harness.run(&member(&harness, 1, "one"));
    kill(holder(&root(&harness, &one)).unwrap());
    assert_eq!(heard(&harness, &one), "hello from one\n");
    assert_eq!(exec(&harness, &one, None, "echo well").0, "well\n");
    let two = harness.run(&member(&harness, 2, "two"));
    assert_eq!(heard(&harness, &two), "hello from two\n");
    let pid = harness.inspect(&one).pid.unwrap();
    kill(harness.shim(&one).unwrap());
    assert_eq!(harness.inspect(&one).exit.unwrap().code, Some(137));
    assert!(!runs(pid), "what was in the lost namespaces lives on");
    end(&harness);
}

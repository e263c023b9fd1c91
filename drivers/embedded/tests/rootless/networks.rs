//! Networks of an ordinary user: bridges in a namespace that is held while somebody needs it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hythe_runtime::{Attachment, InstanceId, NetworkSpec, Networks, Plan, PlanNetwork, Runtime};
use hythe_spec::{Port, Protocol};

use crate::bed::{Bed, kill, runs};
use crate::trials::exec;

pub(crate) const TRIALS: &[crate::Named] = &[
    ("members_reach_each_other_and_are_reached_from_the_machine", members_reach_each_other),
    ("a_low_port_is_refused_with_a_next_step", a_low_port_is_refused),
    ("what_holds_the_namespaces_goes_with_the_last_who_needs_them", the_holder_goes),
    ("without_what_holds_the_namespaces_containers_go_on", without_the_holder),
];

const GREETER: &str = "while :; do echo hello from $HOSTNAME | busybox nc -l -p 8080 -w 1; done";

pub(crate) fn network(bed: &Bed) {
    let spec = NetworkSpec {
        name: "net".to_owned(),
        labels: [("hythe.owner".to_owned(), "me".to_owned())].into(),
        internal: false,
    };
    bed.wait(Networks::ensure(&bed.embedded, &bed.cx, &spec)).unwrap();
}

pub(crate) fn end(bed: &Bed) {
    bed.end();
    bed.wait(Networks::remove(&bed.embedded, &bed.cx, "net")).unwrap();
}

pub(crate) fn member(bed: &Bed, attempt: u32, alias: &str) -> Plan {
    let mut plan = bed.plan(attempt, GREETER);
    alias.clone_into(&mut plan.hostname);
    let attachment = Attachment { network: "net".to_owned(), aliases: vec![alias.to_owned()] };
    plan.network = PlanNetwork::Bridged { attachments: vec![attachment] };
    let host_ip = Some(Ipv4Addr::LOCALHOST.into());
    plan.ports = vec![Port { host_ip, host_port: None, container_port: 8080, protocol: Protocol::Tcp }];
    plan
}

/// What is said at a port of the machine.
fn heard(bed: &Bed, id: &InstanceId) -> String {
    let port = bed.inspect(id).ports[0].host_port.unwrap();
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
    let bed = Bed::new();
    network(&bed);
    let (one, two) = (bed.run(&member(&bed, 1, "one")), bed.run(&member(&bed, 2, "two")));
    assert_eq!(heard(&bed, &one), "hello from one\n");
    assert_eq!(heard(&bed, &two), "hello from two\n");
    let ask = "for n in 1 2 3 4 5 6 7 8 9; do busybox nc -w 1 two 8080 </dev/null && exit; sleep 0.1; done";
    assert_eq!(exec(&bed, &one, None, ask).0, "hello from two\n");
    end(&bed);
}

fn a_low_port_is_refused() {
    let bed = Bed::new();
    network(&bed);
    let mut plan = member(&bed, 1, "one");
    plan.ports[0].host_port = Some(81);
    let error = bed.wait(bed.embedded.run(&bed.cx, &plan)).unwrap_err();
    assert_eq!(error.kind(), hythe_runtime::ErrorKind::Unauthorized);
    end(&bed);
}

pub(crate) fn root(bed: &Bed, id: &InstanceId) -> PathBuf {
    bed.directory(id).path().ancestors().nth(2).unwrap().to_owned()
}

/// The process that holds the namespaces of a root.
pub(crate) fn holder(root: &Path) -> Option<i32> {
    let place = root.join("user");
    let words = format!("\0shim\0hold\0{}\0", place.display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_it = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(&words))
            && runs(pid.cast_unsigned())
    };
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it)
}

fn the_holder_goes() {
    let bed = Bed::new();
    let (one, two) = (bed.run(&bed.plan(1, "sleep 1000")), bed.run(&bed.plan(2, "sleep 1000")));
    let root = root(&bed, &one);
    let first = holder(&root).unwrap();
    bed.remove(&one);
    assert_eq!(holder(&root), Some(first));
    bed.remove(&two);
    let began = Instant::now();
    while holder(&root).is_some() {
        assert!(began.elapsed() < Duration::from_secs(10), "it stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    bed.run(&bed.plan(3, "sleep 1000"));
    assert!(holder(&root).is_some_and(|pid| pid != first));
    bed.end();
}

fn without_the_holder() {
    let bed = Bed::new();
    network(&bed);
    let one = bed.run(&member(&bed, 1, "one"));
    kill(holder(&root(&bed, &one)).unwrap());
    assert_eq!(heard(&bed, &one), "hello from one\n");
    assert_eq!(exec(&bed, &one, None, "echo well").0, "well\n");
    let two = bed.run(&member(&bed, 2, "two"));
    assert_eq!(heard(&bed, &two), "hello from two\n");
    let pid = bed.inspect(&one).pid.unwrap();
    kill(bed.shim(&one).unwrap());
    assert_eq!(bed.inspect(&one).exit.unwrap().code, 137);
    assert!(!runs(pid), "what was in the lost namespaces lives on");
    end(&bed);
}

//! Each part of a plan where QEMU or the guest reads it.

use std::collections::BTreeMap;

use hythe_guest::protocol::{Port, Protocol, Source};
use hythe_runtime::{Identity, ImageConfig};
use hythe_spec::{ByteSize, Component, Millicores, Mount, MountSource};
use serde_json::json;

use super::*;

fn plan(change: impl FnOnce(&mut Component)) -> Plan {
    let mut component = Component::new("web", "localhost/web:1".parse().unwrap());
    change(&mut component);
    let identity = Identity {
        owner: "o".to_owned(),
        service: "shop".to_owned(),
        component: "web".to_owned(),
        generation: 1,
        attempt: 1,
        plan_hash: "h".to_owned(),
    };
    Plan::resolve(&BTreeMap::new(), &component, identity)
}

fn translated(plan: &Plan) -> Launch {
    let instance = Instance {
        id: "1".to_owned(),
        metadata: json!({}),
        directory: "/root/instances/1".into(),
        initrd: "/root/cache/initrd".into(),
        journal: "/root/journal".into(),
        volumes: "/root/vol,umes".into(),
        networks: "/root/networks".into(),
        hosts: "/root/hosts".into(),
        exposed: vec![Port { port: 53, protocol: Protocol::Udp }, Port { port: 80, protocol: Protocol::Tcp }],
    };
    let host = Host {
        qemu: "/usr/bin/qemu".into(),
        kernel: "/boot/vmlinuz".into(),
        kvm: false,
        memory: 256 << 20,
        log_segment: 1 << 20,
        start_timeout: 60,
    };
    launch(plan, &Command::new(plan, &ImageConfig::default()), 15, &instance, &host)
}

fn value<'a>(launch: &'a Launch, option: &str) -> Vec<&'a str> {
    let arguments = &launch.machine.arguments;
    let pairs = arguments.windows(2).filter(|pair| pair[0] == option);
    pairs.map(|pair| pair[1].as_str()).collect()
}

#[test]
fn memory_and_processors_are_those_of_the_plan_or_the_defaults() {
    let launch = translated(&plan(|_| ()));
    assert_eq!((value(&launch, "-m"), value(&launch, "-smp")), (vec!["256M"], vec!["1"]));
    let launch = translated(&plan(|component| {
        component.resources.memory = Some(ByteSize(512 << 20));
        component.resources.cpus = Some(Millicores(2000));
    }));
    assert_eq!((value(&launch, "-m"), value(&launch, "-smp")), (vec!["608M"], vec!["2"]));
}

#[test]
fn qemu_is_confined_and_reads_no_configuration_of_the_host() {
    let launch = translated(&plan(|_| ()));
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        assert!(launch.machine.arguments.iter().any(|argument| argument == flag), "{flag}");
    }
    assert!(value(&launch, "-sandbox")[0].contains("spawn=deny"));
}

#[test]
fn a_volume_is_a_disk_found_by_its_serial_number_and_a_comma_does_not_end_its_path() {
    let launch = translated(&plan(|component| {
        let source = MountSource::Volume { name: "data".to_owned(), external: false };
        component.mounts.push(Mount { target: "/data".to_owned(), source, read_only: true });
    }));
    let drive = "file=/root/vol,,umes/shop_data/disk.raw,if=none,id=volume0,format=raw,discard=unmap,read-only=on";
    assert!(value(&launch, "-drive").contains(&drive), "{:?}", value(&launch, "-drive"));
    let mount = &launch.machine.guest.mounts[0];
    let source = Source::Disk { serial: "volume0".to_owned(), copy_up: false };
    assert_eq!((&mount.source, mount.target.as_str(), mount.read_only), (&source, "/data", true));
}

#[test]
fn every_port_is_watched_and_those_that_are_published_or_exposed_once() {
    let launch = translated(&plan(|component| component.ports = vec!["127.0.0.1:8080:80".parse().unwrap()]));
    let watched: Vec<(u16, Protocol)> =
        launch.machine.guest.ports.iter().map(|port| (port.port, port.protocol)).collect();
    assert_eq!(watched, [(0, Protocol::Tcp), (80, Protocol::Tcp), (53, Protocol::Udp)]);
    assert!(launch.shim.own_network);
}

#[test]
fn a_machine_without_a_network_has_no_device_for_one() {
    let launch = translated(&plan(|component| component.network = hythe_spec::Network::None));
    assert!(value(&launch, "-netdev").is_empty() && launch.machine.guest.network.is_empty());
    assert!(!launch.shim.own_network);
}

#[test]
fn what_a_supervisor_reads_is_what_was_written() {
    let launch = translated(&plan(|component| component.tty = true));
    let read: Launch = serde_json::from_value(serde_json::to_value(&launch).unwrap()).unwrap();
    assert_eq!(read.machine.guest, launch.machine.guest);
    assert_eq!((read.shim.id.as_str(), read.machine.start_timeout), ("1", 60));
}

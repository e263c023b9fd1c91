//! Killed at each step, and what becomes of it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hythe_network::{ATTACH_STEPS, AttachRequest, DETACH_STEPS, ENSURE_STEPS, Networks, REMOVE_STEPS};
use hythe_runtime::Attachment;

use crate::fixture::{Machine, Place, on_a_host, spec};
use crate::kernel;

const KILL: i32 = 9;

/// Not a test of its own: the process that dies.
#[test]
#[ignore = "started by the tests of crashes"]
fn victim() {
    let given = |name: &str| std::env::var(name).unwrap();
    let step = given("HYTHE_TEST_STEP");
    let hook = Arc::new(move |passed: &'static str| {
        if passed == step {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    });
    let networks = Networks::open(&PathBuf::from(given("HYTHE_TEST_DIRECTORY"))).unwrap().with_hook(hook);
    match given("HYTHE_TEST_DOES").as_str() {
        "attach" => attach(&networks, &PathBuf::from(given("HYTHE_TEST_NAMESPACE"))),
        "detach" => networks.detach("web").unwrap(),
        "attach to one" => drop(
            crate::fixture::attach(&networks, &Place::at(given("HYTHE_TEST_NAMESPACE").into()), "web", &["net"])
                .unwrap(),
        ),
        "ensure" => networks.ensure(&spec("new", false)).unwrap(),
        _ => networks.remove("new").unwrap(),
    }
    panic!("the step was not passed");
}

fn attach(networks: &Networks, namespace: &Path) {
    let attachments =
        ["one", "two"].map(|network| Attachment { network: network.to_owned(), aliases: vec!["web".to_owned()] });
    let request =
        AttachRequest { instance: "web", namespace, attachments: &attachments, hostname: "web", extra_hosts: &[] };
    networks.attach(&request).unwrap();
}

/// Does something in another process, which is killed at a step.
pub(crate) fn killed_at(does: &str, step: &str, machine: &Machine, place: &Place) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::victim", "--ignored", "--quiet"])
        .env("HYTHE_TEST_DOES", does)
        .env("HYTHE_TEST_STEP", step)
        .env("HYTHE_TEST_DIRECTORY", machine.directory.path())
        .env("HYTHE_TEST_NAMESPACE", &place.path)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(KILL), "at `{step}`: {status}");
}

fn fixture(machine: &Machine) -> Vec<crate::fixture::Container> {
    machine.network("one", false);
    machine.network("two", true);
    let others = vec![machine.container("a", &["one"]), machine.container("b", &["two"])];
    others.iter().for_each(|other| other.place.greets(80));
    others
}

#[test]
fn attaching_again_heals_a_crash_at_each_step() {
    on_a_host(|machine| {
        let others = fixture(machine);
        for step in ATTACH_STEPS {
            let place = Place::new();
            killed_at("attach", step, machine, &place);
            attach(&machine.networks, &place.path);
            for other in &others {
                other.addresses().into_iter().for_each(|address| drop(place.call(address, 80).unwrap()));
                assert_eq!(other.resolve("web").len(), 2, "after `{step}`");
            }
            machine.networks.detach("web").unwrap();
        }
    });
}

#[test]
fn a_crash_at_each_step_is_reclaimed() {
    on_a_host(|machine| {
        let others = fixture(machine);
        let before: Vec<_> = others.iter().map(crate::fixture::Container::hosts).collect();
        let links = kernel::links();
        for step in ATTACH_STEPS {
            let place = Place::new();
            killed_at("attach", step, machine, &place);
            let reclaimed = machine.networks.gc(&["a", "b"]).unwrap();
            assert_eq!(reclaimed.instances, ["web"], "after `{step}`");
            assert_eq!(kernel::links(), links, "after `{step}`");
            let after: Vec<_> = others.iter().map(crate::fixture::Container::hosts).collect();
            assert_eq!(after, before, "after `{step}`");
        }
        assert_eq!(machine.networks.gc(&["a", "b"]).unwrap(), Default::default());
    });
}

#[test]
fn detaching_again_heals_a_crash_at_each_step() {
    on_a_host(|machine| {
        let others = fixture(machine);
        let before: Vec<_> = others.iter().map(crate::fixture::Container::hosts).collect();
        let links = kernel::links();
        for step in DETACH_STEPS {
            let place = Place::new();
            attach(&machine.networks, &place.path);
            killed_at("detach", step, machine, &place);
            machine.networks.detach("web").unwrap();
            assert_eq!(kernel::links(), links, "after `{step}`");
            machine.networks.gc(&["a", "b"]).unwrap();
            let after: Vec<_> = others.iter().map(crate::fixture::Container::hosts).collect();
            assert_eq!(after, before, "after `{step}`");
        }
    });
}

#[test]
fn making_and_removing_a_network_again_heals_a_crash_at_each_step() {
    on_a_host(|machine| {
        let none = Place::new();
        let nothing = kernel::links();
        for step in ENSURE_STEPS {
            killed_at("ensure", step, machine, &none);
            machine.network("new", false);
            machine.container("web", &["new"]).place.greets(80);
            machine.networks.detach("web").unwrap();
            machine.networks.remove("new").unwrap();
            assert_eq!(kernel::links(), nothing, "after `{step}`");
        }
        for step in REMOVE_STEPS {
            machine.network("new", false);
            killed_at("remove", step, machine, &none);
            machine.networks.remove("new").unwrap();
            machine.networks.gc(&[]).unwrap();
            assert_eq!((kernel::links(), kernel::tables()), (nothing.clone(), vec![]), "after `{step}`");
        }
    });
}

#[test]
fn links_that_nobody_knows_are_removed_and_others_not() {
    on_a_host(|machine| {
        machine.network("net", false);
        let other = Place::new();
        let (ours, strange) = (format!("{}vzzz", machine.networks.link_prefix()), "hythe-other");
        kernel::pair(&ours, "x", &other.path);
        kernel::pair(strange, "y", &other.path);
        let reclaimed = machine.networks.gc(&[]).unwrap();
        assert_eq!(reclaimed.links, [ours]);
        assert!(kernel::links().iter().any(|link| link == strange));
        drop(other);
        let begun = std::time::Instant::now();
        while kernel::links().iter().any(|link| link == strange) {
            assert!(begun.elapsed() < crate::fixture::PATIENCE);
            std::thread::yield_now();
        }
    });
}

/// What the kernel had is gone, files say that they are of another boot, and the one that was not written through is cut short.
#[test]
fn a_reboot_of_the_host_begins_anew() {
    on_a_host(|machine| {
        machine.network("net", false);
        machine.network("cut", false);
        drop([machine.container("web", &["net", "cut"]), machine.container("db", &["net"])]);
        for link in kernel::links() {
            if link.starts_with(&machine.networks.link_prefix()) {
                kernel::delete(&link);
            }
        }
        kernel::delete_table(&machine.networks.table());
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        for file in ["members/net.json", "instances/web/about.json", "instances/db/about.json"] {
            let path = machine.directory.path().join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(boot.trim()));
            std::fs::write(&path, text.replace(boot.trim(), "another")).unwrap();
        }
        std::fs::write(machine.directory.path().join("members/cut.json"), "").unwrap();
        let reborn = machine.container("web", &["net", "cut"]);
        assert!(reborn.resolve("db-alias").is_empty());
        assert_eq!(machine.networks.observe("db").unwrap(), None);
        let db = machine.container("db", &["net"]);
        db.place.greets(80);
        db.addresses().into_iter().for_each(|address| drop(reborn.place.call(address, 80).unwrap()));
    });
}

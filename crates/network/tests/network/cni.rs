//! Networks by CNI plugins, with the real ones, and what is left of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hythe_network::{AttachRequest, DETACH_STEPS, Networks, plugins_supported};
use hythe_runtime::{Attachment, ErrorKind};

use crate::crash::killed_at;
use crate::fixture::{Machine, PATIENCE, Place, attach, call, on_a_host_with, spec};
use crate::kernel;

const PLUGINS: &str = "/usr/lib/cni";
/// A network by plugins passes all steps of an attach but `bridge`.
const STEPS: [&str; 6] = ["reserved", "prepared", "pair", "inside", "marked", "published"];

/// Runs a test on a machine whose networks are the work of the plugins in a directory.
fn with_plugins(directory: PathBuf, test: impl FnOnce(&Machine) + Send + 'static) {
    if let Err(error) = plugins_supported(Path::new(PLUGINS)) {
        eprintln!("skipped: {error}");
        return;
    }
    on_a_host_with(
        |state| Networks::open(state)?.by_plugins(directory),
        |machine| {
            test(machine);
            machine.networks.gc(&[]).unwrap();
            for network in machine.networks.list().unwrap() {
                machine.networks.remove(&network.name).unwrap();
            }
            // The chains that all who use the plugins share stay.
            let left: Vec<_> =
                rules().into_iter().filter(|rule| rule.contains("hythe") || rule.contains("10.")).collect();
            assert!(left.is_empty(), "{left:#?}");
        },
    );
}

fn on_a_host(test: impl FnOnce(&Machine) + Send + 'static) {
    with_plugins(PathBuf::from(PLUGINS), test);
}

/// All rules and chains of iptables on the machine.
fn rules() -> Vec<String> {
    let output = Command::new("iptables-save").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(['-', ':']));
    lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned()).collect()
}

/// What plugins made: rules, and links on the machine.
fn traces() -> (Vec<String>, Vec<String>) {
    (rules(), kernel::links())
}

/// The same where nobody is connected. The kernel takes its time to take a link away with its namespace.
fn idle_traces() -> (Vec<String>, Vec<String>) {
    let begun = std::time::Instant::now();
    while kernel::links().iter().any(|link| link.starts_with("veth")) && begun.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    traces()
}

#[test]
fn members_reach_each_other_by_name_and_others_do_not() {
    on_a_host(|machine| {
        let _neighbour = machine.neighbour();
        machine.network("net", false);
        machine.network("other", false);
        let web = machine.container("web", &["net"]);
        let db = machine.container("db", &["net"]);
        let both = machine.container("both", &["other", "net"]);
        let apart = machine.container("apart", &["other"]);
        for place in [&web.place, &db.place, &apart.place] {
            place.greets(80);
        }
        let address = web.resolve("db-alias")[0];
        assert_eq!(address, db.addresses()[0]);
        assert_eq!(web.place.call(address, 80).unwrap(), web.addresses()[0].to_string());
        both.place.call(address, 80).unwrap();
        both.place.call(apart.addresses()[0], 80).unwrap();
        assert!(web.resolve("apart").is_empty());
        web.place.cannot_call(apart.addresses()[0], 80);
        apart.place.cannot_call(address, 80);
    });
}

/// A machine whose operator changed his mind has both.
#[test]
fn networks_of_both_kinds_are_apart() {
    on_a_host(|machine| {
        let native = Networks::open(machine.directory.path()).unwrap();
        machine.network("net", false);
        machine.network("other", false);
        native.ensure(&spec("native", false)).unwrap();
        let web = machine.container("web", &["net"]);
        let db = machine.container("db", &["net"]);
        let others = [machine.container("other", &["other"]), machine.container("native", &["native"])];
        let neighbour = machine.neighbour();
        neighbour.greets(80);
        db.place.greets(80);
        web.place.call(db.addresses()[0], 80).unwrap();
        web.place.call(crate::fixture::NEIGHBOUR_V4, 80).unwrap();
        for other in &others {
            other.place.greets(80);
            call(other.addresses()[0], 80).unwrap();
            other.place.cannot_call(db.addresses()[0], 80);
            web.place.cannot_call(other.addresses()[0], 80);
            other.place.call(crate::fixture::NEIGHBOUR_V4, 80).unwrap();
        }
        machine.networks.detach("native").unwrap();
        machine.networks.remove("native").unwrap();
        let table = machine.networks.table();
        assert!(kernel::tables().iter().all(|name| *name != table));
        web.place.call(db.addresses()[0], 80).unwrap();
    });
}

#[test]
fn what_leads_out_is_masqueraded() {
    on_a_host(|machine| {
        let neighbour = machine.neighbour();
        neighbour.greets(80);
        machine.network("net", false);
        machine.network("inner", true);
        let web = machine.container("web", &["net"]);
        let seen = web.place.call(crate::fixture::NEIGHBOUR_V4, 80).unwrap();
        assert_eq!(seen, crate::fixture::HOST_V4.to_string());
        let inner = machine.container("inner", &["inner"]);
        inner.place.cannot_call(crate::fixture::NEIGHBOUR_V4, 80);
    });
}

#[test]
fn attaching_again_gives_the_same() {
    on_a_host(|machine| {
        machine.network("net", false);
        let web = machine.container("web", &["net"]);
        let before = traces();
        assert_eq!(machine.try_attach(&web.place, "web", &["net"]).unwrap(), web.attached);
        assert_eq!(traces(), before);
        machine.networks.detach("web").unwrap();
        machine.networks.detach("web").unwrap();
        assert_eq!(web.place.run(kernel::links), ["lo"]);
    });
}

#[test]
fn a_network_is_joined_and_left_while_the_others_stay() {
    on_a_host(|machine| {
        machine.network("one", false);
        machine.network("two", false);
        let web = machine.container("web", &["one"]);
        let other = machine.container("other", &["two"]);
        other.place.greets(80);
        let before = traces();
        let attachments = ["one", "two"]
            .map(|network| Attachment { network: network.to_owned(), aliases: vec!["web-alias".to_owned()] });
        let request = AttachRequest {
            instance: "web",
            namespace: &web.place.path,
            attachments: &attachments,
            hostname: "web",
            extra_hosts: &[],
        };
        machine.networks.join(&request).unwrap();
        web.place.call(other.addresses()[0], 80).unwrap();
        machine.networks.leave("web", "two").unwrap();
        web.place.cannot_call(other.addresses()[0], 80);
        assert_eq!(traces(), before);
    });
}

#[test]
fn a_crash_at_each_step_is_reclaimed_with_its_namespace_and_without() {
    on_a_host(|machine| {
        machine.network("net", false);
        drop(machine.container("first", &["net"]));
        machine.networks.detach("first").unwrap();
        let before = idle_traces();
        for is_gone in [false, true] {
            for step in STEPS {
                let place = Place::new();
                killed_at("attach to one", step, machine, &place);
                let place = (!is_gone).then_some(place);
                assert_eq!(machine.networks.gc(&[]).unwrap().instances, ["web"], "after `{step}`");
                assert_eq!(idle_traces(), before, "after `{step}`, gone: {is_gone}");
                drop(place);
            }
        }
    });
}

#[test]
fn attaching_again_heals_a_crash_at_each_step() {
    on_a_host(|machine| {
        machine.network("net", false);
        let other = machine.container("other", &["net"]);
        other.place.greets(80);
        let before = traces();
        for step in STEPS {
            let place = Place::new();
            killed_at("attach to one", step, machine, &place);
            attach(&machine.networks, &place, "web", &["net"]).unwrap();
            place.call(other.addresses()[0], 80).unwrap();
            machine.networks.detach("web").unwrap();
            assert_eq!(traces(), before, "after `{step}`");
        }
    });
}

#[test]
fn detaching_again_heals_a_crash_at_each_step() {
    on_a_host(|machine| {
        machine.network("net", false);
        drop(machine.container("first", &["net"]));
        machine.networks.detach("first").unwrap();
        let before = idle_traces();
        for step in DETACH_STEPS {
            let web = machine.container("web", &["net"]);
            killed_at("detach", step, machine, &web.place);
            machine.networks.detach("web").unwrap();
            machine.networks.gc(&[]).unwrap();
            assert_eq!(idle_traces(), before, "after `{step}`");
        }
    });
}

/// The plugin goes on when who started it is killed, and makes its rules afterwards: cleaning up waits for it.
#[test]
fn a_plugin_that_outlives_its_caller_leaves_nothing() {
    for dying in ["bridge", "firewall"] {
        let directory = tempfile::tempdir().unwrap();
        for plugin in ["bridge", "firewall", "static"] {
            std::os::unix::fs::symlink(Path::new(PLUGINS).join(plugin), directory.path().join(plugin)).unwrap();
        }
        let script = directory.path().join(dying);
        let mark = directory.path().join("killed");
        std::fs::remove_file(&script).unwrap();
        let text = format!(
            "#!/bin/sh\n[ $CNI_COMMAND = ADD ] && [ ! -e {mark} ] && touch {mark} && kill -9 $PPID && sleep 0.5\nexec {PLUGINS}/{dying}\n",
            mark = mark.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        with_plugins(directory.path().to_owned(), move |machine| {
            std::fs::write(&mark, "").unwrap();
            machine.network("net", false);
            drop(machine.container("first", &["net"]));
            machine.networks.detach("first").unwrap();
            let before = idle_traces();
            std::fs::remove_file(&mark).unwrap();
            let place = Place::new();
            killed_at("attach to one", "never", machine, &place);
            assert!(mark.exists());
            machine.networks.gc(&[]).unwrap();
            assert_eq!(idle_traces(), before, "`{dying}`");
        });
    }
}

#[test]
fn a_plugin_that_fails_is_reported_in_its_own_words_and_undone() {
    let directory = tempfile::tempdir().unwrap();
    for plugin in ["bridge", "static"] {
        std::os::unix::fs::symlink(Path::new(PLUGINS).join(plugin), directory.path().join(plugin)).unwrap();
    }
    let script = directory.path().join("firewall");
    let text = "#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exec /usr/lib/cni/firewall\necho '{\"code\":99,\"msg\":\"no such luck\"}'; exit 1\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().to_owned();
    with_plugins(path, move |machine| {
        machine.network("net", false);
        let place = Place::new();
        let error = machine.try_attach(&place, "web", &["net"]).unwrap_err();
        assert!(error.message().contains("no such luck") && error.message().contains("firewall"), "{error}");
        assert_eq!(place.run(kernel::links), ["lo"]);
        assert!(rules().iter().all(|rule| !rule.contains("hythe")), "{:?}", rules());
        // An older one does what it is told, and ignores what it does not know.
        std::fs::write(&script, "#!/bin/sh\nexec cat\n").unwrap();
        let error = machine.try_attach(&place, "web", &["net"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        drop(directory);
        let error = machine.try_attach(&place, "web", &["net"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let named = Networks::open(machine.directory.path()).unwrap().by_plugins(PathBuf::from(PLUGINS)).unwrap();
        attach(&named, &place, "web", &["net"]).unwrap();
        named.detach("web").unwrap();
    });
}

#[test]
fn what_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let error = plugins_supported(empty.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`bridge`"), "{error}");
    assert!(error.next_step().unwrap().contains("containernetworking-plugins"), "{error:?}");
}

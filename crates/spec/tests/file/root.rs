//! What equals root on the host, row by row.

use hythe_spec::permissions::STANDARD_CAPABILITIES;
use hythe_spec::root_equivalent::{CAPABILITIES, Host, PATHS, Reach, grants};
use hythe_spec::{Component, Mount, MountSource};

use crate::support::{component, memory, messages};

const OWN: &str = "/srv/agent";

fn found_in(component: &Component, resolve: &dyn Fn(&str) -> String) -> Vec<String> {
    let own = [OWN.to_owned()];
    let devices = |path: &str| match path {
        "/dev/net" => Some(vec!["/dev/net/tun".to_owned()]),
        "/dev/mixed" => Some(vec!["/dev/net/tun".to_owned(), "/dev/mixed/sda".to_owned()]),
        "/dev/empty" => Some(Vec::new()),
        _ => None,
    };
    let host = Host { own: &own, resolve, devices: &devices, allows_by_default: &|path| path == "/srv/shop/open.json" };
    grants(component, &host).into_iter().map(|grant| grant.field).collect()
}

fn found(lines: &str) -> Vec<String> {
    let files = memory([("/srv/shop/open.json", "{}"), ("/srv/shop/closed.json", "{}")]);
    found_in(&component(lines, &files), &str::to_owned)
}

fn bound(path: &str, read_only: bool) -> bool {
    let mut component = component("", &memory([]));
    let source = MountSource::Bind { path: path.to_owned(), propagation: None, selinux: None };
    component.mounts = vec![Mount { target: "/x".to_owned(), source, read_only }];
    !found_in(&component, &str::to_owned).is_empty()
}

#[test]
fn every_path_of_the_table_is_found() {
    for (path, reach, _) in PATHS {
        let below = format!("{path}/below");
        assert!(bound(path, false), "{path}");
        assert!(bound("/", false), "/");
        let above = path.rsplit_once('/').map_or("/", |(above, _)| if above.is_empty() { "/" } else { above });
        assert!(bound(above, false), "{above}");
        let socket_below = |(other, reach, _): (&str, Reach, &str)| {
            reach == Reach::Any && other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        assert_eq!(bound(path, true), PATHS.into_iter().any(socket_below), "{path}, read-only");
        if reach != Reach::Itself {
            assert!(bound(&below, false), "{below}");
        }
    }
}

#[test]
fn every_capability_of_the_table_is_found() {
    for (name, _) in CAPABILITIES {
        assert!(!STANDARD_CAPABILITIES.contains(&name), "{name}");
        let lines = format!("permissions = {{ profile = 'standard', cap_add = ['{name}'] }}");
        assert_eq!(found(&lines), [format!("permissions.cap_add ({name})")]);
    }
}

#[test]
fn every_other_way_is_found() {
    for (lines, field) in [
        ("permissions = { privileged = true }", "permissions.privileged"),
        ("permissions = { seccomp = 'unconfined' }", "permissions.seccomp (unconfined)"),
        ("permissions = { seccomp = 'open.json' }", "permissions.seccomp (/srv/shop/open.json)"),
        ("permissions = { write = ['/etc:/x'] }", "permissions (/etc)"),
        ("volumes = ['/:/h']", "volumes (/)"),
        ("volumes = ['/:/h:ro']", "volumes (/)"),
        ("volumes = ['/var/run/docker.sock:/s:ro']", "volumes (/var/run/docker.sock)"),
        ("volumes = ['/run/user/1000/podman/podman.sock:/s']", "volumes (/run/user/1000/podman/podman.sock)"),
        ("volumes = ['/srv/agent/keys:/s:ro']", "volumes (/srv/agent/keys)"),
        ("volumes = ['/srv:/s:ro']", "volumes (/srv)"),
        ("volumes = ['/dev/sda:/d:ro']", "volumes (/dev/sda)"),
    ] {
        assert_eq!(found(lines), [field], "{lines}");
    }
}

#[test]
fn link_does_not_lead_around_the_table() {
    let component = component("volumes = ['/data/link:/x']", &memory([]));
    assert_eq!(found_in(&component, &|_| "/etc".to_owned()), ["volumes (/data/link)"]);
}

#[test]
fn what_ordinary_components_ask_for_is_not_found() {
    for lines in [
        "",
        "permissions = 'network'",
        "permissions = { profile = 'standard', cap_add = ['NET_RAW', 'NET_ADMIN', 'SYS_PTRACE', 'SYS_NICE'] }",
        "permissions = { seccomp = 'closed.json' }",
        "volumes = ['/srv/web:/a', '/data:/b', '/home/me/x:/c', '/var/lib/shop:/d', '/tmp/x:/e', '/opt/x:/f', 'v:/g']",
        "volumes = ['/etc/ssl:/a:ro', '/usr/share/zoneinfo:/b:ro', '/sys:/host/sys:ro', '/proc:/host/proc:ro']",
        "volumes = ['/dev/null:/a', '/dev/urandom:/b', '/etcetera:/c', '/run/shop:/d', '/dev/log:/e']",
        "network = 'host'",
    ] {
        assert_eq!(found(lines), Vec::<String>::new(), "{lines}");
    }
}

#[test]
fn tmpfs_with_opened_protections_is_not_found() {
    assert!(found("tmpfs = '/t:dev,suid,exec'").is_empty());
}

#[test]
fn file_systems_of_the_kernel_are_nobodys_place() {
    for line in [
        "workdir = '/proc'",
        "workdir = '/proc/self/fd/7'",
        "workdir = '/sys/fs'",
        "workdir = '/a/../proc/self'",
        "workdir = '//proc//1'",
        "volumes = ['/a:/proc']",
        "volumes = ['/a:/proc/cpuinfo:ro']",
        "volumes = ['v:/proc/x']",
        "volumes = ['/sys/fs/cgroup:/sys/fs/cgroup']",
        "volumes = ['/a:/x/../sys']",
        "volumes = ['/a:/dev']",
        "volumes = [{ type = 'tmpfs', target = '/sys/x' }]",
        "tmpfs = '/proc/x'",
        "tmpfs = '/dev'",
        "tmpfs = '/'",
        "permissions = { read = ['/a:/proc/x'] }",
        "permissions = { read = ['/sys'] }",
    ] {
        assert_eq!(messages(line, &memory([])).len(), 1, "{line}: {:?}", messages(line, &memory([])));
    }
    for line in ["workdir = '/process'", "workdir = '/'", "tmpfs = '/dev/shm'", "volumes = ['/a:/system', '/b:/dev/b']"]
    {
        component(line, &memory([]));
    }
}

#[test]
fn directory_of_devices_is_judged_by_what_is_in_it() {
    assert!(found("devices = ['/dev/net']").is_empty());
    for path in ["/dev/mixed", "/dev/empty", "/dev/input"] {
        assert_eq!(found(&format!("devices = ['{path}']")), [format!("devices ({path}:{path}:rwm)")], "{path}");
    }
}

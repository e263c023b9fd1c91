//! What a component may do, as its processes see it.

use std::collections::BTreeMap;

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;

trials!("permissions":
    the_default_is_the_same_everywhere Real,
    none_is_no_capability_and_no_network Real,
    an_allow_list_that_cannot_be_enforced_is_refused Every,
    privileged_is_refused_unless_the_agent_allows_it Every,
    what_equals_root_is_refused_unless_the_agent_allows_it Every,
    privileged_is_everything_where_it_is_allowed Real,
);

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
const STANDARD: &str = "00000000800405fb";

/// Fields of `/proc/<pid>/status` inside the workload.
fn status(fixture: &Fixture<'_>, pid: &str) -> BTreeMap<String, String> {
    let text = fixture.hythe(&["exec", &fixture.service, "cat", &format!("/proc/{pid}/status")]).ok().out;
    let fields = text.lines().filter_map(|line| line.split_once(":\t"));
    fields.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

#[track_caller]
fn are(fields: &BTreeMap<String, String>, expected: [(&str, &str); 4]) {
    for (key, value) in expected {
        assert_eq!(fields.get(key).map(String::as_str), Some(value), "{key}");
    }
}

fn the_default_is_the_same_everywhere(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    for pid in ["1", "self"] {
        are(&status(fixture, pid), [("CapEff", STANDARD), ("CapBnd", STANDARD), ("NoNewPrivs", "1"), ("Seccomp", "2")]);
    }
}

fn none_is_no_capability_and_no_network(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "permissions = 'none'")).ok();
    for pid in ["1", "self"] {
        are(
            &status(fixture, pid),
            [("CapEff", "0000000000000000"), ("CapBnd", "0000000000000000"), ("NoNewPrivs", "1"), ("Seccomp", "2")],
        );
    }
    let interfaces = fixture.hythe(&["exec", &fixture.service, "ls", "/sys/class/net"]).ok().out;
    assert_eq!(interfaces, "lo\n", "interfaces besides the loopback");
}

#[track_caller]
fn refused(fixture: &Fixture<'_>, permissions: &str, says: &[&str]) {
    fixture.deploy(&one(&fixture.service, &stays("up"), permissions)).ends_with(2).says(says);
    assert_eq!(fixture.hythe(&["services", "--json"]).ok().out, "[]\n", "a refused service was stored");
    fixture.has_instances(0);
}

fn an_allow_list_that_cannot_be_enforced_is_refused(fixture: &mut Fixture<'_>) {
    let list = "permissions = { network = { outbound = { allow_host = ['example.com'], allow_port = [443] } } }";
    refused(fixture, list, &["error:", fixture.subject.name, "permissions.network.outbound"]);
}

const PRIVILEGED: &str = "permissions = { profile = 'standard', privileged = true, no_new_privileges = false }";

fn privileged_is_refused_unless_the_agent_allows_it(fixture: &mut Fixture<'_>) {
    refused(fixture, PRIVILEGED, &["privileged", "hint:", "allow_privileged = true"]);
}

fn what_equals_root_is_refused_unless_the_agent_allows_it(fixture: &mut Fixture<'_>) {
    for (line, says) in [
        ("volumes = ['/:/h']", "volumes (/)"),
        ("volumes = ['/etc:/h']", "volumes (/etc)"),
        ("devices = ['/dev/kmsg:r']", "devices (/dev/kmsg:/dev/kmsg:r)"),
        ("devices = ['vendor.com/class=one']", "devices (vendor.com/class=one)"),
        ("permissions = { profile = 'standard', cap_add = ['SYS_ADMIN'] }", "cap_add (SYS_ADMIN)"),
        ("permissions = { profile = 'standard', cap_add = ['SYS_MODULE'] }", "cap_add (SYS_MODULE)"),
        ("permissions = { profile = 'standard', seccomp = 'unconfined' }", "seccomp (unconfined)"),
    ] {
        refused(fixture, line, &["equals root on the host", says, "hint:", "allow_privileged = true"]);
    }
}

fn privileged_is_everything_where_it_is_allowed(fixture: &mut Fixture<'_>) {
    let config = fixture.subject.privileged_config();
    fixture.agent.reconfigure(&config);
    let deployed = fixture.deploy(&one(&fixture.service, &stays("up"), PRIVILEGED));
    if deployed.err.contains("unable to apply caps: operation not permitted") {
        // It was asked for, and this machine's kernel lets nobody have it.
        deployed.ends_with(1);
        return;
    }
    deployed.ok();
    let fields = status(fixture, "1");
    assert_eq!(fields["Seccomp"], "0", "a privileged component is not filtered");
    assert!(fields["CapEff"].as_str() > STANDARD, "{fields:#?}");
}

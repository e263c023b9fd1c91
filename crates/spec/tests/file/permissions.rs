use hythe_spec::permissions::STANDARD_CAPABILITIES;
use hythe_spec::{Network, Outbound, Permissions, Seccomp};

use crate::support::{component, memory, messages};

#[test]
fn without_a_profile_the_standard_one_holds() {
    let web = component("", &memory([]));
    assert_eq!(web.permissions, Permissions::standard());
    assert_eq!(component("permissions = 'standard'", &memory([])).permissions, Permissions::standard());
}

#[test]
fn a_profile_drops_everything_it_does_not_name() {
    let web = component("permissions = { cap_add = ['cap_chown'] }", &memory([]));
    assert_eq!(web.permissions.capabilities, ["CHOWN"]);
    assert_eq!(web.permissions.outbound, Some(Outbound::default()));
    assert!(web.permissions.no_new_privileges);
    assert_eq!(web.network, Network::None);
    let web = component("permissions = 'network'\nports = ['80']", &memory([]));
    assert!(web.permissions.capabilities.is_empty());
    assert_eq!(web.network, Network::Service);
}

#[test]
fn the_way_out_starts_from_the_standard_profile() {
    let web = component(
        "permissions = { profile = 'standard', no_new_privileges = false, cap_add = ['NET_RAW'], cap_drop = ['KILL'] }",
        &memory([]),
    );
    assert!(!web.permissions.no_new_privileges);
    assert!(web.permissions.capabilities.contains(&"NET_RAW".to_owned()));
    assert!(!web.permissions.capabilities.contains(&"KILL".to_owned()));
    assert_eq!(web.permissions.capabilities.len(), STANDARD_CAPABILITIES.len());
    assert_eq!(web.network, Network::Service);
}

#[test]
fn toolhive_profiles_are_read() {
    let profile = r#"{
        "name": "fetch", "read": ["/etc/ssl:/etc/ssl", "../data"], "write": ["/var/x:/etc/ssl"],
        "network": { "outbound": { "insecure_allow_all": false, "allow_host": ["example.com"], "allow_port": [443] },
                     "inbound": { "allow_host": ["localhost"] } },
        "privileged": false
    }"#;
    let files = memory([("/srv/shop/profiles/fetch.json", profile)]);
    let web = component("permissions = 'profiles/fetch.json'", &files);
    assert_eq!(web.permissions.profile, "fetch");
    let mounts: Vec<String> = web.permissions.mounts.iter().map(ToString::to_string).collect();
    assert_eq!(
        mounts,
        ["type=bind,source=/var/x,target=/etc/ssl", "type=bind,source=/srv/shop/data,target=/srv/shop/data,readonly"]
    );
    assert_eq!(web.permissions.inbound.allow_host, ["localhost"]);
    assert_eq!(web.permissions.outbound.map(|outbound| outbound.allow_port), Some(vec![443]));
    assert_eq!(web.network, Network::Service);
}

#[test]
fn a_profile_that_cannot_be_read_is_never_allowed() {
    let files = memory([
        ("/srv/shop/bad.json", "{"),
        ("/srv/shop/unknown.json", r#"{ "priviledged": false, "network": { "outbund": {} } }"#),
        ("/srv/shop/unknown.toml", "cap_ad = []"),
    ]);
    let found = messages("permissions = 'web.toml'", &files);
    assert_eq!(
        found,
        ["components[0].permissions: cannot read the permission profile `/srv/shop/web.toml`: no such file"]
    );
    assert_eq!(messages("permissions = 'bad.json'", &files).len(), 1);
    assert_eq!(
        messages("permissions = 'unknown.json'", &files),
        [
            "components[0].permissions: in the permission profile `unknown.json`, `priviledged`: unknown key `priviledged`",
            "components[0].permissions: in the permission profile `unknown.json`, `network.outbund`: unknown key `outbund`",
        ]
    );
    assert_eq!(messages("permissions = 'unknown.toml'", &files).len(), 1);
    assert_eq!(messages("permissions = { seccomp = 'x.json' }", &files).len(), 1);
    assert_eq!(messages("permissions = { profile = 'all' }", &files).len(), 1);
}

#[test]
fn a_closed_profile_conflicts_with_ports_and_networks() {
    let found = messages("permissions = 'none'\nports = ['80']", &memory([]));
    assert_eq!(found, ["components[0].ports[0]: ports are published, but the profile `none` opens no network"]);
    let found = messages("permissions = { read = ['/x'] }\nnetwork = 'host'", &memory([]));
    assert_eq!(found, ["components[0].network: the profile `inline` opens no network, but one is asked for"]);
}

#[test]
fn shell_characters_and_conflicts_are_refused() {
    for path in ["/a;b", "/a$b", "/a`b`", "/a|b", "/a b\\u0000"] {
        assert_eq!(messages(&format!("permissions = {{ read = [\"{path}\"] }}"), &memory([])).len(), 1, "{path}");
    }
    let found = messages("volumes = ['v:/x']\npermissions = { write = ['/y:/x'] }", &memory([]));
    assert_eq!(found, ["components[0].permissions: something else is mounted at `/x` already"]);
}

#[test]
fn every_capability_is_for_privileged_components_only() {
    assert_eq!(messages("permissions = { cap_add = ['ALL'] }", &memory([])).len(), 1);
    let web = component("permissions = { privileged = true, cap_add = ['ALL'], seccomp = 'unconfined' }", &memory([]));
    assert_eq!(web.permissions.capabilities.len(), hythe_spec::permissions::CAPABILITIES.len());
    assert_eq!(web.permissions.seccomp, Seccomp::Unconfined);
}

//! Nothing that limits or protects is lost: numbers do not wrap, options do not cancel each other.

use crate::support::{Memory, bad, component, good, memory, messages, one};

#[track_caller]
fn refused(lines: &str, expected: &str) {
    let found = messages(lines, &memory([]));
    assert_eq!(found.len(), 1, "{lines}: {found:?}");
    assert!(found[0].contains(expected), "{lines}: {found:?}");
}

#[test]
fn number_out_of_range_is_refused_and_never_wraps() {
    for (line, expected) in [
        ("memory_mb = 17592186044416", "`17592186044416` is not a number of mebibytes"),
        ("memory_mb = 9223372036854775807", "is not a number of mebibytes"),
        ("memory_mb = -1", "is not a number of mebibytes"),
        ("memory = '16777216t'", "too large"),
        ("memory = '2048p'", "larger than 1 EiB"),
        ("memory = 9223372036854775807", "larger than 1 EiB"),
        ("memory = 18446744073709551615", "out of range"),
        ("memory = 1e30", "too large"),
        ("memory = inf", "not a size"),
        ("memory = -1", "negative"),
        ("cpus = 8193", "more cores than Linux has"),
        ("cpus = '18446744073709551'", "more cores than"),
        ("cpus = '99999999999999999999'", "more cores than"),
        ("cpus = '99999999999999999999m'", "more cores than"),
        ("cpus = -1", "not an amount of cores"),
        ("pids = 4194305", "not a number of processes"),
        ("pids = 4294967297", "not a number of processes"),
        ("pids = -1", "not a number of processes"),
        ("shm_size = '2048p'", "larger than 1 EiB"),
        ("ulimits = { nofile = -5 }", "is negative"),
        ("ulimits = { nofile = '-5:-1' }", "is negative"),
        ("ulimits = { nofile = { soft = 1, hard = -2 } }", "is negative"),
        ("ulimits = { nofile = '9223372036854775808' }", "not a whole number"),
        ("stop_grace = '87601h'", "longer than ten years"),
        ("stop_grace = 18446744073709551", "longer than ten years"),
        ("stop_grace = '99999999999999999999999w'", "too long"),
        ("health = { tcp = 1, interval = '1000000d' }", "longer than ten years"),
        ("health = { tcp = 1, timeout = '1000000d' }", "longer than ten years"),
        ("health = { tcp = 1, start_period = '1000000d' }", "longer than ten years"),
        ("health = { tcp = 1, retries = 4294967296 }", "not a number of retries"),
        ("health = { tcp = 65537 }", "not a port"),
        ("restart = 'on-failure:4294967296'", "not a number of retries"),
        ("tmpfs = '/t:size=2048p'", "larger than 1 EiB"),
        ("tmpfs = '/t:size=0'", "would have no limit"),
        ("volumes = ['type=tmpfs,target=/t,tmpfs-size=0']", "would have no limit"),
        ("volumes = [{ type = 'tmpfs', target = '/t', size = '0.1' }]", "would have no limit"),
    ] {
        refused(line, expected);
    }
    let most = component("memory_mb = 1099511627776\ncpus = 8192\npids = 4194304", &memory([]));
    assert_eq!(most.resources.memory.map(|size| size.0), Some(1 << 60));
}

#[test]
fn wire_number_out_of_range_is_refused() {
    let mut service = good(&one("memory = '64m'\ntmpfs = '/t:size=1m'"), &memory([])).service;
    let resources = &mut service.components[0].resources;
    resources.memory = Some(hythe_spec::ByteSize(u64::MAX));
    resources.cpus = Some(hythe_spec::Millicores(u64::MAX));
    resources.pids = Some(u32::MAX);
    service.components[0].stop_grace = hythe_spec::Millis(u64::MAX);
    service.components[0].mounts[0].source = hythe_spec::MountSource::Tmpfs {
        size: Some(hythe_spec::ByteSize(u64::MAX)),
        mode: None,
        options: Default::default(),
    };
    assert_eq!(service.validate().len(), 5, "{:?}", service.validate());
}

#[test]
fn contradictory_mount_options_are_refused() {
    for (line, expected) in [
        ("volumes = ['/a:/b:ro,rw']", "`ro` and `rw` contradict each other"),
        ("volumes = ['v:/b:rw,ro']", "`rw` and `ro` contradict each other"),
        ("volumes = ['/a:/b:z,Z']", "`z` and `Z` contradict"),
        ("volumes = ['/a:/b:rshared,rslave']", "`rshared` and `rslave` contradict"),
        ("volumes = ['v:/b:z']", "`z` relabels host paths only"),
        ("volumes = ['type=bind,source=/a,target=/b,readonly,readonly=false']", "contradict each other"),
        ("volumes = ['type=bind,source=/a,src=/c,target=/b']", "`source=/a` and `src=/c` contradict"),
        ("volumes = ['type=bind,type=volume,source=/a,target=/b']", "contradict each other"),
        ("tmpfs = '/t:ro,rw'", "contradict each other"),
        ("tmpfs = '/t:size=1m,size=2m'", "`size=1m` and `size=2m` contradict"),
        ("tmpfs = '/t:mode=0700,mode=1777'", "contradict each other"),
        ("tmpfs = '/t:noexec,exec'", "`noexec` and `exec` contradict each other"),
        ("tmpfs = '/t:size=1m,size=50%'", "`size=1m` and `size=50%` contradict each other"),
        ("volumes = ['type=tmpfs,target=/t,uid=1,uid=2']", "`uid=1` and `uid=2` contradict each other"),
        ("volumes = ['type=volume,source=v,target=/t,exec']", "`exec` is an option of tmpfs mounts"),
    ] {
        refused(line, expected);
    }
    assert!(component("volumes = ['/a:/b:ro,ro,z']", &memory([])).mounts[0].read_only);
}

#[test]
fn unsupported_mount_option_says_why() {
    for option in ["U", "O", "idmap", "idmap=uids=0-1-10", "nocopy"] {
        let error = bad(&one(&format!("volumes = ['/a:/b:{option}']")), &memory([]));
        assert!(error.diagnostics[0].message.contains("is not supported"), "{option}: {error:?}");
        assert!(error.diagnostics[0].hint.is_some(), "{option}");
    }
    for option in ["U=true", "idmap", "chown=true", "relabel=shared"] {
        let error = bad(&one(&format!("volumes = ['type=bind,source=/a,target=/b,{option}']")), &memory([]));
        assert!(error.diagnostics[0].message.contains("is not supported"), "{option}: {error:?}");
    }
    for option in
        ["uid=app", "gid=4294967295", "uid=+1", "size=0%", "size=101%", "nr_inodes=0", "nr_inodes=10k", "mpol=x"]
    {
        let error = bad(&one(&format!("tmpfs = '/t:{option}'")), &memory([]));
        assert!(
            error.diagnostics[0].message.contains(option.rsplit('=').next().unwrap_or_default()),
            "{option}: {error:?}"
        );
        assert!(error.diagnostics[0].hint.is_some(), "{option}");
    }
    assert!(hythe_spec::parse("x", &one("tmpfs = '/t:noatime,nosuid'"), &memory([])).is_ok());
}

#[test]
fn tmpfs_of_two_paths_is_refused_with_the_list_to_write() {
    let error = bad(&one("tmpfs = '/t,/u:size=1m'"), &memory([]));
    let found = &error.diagnostics[0];
    assert_eq!(found.message, "`/t,/u` is not one path");
    assert!(found.hint.as_deref().unwrap_or_default().contains("[\"/t\", \"/u\"]"), "{found:?}");
    component("volumes = [{ type = 'tmpfs', target = '/t,u' }]", &memory([]));
}

#[test]
fn option_in_a_profile_path_is_refused() {
    for line in ["write = ['/a:/b:ro']", "read = ['/a:/b:rw']", "write = ['volume://v:/b:ro']"] {
        refused(&format!("permissions = {{ {line} }}"), "a path in a profile has no options");
    }
    refused("permissions = { write = ['/a:/x', '/b:/x'] }", "something else is mounted at `/x` already");
}

#[test]
fn capability_added_and_dropped_is_refused() {
    refused("permissions = { cap_add = ['NET_RAW'], cap_drop = ['net_raw'] }", "`NET_RAW` is added and dropped");
    refused(
        "permissions = { privileged = true, cap_add = ['ALL'], cap_drop = ['SYS_ADMIN'] }",
        "a privileged component has every capability",
    );
    let web = component("permissions = { profile = 'standard', cap_drop = ['ALL'], cap_add = ['CHOWN'] }", &memory([]));
    assert_eq!(web.permissions.capabilities, ["CHOWN"]);
}

#[test]
fn key_given_twice_in_a_json_profile_is_refused() {
    let text = r#"{ "network": { "outbound": { "insecure_allow_all": false, "insecure_allow_all": true } } }"#;
    let files: Memory = memory([("/srv/shop/p.json", text)]);
    let found = messages("permissions = 'p.json'", &files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("the key `network.outbound.insecure_allow_all` is given twice"), "{found:?}");
}

#[test]
fn list_beside_everything_is_reported() {
    let parsed = good(
        &one("permissions = { network = { outbound = { insecure_allow_all = true, allow_port = [443] } } }"),
        &memory([]),
    );
    assert!(parsed.warnings[0].message.contains("limit nothing"), "{:?}", parsed.warnings);
}

use std::collections::BTreeMap;

use hythe_spec::{
    ByteSize, HttpProbe, Millicores, Millis, MountSource, Network, Probe, Restart, RuntimeKind, Signal, Tls,
    TmpfsOptions,
};

use crate::support::{Memory, component, good, memory, messages, one};

#[test]
fn synonyms_of_earlier_tools_are_accepted() {
    let web = component("cmd = 'httpd -f \"a b\"'\nmemory_mb = 64\nvcpus = 2", &memory([]));
    assert_eq!(web.command, Some(vec!["httpd".to_owned(), "-f".to_owned(), "a b".to_owned()]));
    assert_eq!(web.resources.memory, Some(ByteSize(64 << 20)));
    assert_eq!(web.resources.cpus, Some(Millicores(2000)));
    assert!(!good(&format!("active = false\n{}", one("")), &memory([])).service.active);
    let twice = messages("cmd = 'a'\ncommand = 'b'", &memory([]));
    assert_eq!(twice, ["components[0].cmd: `command` and `cmd` mean the same"]);
}

#[test]
fn quantities_have_units() {
    let web = component(
        "memory = '64m'\ncpus = 0.5\nshm_size = 1048576\nstop_grace = 3\nstop_signal = 'INT'\nrestart = 'on-failure:3'\n\
         ulimits = { nofile = '512:1024', nproc = 64, core = { soft = 0 } }\npids = 10",
        &memory([]),
    );
    assert_eq!(web.resources.memory, Some(ByteSize(64 << 20)));
    assert_eq!(web.resources.cpus, Some(Millicores(500)));
    assert_eq!(web.resources.shm_size, Some(ByteSize(1 << 20)));
    assert_eq!(web.stop_grace, Millis(3000));
    assert_eq!(web.stop_signal, Some(Signal(2)));
    assert_eq!(web.restart, Restart::OnFailure { max_retries: Some(3) });
    let limits: Vec<_> =
        web.resources.ulimits.iter().map(|limit| (limit.name.as_str(), limit.soft, limit.hard)).collect();
    assert_eq!(limits, [("core", 0, 0), ("nofile", 512, 1024), ("nproc", 64, 64)]);
}

#[test]
fn variables_come_from_files_then_from_the_component() {
    let mut files = memory([("/srv/shop/a.env", "A=1\nB=\"${A}2\"\nC=3\nE"), ("/srv/shop/raw.env", "Q=\"1\"\n")]);
    files.variables = BTreeMap::from([("HOME", "/home/me"), ("E", "here")]);
    let web = component(
        "env_file = ['a.env', { path = 'raw.env', format = 'raw' }, { path = 'none.env', required = false }]\n\
         env = ['C=4', 'C=5', 'EMPTY=', 'HOME', 'UNSET']",
        &files,
    );
    let expected =
        [("A", "1"), ("B", "12"), ("C", "5"), ("E", "here"), ("EMPTY", ""), ("HOME", "/home/me"), ("Q", "\"1\"")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(web.env.into_iter().collect::<Vec<_>>(), expected);
    let parsed = good(&one("env = ['UNSET']"), &Memory::default());
    assert_eq!(parsed.warnings[0].message, "`UNSET` is not set here, so it is left out");
    let table = component("env = { A = 1, B = true, C = 1.5, D = 'x' }", &Memory::default());
    assert_eq!(table.env.into_values().collect::<Vec<_>>(), ["1", "true", "1.5", "x"]);
}

#[test]
fn a_bad_environment_file_is_named_with_its_line() {
    let files = memory([("/srv/shop/a.env", "A=1\nB='x\n")]);
    let found = messages("env_file = 'a.env'", &files);
    assert_eq!(found, ["components[0].env_file: `a.env`, line 2: the quote `'` is not closed"]);
    let found = messages("env_file = 'b.env'", &files);
    assert_eq!(found, ["components[0].env_file: cannot read `/srv/shop/b.env`: no such file"]);
}

#[test]
fn volumes_have_three_forms_and_relative_paths_a_base() {
    let web = component(
        "volumes = ['./conf:/etc/x:ro', 'type=bind,source=~/d,target=/d', { source = 'v', target = '/v', external = true },\n\
         { source = '../up', target = '/up', read_only = true }, { type = 'tmpfs', target = '/t', size = '1m', mode = '0700' }]\n\
         tmpfs = ['/run', '/tmp:size=2m,mode=1777']",
        &memory([]),
    );
    let bind = |path: &str| MountSource::Bind { path: path.to_owned(), propagation: None, selinux: None };
    let sources: BTreeMap<_, _> =
        web.mounts.into_iter().map(|mount| (mount.target, (mount.source, mount.read_only))).collect();
    assert_eq!(sources["/etc/x"], (bind("/srv/shop/conf"), true));
    assert_eq!(sources["/d"], (bind("/home/me/d"), false));
    assert_eq!(sources["/up"], (bind("/srv/up"), true));
    assert_eq!(sources["/v"], (MountSource::Volume { name: "v".to_owned(), external: true }, false));
    assert_eq!(
        sources["/t"],
        (MountSource::Tmpfs { size: Some(ByteSize(1 << 20)), mode: Some(0o700), options: Default::default() }, false)
    );
    let options = TmpfsOptions {
        percent: Some(50),
        uid: Some(1),
        gid: Some(2),
        inodes: Some(9),
        exec: true,
        suid: true,
        dev: true,
    };
    let all = MountSource::Tmpfs { size: None, mode: None, options };
    for form in [
        "tmpfs = '/t:size=50%,uid=1,gid=2,nr_inodes=9,exec,suid,dev'",
        "volumes = ['type=tmpfs,target=/t,tmpfs-size=50%,uid=1,gid=2,nr_inodes=9,exec,suid,dev']",
        "volumes = [{ type = 'tmpfs', target = '/t', size = '50%', uid = 1, gid = 2, nr_inodes = 9, exec = true, suid = true, dev = true }]",
    ] {
        assert_eq!(good(&one(form), &memory([])).service.components[0].mounts[0].source, all, "{form}");
    }
    assert_eq!(sources["/run"], (MountSource::Tmpfs { size: None, mode: None, options: Default::default() }, false));
}

#[test]
fn the_path_of_a_service_is_the_base_of_its_relative_paths() {
    let text = format!("path = 'src'\n{}[build.images]\n'busybox:1' = 'web/Dockerfile'\n", one("volumes = ['./a:/a']"));
    let parsed = good(&text, &memory([]));
    assert_eq!(parsed.builds[0].context, "/srv/shop/src");
    assert_eq!(parsed.builds[0].dockerfile, "/srv/shop/src/web/Dockerfile");
    assert!(
        matches!(&parsed.service.components[0].mounts[0].source, MountSource::Bind { path, .. } if path == "/srv/shop/src/a")
    );
    let text = format!("{}[build.images]\n'busybox:1' = {{ context = 'web' }}\n", one(""));
    assert_eq!(good(&text, &memory([])).builds[0].dockerfile, "/srv/shop/web/Dockerfile");
}

#[test]
fn the_runtime_of_a_service_is_the_default_of_its_components() {
    let text = format!("runtime = 'docker'\n{}", one(""));
    assert_eq!(good(&text, &memory([])).service.components[0].runtime, Some(RuntimeKind::Docker));
    let text = format!("runtime = 'docker'\n{}", one("runtime = 'podman'"));
    assert_eq!(good(&text, &memory([])).service.components[0].runtime, Some(RuntimeKind::Podman));
}

#[test]
fn networks_are_keywords_or_names() {
    assert_eq!(component("", &memory([])).network, Network::Service);
    assert_eq!(component("network = 'none'", &memory([])).network, Network::None);
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(component("network = ['a', 'b']", &memory([])).network, Network::Named { names });
}

#[test]
fn health_checks_have_four_kinds() {
    let probe =
        |line: &str| component(&format!("[components.health]\n{line}"), &memory([])).health.map(|health| health.probe);
    let http = |port, path: &str| Some(Probe::Http(HttpProbe::new(port, path.to_owned())));
    assert_eq!(probe("http = ':8080/healthz'"), http(8080, "/healthz"));
    assert_eq!(probe("http = 8080"), http(8080, "/"));
    assert_eq!(probe("http = 'http://localhost/x'"), http(80, "/x"));
    assert_eq!(probe("http = { port = 1, path = '/y' }"), http(1, "/y"));
    assert_eq!(probe("tcp = 5432"), Some(Probe::Tcp { port: 5432 }));
    assert_eq!(
        probe("exec = 'test -f /x'"),
        Some(Probe::Exec { command: vec!["test".into(), "-f".into(), "/x".into()] })
    );
}

#[test]
fn http_check_says_what_is_asked_and_what_is_a_success() {
    let probe = |line: &str| match component(&format!("[components.health]\n{line}"), &memory([]))
        .health
        .map(|health| health.probe)
    {
        Some(Probe::Http(http)) => http,
        other => panic!("{line}: {other:?}"),
    };
    let secure = HttpProbe { tls: Some(Tls::Verified), ..HttpProbe::new(8443, "/x".to_owned()) };
    assert_eq!(probe("http = 'https://localhost:8443/x'"), secure);
    assert_eq!(probe("http = 'https://localhost'").port, 443);
    assert_eq!(probe("http = { port = 8443, path = '/x', tls = true }"), secure);
    assert_eq!(probe("http = { port = 1, tls = 'insecure' }").tls, Some(Tls::Insecure));
    assert_eq!(probe("http = { port = 1, tls = false }").tls, None);
    let full = probe("http = { port = 1, status = [200, '301-302'], body = 'ok', headers = { X-A = 'b' } }");
    assert_eq!(full.status.iter().map(ToString::to_string).collect::<Vec<_>>(), ["200", "301-302"]);
    assert_eq!((full.body.as_deref(), full.headers["x-a"].as_str()), (Some("ok"), "b"));
    assert_eq!(probe("http = { port = 1, status = 204 }").status.len(), 1);
}

#[test]
fn grpc_check_is_a_port_or_a_table() {
    let probe =
        |line: &str| component(&format!("health = {{ {line} }}"), &memory([])).health.map(|health| health.probe);
    assert_eq!(probe("grpc = 9000"), Some(Probe::Grpc { port: 9000, service: None }));
    let service = Some("shop.Cart".to_owned());
    assert_eq!(probe("grpc = { port = 9000, service = 'shop.Cart' }"), Some(Probe::Grpc { port: 9000, service }));
}

#[test]
fn health_none_is_no_check_at_all_and_absent_leaves_it_to_the_image() {
    for line in ["health = 'none'", "health = { exec = ['NONE'] }"] {
        let component = component(line, &memory([]));
        assert!(component.no_health && component.health.is_none(), "{line}");
    }
    assert!(!component("", &memory([])).no_health);
    let checked = component("health = { tcp = 1, start_period = '1m', start_interval = '2s' }", &memory([]));
    assert_eq!(checked.health.and_then(|health| health.start_interval), Some(Millis(2000)));
}

#[test]
fn what_a_plain_check_does_not_say_is_not_written_down() {
    let plain = component("health = { http = ':80/x' }", &memory([]));
    let text = serde_json::to_string(&plain).expect("JSON");
    assert!(text.contains(r#""probe":{"type":"http","port":80,"path":"/x"}"#), "{text}");
    for key in ["no_health", "start_interval", "tls", "headers", "server_name", "body"] {
        assert!(!text.contains(&format!("\"{key}\"")), "{key}: {text}");
    }
}

use hythe_spec::{
    Component, Condition, Dependency, Drift, ImageRef, Network, Permissions, PullPolicy, Restart, Service,
};

use crate::support::{bad, good, memory, messages, one};

fn component(name: &str) -> Component {
    let image = ImageRef { domain: "localhost".into(), path: "x".into(), tag: Some("1".into()), digest: None };
    Component::new(name, image)
}

fn service(components: Vec<Component>) -> Service {
    let labels = std::collections::BTreeMap::new();
    Service { name: "shop".into(), node: None, labels, active: true, drift: Drift::Report, components }
}

fn problems(components: Vec<Component>) -> Vec<String> {
    service(components).validate().into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn dependencies_are_known_and_have_no_cycle() {
    let depends = |name: &str, on: &str, condition: Condition| {
        let mut component = component(name);
        component.depends_on.insert(on.to_owned(), condition.into());
        component
    };
    let cycle = problems(vec![
        depends("a", "b", Condition::Started),
        depends("b", "c", Condition::Started),
        depends("c", "b", Condition::Started),
    ]);
    assert_eq!(cycle, ["components[1].depends_on: components depend on each other: b -> c -> b"]);
    assert_eq!(
        problems(vec![depends("a", "a", Condition::Started)]),
        ["components[0].depends_on.a: `a` depends on itself"]
    );
    assert_eq!(
        problems(vec![depends("a", "b", Condition::Started)]),
        ["components[0].depends_on.b: there is no component `b`"]
    );
    assert!(problems(vec![depends("a", "b", Condition::Healthy), component("b")]).is_empty(), "its image may have one");
    let mut unprobed = component("b");
    unprobed.no_health = true;
    assert_eq!(problems(vec![depends("a", "b", Condition::Healthy), unprobed]).len(), 1);
    let mut once = component("b");
    assert_eq!(problems(vec![depends("a", "b", Condition::Completed), once.clone()]).len(), 1);
    once.restart = Restart::No;
    assert!(problems(vec![depends("a", "b", Condition::Completed), once]).is_empty());
}

#[test]
fn a_dependency_is_a_word_or_a_table_and_never_optional() {
    let file = |how: &str| {
        let db = "[[components]]\nname = 'db'\nimage = 'x'\nhealth = { tcp = 1 }\n";
        one(&format!("depends_on = {{ db = {how} }}\n{db}"))
    };
    let depends = |how: &str| good(&file(how), &memory([])).service.components[0].depends_on["db"];
    assert_eq!(depends("'healthy'"), Condition::Healthy.into());
    assert_eq!(depends("{ restart = true }"), Dependency { condition: Condition::Started, restart: true });
    let full = Dependency { condition: Condition::Healthy, restart: true };
    assert_eq!(depends("{ condition = 'service_healthy', restart = true, required = true }"), full);
    let optional = bad(&file("{ required = false }"), &memory([])).render(false);
    assert!(optional.contains("a dependency cannot be optional"), "{optional}");
    assert!(optional.contains("leave it out of `depends_on`"), "{optional}");
}

#[test]
fn a_dependency_that_says_no_more_is_its_condition_on_the_wire() {
    let written = |dependency: Dependency| serde_json::to_value(dependency).expect("a dependency is written");
    assert_eq!(written(Condition::Healthy.into()), serde_json::json!("healthy"));
    let full = Dependency { condition: Condition::Healthy, restart: true };
    assert_eq!(written(full), serde_json::json!({ "condition": "healthy", "restart": true }));
    for dependency in [full, Condition::Completed.into()] {
        assert_eq!(serde_json::from_value::<Dependency>(written(dependency)).ok(), Some(dependency));
    }
}

#[test]
fn a_pull_policy_of_the_digest_needs_one() {
    let policy = |image: &str| {
        let mut component = component("a");
        component.image = image.parse().expect("a reference");
        component.pull_policy = PullPolicy::Digest;
        problems(vec![component])
    };
    let words = "needs a digest, and `docker.io/library/x:1` has none";
    assert_eq!(policy("x:1"), [format!("components[0].pull_policy: `pull_policy = \"digest\"` {words}")]);
    assert!(policy(&format!("x@sha256:{}", "a".repeat(64))).is_empty());
}

#[test]
fn a_host_port_is_published_once() {
    let pair = |first: &str, second: &str| {
        let second = format!("[[components]]\nname = 'b'\nimage = 'x'\nports = ['{second}']\n");
        format!("{}{second}", one(&format!("ports = ['{first}']")))
    };
    for (first, second) in [("80:1", "80:2"), ("0.0.0.0:80:1", "127.0.0.1:80:2"), ("80:1", "[::1]:80:2")] {
        assert_eq!(bad(&pair(first, second), &memory([])).errors(), 1, "{first} {second}");
    }
    for (first, second) in
        [("80:1", "80:2/udp"), ("127.0.0.1:80:1", "127.0.0.2:80:2"), ("80", "80"), ("0.0.0.0:80:1", "[::1]:80:1")]
    {
        assert!(hythe_spec::parse("x", &pair(first, second), &memory([])).is_ok(), "{first} {second}");
    }
}

#[test]
fn one_component_is_checked_field_by_field() {
    for line in [
        "memory = '5m'",
        "cpus = 0.001",
        "pids = 0",
        "workdir = 'x'",
        "user = 'a b'",
        "hostname = '-x'",
        "labels = { 'hythe.x' = '1' }",
        "env = { '' = 'x' }",
        "network = 'host'\nports = ['8080:80']",
        "network = 'none'\nports = ['80']",
        "volumes = ['a:/x', 'b:/x/']",
        "tmpfs = '/'",
        "ulimits = { nofile = '2:1' }",
        "shm_size = 0",
        "restart = 'sometimes'",
        "dns = 'localhost'",
        "extra_hosts = ['x']",
        "dns_search = ['a b']",
        "dns_search = ['.', 'a']",
        "dns_options = ['ndots:x']",
        "group_add = ['keep-groups']",
        "group_add = ['video', 'video']",
        "group_add = [4294967295]",
        "sysctls = { 'kernel.core_pattern' = '|/x' }",
        "network = 'host'\nsysctls = { 'net.core.somaxconn' = 1 }",
        "sysctls = ['net/core/somaxconn=1']",
        "devices = ['kvm']",
        "devices = ['/dev/kvm', '/dev/fuse:/dev/kvm']",
        "devices = ['/dev/kvm']\nvolumes = ['/x:/dev/kvm']",
        "logs = { max_size = '1k' }",
        "logs = { max_files = 0 }",
        "platform = 'windows/amd64'",
        "platform = 'linux/arm46'",
        "command = 'a \"b'",
        "network = ['none', 'a']",
        "health = { tcp = 0 }",
        "health = { http = '/x' }",
        "health = { tcp = 1, exec = 'x' }",
        "health = 'off'",
        "health = { grpc = 0 }",
        "health = { tcp = 1, start_interval = 0 }",
        "health = { http = { port = 1, tls = 'maybe' } }",
        "health = { http = { port = 1, status = 99 } }",
        "health = { http = { port = 1, status = '300-200' } }",
        "health = { http = { port = 1, server_name = 'a b' } }",
        "health = { http = { port = 1, headers = { 'a b' = 'c' } } }",
        "health = { http = { port = 1, headers = { A = \"b\\nc\" } } }",
        "labels = ['a']",
        "user = 4294967295",
    ] {
        assert_eq!(messages(line, &memory([])).len(), 1, "{line}: {:?}", messages(line, &memory([])));
    }
}

#[test]
fn names_fit_every_runtime() {
    for name in ["", "-a", "a-", "A", "a_b", "a.b"] {
        assert_eq!(problems(vec![component(name)]).len(), 1, "{name}");
    }
    assert!(problems(vec![component(&"x".repeat(45))]).is_empty());
    assert_eq!(problems(vec![component(&"x".repeat(46))]).len(), 1);
    assert_eq!(problems(vec![component("a"), component("a")]), ["components[1].name: the name `a` is taken"]);
    assert_eq!(problems(vec![]), ["components: a service has at least one component"]);
}

#[test]
fn a_wire_service_cannot_open_what_its_profile_closes() {
    let mut web = component("web");
    web.permissions = Permissions::built_in("none").unwrap_or_else(Permissions::standard);
    assert_eq!(problems(vec![web.clone()]), ["components[0].network: the profile `none` opens no network"]);
    web.network = Network::None;
    assert!(problems(vec![web]).is_empty());
}

#[test]
fn a_conflict_is_found_beside_a_broken_neighbour_and_reported_once() {
    let text = format!(
        "{}[[components]]\nname = 'b'\nimage = 'x'\nports = ['9/xyz', '1-1000:1-1000']\n",
        one("ports = ['1-1000:1-1000', 'x']")
    );
    let found: Vec<_> = bad(&text, &memory([])).diagnostics.into_iter().map(|one| (one.path, one.message)).collect();
    let expected = [
        ("components[0].ports[1]", "`x` is not a container port"),
        ("components[1].ports[0]", "`xyz` is not a protocol"),
        ("components[1].ports[1]", "host port 1/tcp is published twice"),
    ];
    assert_eq!(found, expected.map(|(path, message)| (path.to_owned(), message.to_owned())));
}

#[test]
fn what_is_missing_is_said_once() {
    let found = messages("[[components]]\ndepends_on = ['web']\n[[components]]\nname = 'c'\nimage = ''", &memory([]));
    let expected = [
        "components[1]: the key `name` is missing",
        "components[1]: the key `image` is missing",
        "components[2].image: not an image reference",
    ];
    assert_eq!(found, expected);
}

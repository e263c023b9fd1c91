use hythe_spec::{Component, Condition, Drift, ImageRef, Network, Permissions, Restart, Service};

use crate::support::{bad, memory, messages, one};

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
    let depends = |name: &str, on: &str, condition| {
        let mut component = component(name);
        component.depends_on.insert(on.to_owned(), condition);
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
    assert_eq!(problems(vec![depends("a", "b", Condition::Healthy), component("b")]).len(), 1);
    let mut once = component("b");
    assert_eq!(problems(vec![depends("a", "b", Condition::Completed), once.clone()]).len(), 1);
    once.restart = Restart::No;
    assert!(problems(vec![depends("a", "b", Condition::Completed), once]).is_empty());
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
        "command = 'a \"b'",
        "network = ['none', 'a']",
        "health = { tcp = 0 }",
        "health = { http = '/x' }",
        "health = { tcp = 1, exec = 'x' }",
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
fn a_conflict_is_found_beside_a_broken_neighbour_and_told_once() {
    let text = format!(
        "{}[[components]]\nname = 'b'\nimage = 'x'\nports = ['9/xyz', '1-65535:1-65535']\n",
        one("ports = ['1-65535:1-65535', 'x']")
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

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::tests::labels;

fn read(pairs: &[(&str, &str)]) -> Hints {
    Hints::read(&labels(pairs), &BTreeMap::new())
}

#[test]
fn ours_come_before_kois_before_a_proxys() {
    let hints = read(&[
        ("hythe.name", "ours"),
        ("koi.name", "kois"),
        ("koi.dns.name", "kois-dns"),
        ("koi.announce", "short"),
        ("traefik.http.routers.web.rule", "Host(`t.test`)"),
        ("traefik.http.services.web.loadbalancer.server.port", "8080"),
        ("caddy", "c.test"),
        ("caddy.reverse_proxy", "{{upstreams 9000}}"),
    ]);
    assert_eq!(hints.name.as_deref(), Some("ours"));
    assert_eq!(hints.dns_name.as_deref(), Some("kois-dns"));
    assert_eq!((hints.enabled, hints.port), (Some(true), Some(8080)));
    assert_eq!(hints.hosts, ["t.test", "c.test"]);
    let sources = ["name", "dns_name", "enabled", "port"].map(|field| hints.sources[field].as_str());
    assert_eq!(
        sources,
        ["hythe.name", "koi.dns.name", "koi.announce", "traefik.http.services.web.loadbalancer.server.port"]
    );
    assert_eq!(hints.problems, [""; 0]);
}

#[test]
fn everything_of_kois_is_read() {
    let hints = read(&[
        ("koi.enable", "Yes"),
        ("koi.type", "_ipp._tcp"),
        ("koi.txt.version", "1.0"),
        ("koi.health.kind", "HTTP"),
        ("koi.health.path", "/healthz"),
        ("koi.health.interval", "30"),
        ("koi.health.timeout", "500ms"),
        ("koi.proxy.port", "443"),
        ("koi.proxy.remote", "on"),
        ("koi.certmesh", "TRUE"),
    ]);
    assert_eq!(hints.problems, [""; 0]);
    let health = HealthHint {
        kind: Some(HealthKind::Http),
        path: Some("/healthz".to_owned()),
        interval: Some(Millis(30_000)),
        timeout: Some(Millis(500)),
    };
    assert_eq!(hints.health, health);
    assert_eq!((hints.enabled, hints.proxy_port), (Some(true), Some(443)));
    assert_eq!((hints.proxy_remote, hints.certmesh), (Some(true), Some(true)));
    assert_eq!((hints.service_type.as_deref(), hints.txt["version"].as_str()), (Some("_ipp._tcp"), "1.0"));
}

#[test]
fn the_variable_is_the_weakest_of_kois_words_and_stronger_than_a_proxys() {
    let env = BTreeMap::from([(ANNOUNCE.to_owned(), "env".to_owned())]);
    let proxied = labels(&[("caddy", "c.test")]);
    assert_eq!(Hints::read(&proxied, &env).dns_name.as_deref(), Some("env"));
    let announced = labels(&[("koi.announce", "label")]);
    assert_eq!(Hints::read(&announced, &env).name.as_deref(), Some("label"));
}

#[test]
fn an_opt_out_wins_over_every_proxy_also_when_it_is_mistyped() {
    for (text, well) in [("false", true), ("FALSE", true), ("0", true), ("off", true), ("flase", false), ("", false)] {
        let hints =
            read(&[("koi.enable", text), ("traefik.http.routers.w.rule", "Host(`t.test`)"), ("caddy", "c.test")]);
        assert_eq!((hints.enabled, hints.dns_name, hints.hosts.len()), (Some(false), None, 0), "{text}");
        assert_eq!(hints.problems.is_empty(), well, "{text}: {:?}", hints.problems);
    }
    let over = read(&[("hythe.enable", "nope"), ("koi.enable", "true"), ("koi.announce", "x")]);
    assert_eq!((over.enabled, over.problems.len()), (Some(false), 1));
}

#[test]
fn hidden_from_traefik_is_not_read_from_traefik() {
    let rule = ("traefik.http.routers.w.rule", "Host(`t.test`)");
    assert_eq!(read(&[("traefik.enable", "False"), rule]), Hints::default());
    let mistyped = read(&[("traefik.enable", "nein"), rule]);
    assert_eq!((mistyped.dns_name, mistyped.problems.len()), (None, 1));
    assert_eq!(read(&[("traefik.enable", "1"), rule]).dns_name.as_deref(), Some("t.test"));
}

#[test]
fn of_several_routers_the_first_by_name_with_a_host_is_chosen_with_its_service() {
    let hints = read(&[
        ("traefik.http.routers.z.rule", "Host(`z.test`)"),
        ("traefik.http.routers.b.rule", "Host(`b.test`)"),
        ("traefik.http.routers.b.service", "second"),
        ("traefik.http.routers.a.rule", "PathPrefix(`/`)"),
        ("traefik.http.services.first.loadbalancer.server.port", "1"),
        ("traefik.http.services.second.loadbalancer.server.port", "2"),
    ]);
    assert_eq!((hints.dns_name.as_deref(), hints.port), (Some("b.test"), Some(2)));
    assert_eq!(hints.hosts, ["b.test", "z.test"]);
}

#[test]
fn what_cannot_be_read_is_reported_and_left_out() {
    let hints = read(&[
        ("hythe.port", "http"),
        ("hythe.type", "http"),
        ("hythe.health.interval", "often"),
        ("hythe.health.kind", "icmp"),
        ("hythe.enabled", "false"),
        ("koi.proxy.port", "0"),
        ("traefik.http.services.w.loadbalancer.server.port", "x"),
        ("hythe.owner", "a"),
    ]);
    assert_eq!(hints.problems.len(), 7, "{:#?}", hints.problems);
    assert!(hints.problems.iter().any(|problem| problem.contains("`hythe.enabled`")));
    assert_eq!(Hints { problems: Vec::new(), ..hints }, Hints::default());
}

#[test]
fn a_hinted_type_is_for_its_port_and_transport() {
    let hints = read(&[("hythe.type", "_ipp._tcp"), ("hythe.port", "631")]);
    assert_eq!(hints.type_of_port(631, Protocol::Tcp).as_deref(), Some("_ipp._tcp"));
    assert_eq!(hints.type_of_port(631, Protocol::Udp), None);
    assert_eq!(hints.type_of_port(80, Protocol::Tcp).as_deref(), Some("_http._tcp"));
    let any = read(&[("hythe.type", "_x._udp")]);
    assert_eq!(any.type_of_port(7, Protocol::Udp).as_deref(), Some("_x._udp"));
    assert_eq!(any.type_of_port(7, Protocol::Sctp), None);
}

fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["enable", "name", "port", "type", "health.interval", "txt.a", "announce"])
            .prop_flat_map(|key| prop::sample::select(vec![format!("hythe.{key}"), format!("koi.{key}")])),
        "traefik\\.(enable|http\\.(routers|services)\\.[a-c]{0,2}\\.(rule|service|loadbalancer\\.server\\.port))",
        "caddy(_[0-9]{1,3})?(\\.reverse_proxy)?",
        ".{0,12}",
    ]
}

proptest! {
    #[test]
    fn no_label_breaks_the_reading_and_every_field_has_a_source(
        labels in prop::collection::btree_map(keys(), prop_oneof![".{0,20}", "[!|& ]{0,3}Host\\([`\"a-z, .)]{0,12}", "[0-9]{1,6}"], 0..8),
    ) {
        let hints = Hints::read(&labels, &BTreeMap::new());
        let named = |field: &str| hints.sources.contains_key(field);
        prop_assert_eq!(hints.enabled.is_some(), named("enabled"));
        prop_assert_eq!(hints.name.is_some(), named("name"));
        prop_assert_eq!(hints.port.is_some(), named("port"));
        prop_assert!(hints.sources.values().all(|source| labels.contains_key(source)));
    }

    #[test]
    fn whatever_is_not_a_yes_opts_out(word in ".{0,10}", prefix in prop::sample::select(vec!["hythe", "koi"])) {
        let hints = read(&[(&format!("{prefix}.enable"), &word), ("caddy", "c.test"), ("koi.announce", "x")]);
        let yes = ["1", "t", "true", "y", "yes", "on", "enable", "enabled"].contains(&word.trim().to_lowercase().as_str());
        prop_assert_eq!(hints.enabled, Some(yes));
        prop_assert_eq!(hints.sources["enabled"].clone(), format!("{prefix}.enable"));
    }

    #[test]
    fn hosts_are_found_whatever_stands_around_them(
        hosts in prop::collection::vec("[a-z]{1,8}\\.[a-z]{2,3}", 1..4),
        quote in prop::sample::select(vec!['`', '"']),
    ) {
        let calls: Vec<String> = hosts.iter().map(|host| format!("(PathPrefix(`/Host(`) && Host({quote}{host}{quote}))")).collect();
        let found = read(&[("traefik.http.routers.r.rule", &calls.join(" || "))]);
        let mut expected = hosts.clone();
        expected.dedup();
        let first = expected.first().unwrap().clone();
        prop_assert_eq!(found.dns_name, Some(first));
        prop_assert!(found.hosts.iter().all(|host| hosts.contains(host)) && hosts.iter().all(|host| found.hosts.contains(host)));
    }
}

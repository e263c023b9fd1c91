//! Deaths of shims whose networks are the work of CNI plugins.

use std::net::Ipv4Addr;

use hythe_driver_embedded::{Config, NetworkBy};
use hythe_runtime::{Attachment, ErrorKind, NetworkSpec, PlanNetwork, Runtime, State};

use crate::Named;
use crate::deaths::killer;
use crate::harness::Harness;

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("a_shim_killed_at_any_moment_of_a_start_by_plugins_leaves_nothing", any_moment),
        ("plugins_that_are_missing_are_named_by_the_connect", missing),
    ]
}

const NETWORK: &str = "plugged";
const ROUNDS: u64 = 16;
/// Longer in all than a start takes.
const STEP: u64 = 20_000;

fn any_moment() {
    let mut harness = Harness::new();
    let config = Config { root: harness.root.clone(), network: NetworkBy::Cni, ..Config::default() };
    match harness.wait(hythe_driver_embedded::connect(config)) {
        Ok(embedded) => harness.embedded = embedded,
        Err(error) => return println!("skipped: {error}"),
    }
    let networks = harness.embedded.networks().unwrap();
    let spec = NetworkSpec { name: NETWORK.to_owned(), labels: crate::harness::owned(), internal: false };
    harness.wait(networks.ensure(&harness.cx, &spec)).unwrap();
    let subnet = harness.wait(networks.list(&harness.cx)).unwrap()[0].subnets[0].clone();
    let subnet: Ipv4Addr = subnet.strip_suffix("/22").unwrap().parse().unwrap();
    let members = || {
        let rules = hythe_host_leaks::addresses_in_rules().into_iter().map(|text| text.parse::<Ipv4Addr>().unwrap());
        rules.filter(|address| *address != subnet && address.to_bits() >> 10 == subnet.to_bits() >> 10).count()
    };
    let attachments = vec![Attachment { network: NETWORK.to_owned(), aliases: Vec::new() }];
    let plan = harness.plan(1, "while :; do sleep 1; done");
    let plan = hythe_runtime::Plan { network: PlanNetwork::Networks { attachments }, ..plan };
    let id = harness.wait(harness.embedded.create(&harness.cx, &plan)).unwrap();
    for round in 0..ROUNDS {
        let killer = killer(&harness, &id, round * STEP);
        // It may or may not have come so far as to say that it started.
        let _ = harness.wait(harness.embedded.start(&harness.cx, &id.to_ref()));
        killer.join().unwrap();
        let state = harness.inspect(&id).state;
        assert!(matches!(state, State::Created | State::Exited), "round {round}: {state:?}");
        assert_eq!(members(), 0, "round {round}");
    }
    harness.wait(harness.embedded.start(&harness.cx, &id.to_ref())).unwrap();
    assert_eq!(harness.inspect(&id).state, State::Running);
    // What is looked for is seen while it is there.
    assert!(members() > 0);
    assert!(hythe_host_leaks::of_root(&harness.root).iter().any(|trace| trace.starts_with("firewall rule")));
    harness.end();
    assert_eq!(members(), 0);
}

fn missing() {
    let harness = Harness::new();
    let empty = tempfile::tempdir().unwrap();
    let config =
        |cni_path| Config { root: harness.root.clone(), network: NetworkBy::Cni, cni_path, ..Config::default() };
    let error = harness.wait(hythe_driver_embedded::connect(config(empty.path().to_owned()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("plugin `bridge`"), "{error}");
    assert!(error.next_step().is_some_and(|hint| hint.contains("containernetworking-plugins")), "{error:?}");
    harness.end();
}

//! Deaths of shims whose networks are the work of CNI plugins.

use std::net::Ipv4Addr;

use hythe_driver_embedded::{Config, NetworkBy};
use hythe_runtime::{Attachment, ErrorKind, NetworkSpec, PlanNetwork, Runtime, State};

use crate::Named;
use crate::bed::Bed;
use crate::deaths::killer;

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
    let mut bed = Bed::new();
    let config = Config { root: bed.root.clone(), network: NetworkBy::Cni, ..Config::default() };
    match bed.wait(hythe_driver_embedded::connect(config)) {
        Ok(embedded) => bed.embedded = embedded,
        Err(error) => return println!("skipped: {error}"),
    }
    let networks = bed.embedded.networks().unwrap();
    let spec = NetworkSpec { name: NETWORK.to_owned(), labels: Default::default(), internal: false };
    bed.wait(networks.ensure(&bed.cx, &spec)).unwrap();
    let subnet = bed.wait(networks.list(&bed.cx)).unwrap()[0].subnets[0].clone();
    let subnet: Ipv4Addr = subnet.strip_suffix("/22").unwrap().parse().unwrap();
    let members = || {
        let rules = hythe_traces::addresses_in_rules().into_iter().map(|text| text.parse::<Ipv4Addr>().unwrap());
        rules.filter(|address| *address != subnet && address.to_bits() >> 10 == subnet.to_bits() >> 10).count()
    };
    let attachments = vec![Attachment { network: NETWORK.to_owned(), aliases: Vec::new() }];
    let plan = bed.plan(1, "while :; do sleep 1; done");
    let plan = hythe_runtime::Plan { network: PlanNetwork::Bridged { attachments }, ..plan };
    let id = bed.wait(bed.embedded.create(&bed.cx, &plan)).unwrap();
    for round in 0..ROUNDS {
        let killer = killer(&bed, &id, round * STEP);
        // It may or may not have come so far as to say that it started.
        let _ = bed.wait(bed.embedded.start(&bed.cx, &id));
        killer.join().unwrap();
        let state = bed.inspect(&id).state;
        assert!(matches!(state, State::Created | State::Exited), "round {round}: {state:?}");
        assert_eq!(members(), 0, "round {round}");
    }
    bed.wait(bed.embedded.start(&bed.cx, &id)).unwrap();
    assert_eq!(bed.inspect(&id).state, State::Running);
    // What is looked for is seen while it is there.
    assert!(members() > 0);
    assert!(hythe_traces::of_root(&bed.root).iter().any(|trace| trace.starts_with("firewall rule")));
    bed.end();
    assert_eq!(members(), 0);
}

fn missing() {
    let bed = Bed::new();
    let empty = tempfile::tempdir().unwrap();
    let config = |cni_path| Config { root: bed.root.clone(), network: NetworkBy::Cni, cni_path, ..Config::default() };
    let error = bed.wait(hythe_driver_embedded::connect(config(empty.path().to_owned()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("plugin `bridge`"), "{error}");
    assert!(error.next_step().is_some_and(|hint| hint.contains("containernetworking-plugins")), "{error:?}");
    bed.end();
}

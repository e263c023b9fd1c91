//! Many at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hythe_runtime::{Attachment, Filter, InstanceId, NetworkSpec, Plan, PlanNetwork, Runtime, State, Stop};
use hythe_spec::{Port, Protocol};

use crate::Named;
use crate::harness::{self, Harness};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("racing_calls_make_and_start_one", racing),
        ("others_that_connect_leave_what_is_being_made", connecting),
        ("two_hundred_run_at_once_and_leave_nothing", two_hundred),
        ("a_shim_is_small_and_has_one_thread", small),
        ("a_thousand_lives_leave_nothing_and_the_memory_flat", lives),
    ]
}

const NETWORK: &str = "shared";
const SERVER: &str = "while :; do sleep 1; done";

fn racing() {
    let harness = Harness::new();
    let plan = harness.plan(1, SERVER);
    let ids = harness.wait(join_all((0..8).map(|_| harness.embedded.run(&harness.cx, &plan))));
    let first = ids[0].as_ref().unwrap();
    assert!(ids.iter().all(|id| id.as_ref().unwrap() == first));
    assert_eq!(harness.wait(harness.embedded.list(&harness.cx, &Filter::default())).unwrap().len(), 1);
    harness.end();
}

fn connecting() {
    const CONNECTIONS: usize = 8;
    let harness = Harness::new();
    let root = harness.root.clone();
    let others = std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (0..CONNECTIONS).for_each(|_| drop(tokio.block_on(harness::connect(&root))));
    });
    let mut attempt = 0;
    while !others.is_finished() {
        attempt += 1;
        let id = harness.wait(harness.embedded.create(&harness.cx, &harness::plan(attempt, SERVER))).unwrap();
        harness.remove(&id);
    }
    others.join().unwrap();
    assert!(attempt > 10, "too few were made meanwhile");
    harness.end();
}

/// One in ten is in a network and has a port.
fn plans(harness: &Harness, count: u32, script: &str) -> Vec<Plan> {
    let with_network = harness.embedded.networks().is_some();
    let one = |attempt: u32| {
        let plan = harness::plan(attempt, script);
        if !with_network || !attempt.is_multiple_of(10) {
            return plan;
        }
        let attachments = vec![Attachment { network: NETWORK.to_owned(), aliases: Vec::new() }];
        let loopback = Some(std::net::Ipv4Addr::LOCALHOST.into());
        let port = Port { host_ip: loopback, host_port: None, container_port: 80, protocol: Protocol::Tcp };
        Plan { network: PlanNetwork::Networks { attachments }, ports: vec![port], ..plan }
    };
    (1..=count).map(one).collect()
}

fn with_network() -> Harness {
    let harness = Harness::new();
    if let Some(networks) = harness.embedded.networks() {
        let spec = NetworkSpec { name: NETWORK.to_owned(), labels: crate::harness::owned(), internal: false };
        harness.wait(networks.ensure(&harness.cx, &spec)).unwrap();
    }
    harness
}

fn two_hundred() {
    const COUNT: usize = 200;
    let harness = with_network();
    let plans = plans(&harness, 200, SERVER);
    let began = Instant::now();
    let ids = harness.wait(join_all(plans.iter().map(|plan| harness.embedded.run(&harness.cx, plan))));
    assert!(ids.iter().all(Result::is_ok), "{:?}", ids.iter().find(|id| id.is_err()));
    println!("{COUNT} run after {} ms", began.elapsed().as_millis());
    let rows = harness.wait(Runtime::list(&harness.embedded, &harness.cx, &Filter::default())).unwrap();
    assert_eq!(rows.iter().filter(|row| row.state == State::Running).count(), COUNT);
    // What is looked for afterwards is seen now.
    let there = hythe_host_leaks::of_root(&harness.root);
    let count = |word: &str| there.iter().filter(|line| line.starts_with(word)).count();
    assert!(count("process") >= COUNT && count("mount") >= 2 * COUNT && count("file") >= 2 * COUNT, "{there:#?}");
    if harness.embedded.networks().is_some() {
        assert!(count("interface") > COUNT / 10 && count("firewall ") == 2, "{there:#?}");
    }
    let ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
    let groups = hythe_host_leaks::groups();
    let grouped = |id: &InstanceId| groups.iter().any(|group| group.ends_with(format!("hythe-{id}")));
    assert!(ids.iter().all(grouped));
    let how = Stop { signal: None, grace: Duration::ZERO };
    harness
        .wait(join_all(ids.iter().map(|id| async { harness.embedded.stop(&harness.cx, &id.to_ref(), &how).await })))
        .into_iter()
        .for_each(Result::unwrap);
    harness
        .wait(join_all(
            ids.iter().map(|id| async { Runtime::remove(&harness.embedded, &harness.cx, &id.to_ref()).await }),
        ))
        .into_iter()
        .for_each(Result::unwrap);
    harness.end();
    harness.is_empty(&ids.into_iter().map(|id| id.0).collect::<Vec<_>>());
}

/// Proportional set size in KiB, and threads.
fn size(pid: i32) -> (u64, u64) {
    let number = |file: &str, word: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(word).map(str::to_owned)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    (number("smaps_rollup", "Pss:"), number("status", "Threads:"))
}

fn small() {
    let harness = Harness::new();
    let ids: Vec<_> = (1..=5).map(|attempt| harness.run(&harness.plan(attempt, SERVER))).collect();
    let sizes: Vec<_> = ids.iter().map(|id| size(harness.shim(id).unwrap())).collect();
    println!("shims: {sizes:?} KiB and threads");
    assert!(sizes.iter().all(|(_, threads)| *threads == 1));
    // A debug build touches more pages than one for use; the bound for use is in the benchmark.
    assert!(sizes.iter().all(|(pss, _)| *pss < 6_000), "{sizes:?}");
    harness.end();
}

/// Resident memory of this process in KiB, and its open descriptors.
fn own() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (line.split_whitespace().next().unwrap().parse().unwrap(), hythe_host_leaks::names("/proc/self/fd").len())
}

/// Some live at once, as in use.
const AT_ONCE: u32 = 4;
const LIVES: u32 = 1_600;
/// From when on memory is compared: caches, threads and what the allocator keeps have come to be. Over 2,400 lives the growth of each
/// 200 fell from 450 KiB below 600 to 40 KiB.
const SETTLED: u32 = 600;
/// What it may grow by over the thousand others, in KiB: a leak of more than a kilobyte a life is found.
const GROWTH: u64 = 1_024;

fn lives() {
    let harness = with_network();
    let plans = plans(&harness, LIVES, "true");
    let (mut settled, mut ids) = ((0, 0), Vec::new());
    for (round, some) in (1..).zip(plans.chunks(AT_ONCE as usize)) {
        let lives = some.iter().map(|plan| async {
            let id = harness.embedded.run(&harness.cx, plan).await.unwrap();
            let how = Stop { signal: None, grace: Duration::from_secs(10) };
            harness.embedded.stop(&harness.cx, &id.to_ref(), &how).await.unwrap();
            Runtime::remove(&harness.embedded, &harness.cx, &id.to_ref()).await.unwrap();
            id.0
        });
        ids.extend(harness.wait(join_all(lives)));
        if round * AT_ONCE == SETTLED {
            settled = own();
        }
    }
    let now = own();
    println!("memory and descriptors: {settled:?} after {SETTLED} lives, {now:?} after {LIVES}");
    assert!(now.0 <= settled.0 + GROWTH, "it grew: {settled:?} to {now:?}");
    assert_eq!(now.1, settled.1, "descriptors");
    harness.end();
    harness.is_empty(&ids);
}

//! Many at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hythe_runtime::{Attachment, Filter, InstanceId, NetworkSpec, Plan, PlanNetwork, Runtime, State, Stop};
use hythe_spec::{Port, Protocol};

use crate::Named;
use crate::bed::{self, Bed};

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
    let bed = Bed::new();
    let plan = bed.plan(1, SERVER);
    let ids = bed.wait(join_all((0..8).map(|_| bed.embedded.run(&bed.cx, &plan))));
    let first = ids[0].as_ref().unwrap();
    assert!(ids.iter().all(|id| id.as_ref().unwrap() == first));
    assert_eq!(bed.wait(bed.embedded.list(&bed.cx, &Filter::default())).unwrap().len(), 1);
    bed.end();
}

fn connecting() {
    const CONNECTIONS: usize = 8;
    let bed = Bed::new();
    let root = bed.root.clone();
    let others = std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (0..CONNECTIONS).for_each(|_| drop(tokio.block_on(bed::connect(&root))));
    });
    let mut attempt = 0;
    while !others.is_finished() {
        attempt += 1;
        let id = bed.wait(bed.embedded.create(&bed.cx, &bed::plan(attempt, SERVER))).unwrap();
        bed.remove(&id);
    }
    others.join().unwrap();
    assert!(attempt > 10, "too few were made meanwhile");
    bed.end();
}

/// One in ten is in a network and has a port.
fn plans(bed: &Bed, count: u32, script: &str) -> Vec<Plan> {
    let with_network = bed.embedded.networks().is_some();
    let one = |attempt: u32| {
        let plan = bed::plan(attempt, script);
        if !with_network || !attempt.is_multiple_of(10) {
            return plan;
        }
        let attachments = vec![Attachment { network: NETWORK.to_owned(), aliases: Vec::new() }];
        let loopback = Some(std::net::Ipv4Addr::LOCALHOST.into());
        let port = Port { host_ip: loopback, host_port: None, container_port: 80, protocol: Protocol::Tcp };
        Plan { network: PlanNetwork::Bridged { attachments }, ports: vec![port], ..plan }
    };
    (1..=count).map(one).collect()
}

fn with_network() -> Bed {
    let bed = Bed::new();
    if let Some(networks) = bed.embedded.networks() {
        let spec = NetworkSpec { name: NETWORK.to_owned(), labels: Default::default(), internal: false };
        bed.wait(networks.ensure(&bed.cx, &spec)).unwrap();
    }
    bed
}

fn two_hundred() {
    const COUNT: usize = 200;
    let bed = with_network();
    let plans = plans(&bed, 200, SERVER);
    let began = Instant::now();
    let ids = bed.wait(join_all(plans.iter().map(|plan| bed.embedded.run(&bed.cx, plan))));
    assert!(ids.iter().all(Result::is_ok), "{:?}", ids.iter().find(|id| id.is_err()));
    println!("{COUNT} run after {} ms", began.elapsed().as_millis());
    let rows = bed.wait(Runtime::list(&bed.embedded, &bed.cx, &Filter::default())).unwrap();
    assert_eq!(rows.iter().filter(|row| row.state == State::Running).count(), COUNT);
    // What is looked for afterwards is seen now.
    let there = hythe_traces::of_root(&bed.root);
    let count = |word: &str| there.iter().filter(|line| line.starts_with(word)).count();
    assert!(count("process") >= COUNT && count("mount") >= 2 * COUNT && count("file") >= 2 * COUNT, "{there:#?}");
    if bed.embedded.networks().is_some() {
        assert!(count("interface") > COUNT / 10 && count("firewall ") == 2, "{there:#?}");
    }
    let ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
    let groups = hythe_traces::groups();
    let grouped = |id: &InstanceId| groups.iter().any(|group| group.ends_with(format!("hythe-{id}")));
    assert!(ids.iter().all(grouped));
    let how = Stop { signal: None, grace: Duration::ZERO };
    bed.wait(join_all(ids.iter().map(|id| bed.embedded.stop(&bed.cx, id, &how)))).into_iter().for_each(Result::unwrap);
    bed.wait(join_all(ids.iter().map(|id| Runtime::remove(&bed.embedded, &bed.cx, id))))
        .into_iter()
        .for_each(Result::unwrap);
    bed.end();
    bed.is_empty(&ids.into_iter().map(|id| id.0).collect::<Vec<_>>());
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
    let bed = Bed::new();
    let ids: Vec<_> = (1..=5).map(|attempt| bed.run(&bed.plan(attempt, SERVER))).collect();
    let sizes: Vec<_> = ids.iter().map(|id| size(bed.shim(id).unwrap())).collect();
    println!("shims: {sizes:?} KiB and threads");
    assert!(sizes.iter().all(|(_, threads)| *threads == 1));
    // A debug build touches more pages than one for use; the bound for use is in the benchmark.
    assert!(sizes.iter().all(|(pss, _)| *pss < 6_000), "{sizes:?}");
    bed.end();
}

/// Resident memory of this process in KiB, and its open descriptors.
fn own() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (line.split_whitespace().next().unwrap().parse().unwrap(), hythe_traces::names("/proc/self/fd").len())
}

/// Some live at once, as in use.
const AT_ONCE: u32 = 4;
const LIVES: u32 = 1_000;
/// From when on memory is compared: caches and threads have come to be.
const SETTLED: u32 = 200;
/// What it may grow by over the rest, in KiB: a leak of more than a kilobyte a life is found.
const GROWTH: u64 = 1_024;

fn lives() {
    let bed = with_network();
    let plans = plans(&bed, LIVES, "true");
    let (mut settled, mut ids) = ((0, 0), Vec::new());
    for (round, some) in (1..).zip(plans.chunks(AT_ONCE as usize)) {
        let lives = some.iter().map(|plan| async {
            let id = bed.embedded.run(&bed.cx, plan).await.unwrap();
            let how = Stop { signal: None, grace: Duration::from_secs(10) };
            bed.embedded.stop(&bed.cx, &id, &how).await.unwrap();
            Runtime::remove(&bed.embedded, &bed.cx, &id).await.unwrap();
            id.0
        });
        ids.extend(bed.wait(join_all(lives)));
        if round * AT_ONCE == SETTLED {
            settled = own();
        }
    }
    let now = own();
    println!("memory and descriptors: {settled:?} after {SETTLED} lives, {now:?} after {LIVES}");
    assert!(now.0 <= settled.0 + GROWTH, "it grew: {settled:?} to {now:?}");
    assert_eq!(now.1, settled.1, "descriptors");
    bed.end();
    bed.is_empty(&ids);
}

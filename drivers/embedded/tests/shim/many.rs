//! Many at once.

use futures_util::future::join_all;
use hythe_runtime::{Filter, Runtime, State};

use crate::Named;
use crate::bed::Bed;

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("racing_calls_make_and_start_one", racing),
        ("sixty_run_at_once_and_leave_nothing", sixty),
        ("a_shim_is_small_and_has_one_thread", small),
        ("a_container_is_made_gone_and_made_again", cycles),
    ]
}

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

fn sixty() {
    let bed = Bed::new();
    let plans: Vec<_> = (1..=60).map(|attempt| bed.plan(attempt, SERVER)).collect();
    let ids = bed.wait(join_all(plans.iter().map(|plan| bed.embedded.run(&bed.cx, plan))));
    assert!(ids.iter().all(Result::is_ok), "{:?}", ids.iter().find(|id| id.is_err()));
    let rows = bed.wait(bed.embedded.list(&bed.cx, &Filter::default())).unwrap();
    assert_eq!(rows.iter().filter(|row| row.state == State::Running).count(), 60);
    bed.end();
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

fn cycles() {
    let bed = Bed::new();
    for _ in 0..50 {
        let id = bed.run(&bed.plan(1, "true"));
        bed.until_exited(&id);
        bed.remove(&id);
    }
    bed.end();
}

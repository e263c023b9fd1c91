//! An agent that has seen many instances come and go is as large as one that has seen some.

use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::trial::trials;

trials!("memory":
    many_replacements_leave_the_agent_as_large_as_some Embedded,
    line_of_70_megabytes_leaves_the_agent_small Real,
);

const MANY: u32 = 1_000;
/// From when on it is compared: caches are filled and threads are there.
const SOME: u32 = 200;
/// What it may grow by over the rest, in KiB.
const GROWTH: u64 = 2 << 10;

/// What a line of any length may add to the agent, in KiB: a tail is 32 MiB, and some of it is on its way in several places.
const LINE: u64 = 160 << 10;

/// Resident memory in KiB and open descriptors of the agent.
fn size(fixture: &Fixture<'_>) -> (u64, usize) {
    let pid = fixture.agent.version()["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes = line.split_whitespace().next().unwrap().parse().unwrap();
    (kibibytes, hythe_host_leaks::names(format!("/proc/{pid}/fd")).len())
}

fn many_replacements_leave_the_agent_as_large_as_some(fixture: &mut Fixture<'_>) {
    let mut sizes = Vec::new();
    for version in 1..=MANY {
        let keys = format!("network = 'none'\nstop_grace = '1s'\nenv = {{ VERSION = '{version}' }}");
        fixture.deploy(&one(&fixture.service, &stays("up"), &keys)).ok();
        if version % 100 == 0 {
            sizes.push((version, size(fixture)));
        }
    }
    println!("memory in KiB and descriptors of the agent: {sizes:?}");
    let at = |version| sizes.iter().find(|(at, _)| *at == version).unwrap().1;
    let (some, many) = (at(SOME), at(MANY));
    assert!(many.0 <= some.0 + GROWTH, "it grew: {sizes:?}");
    assert!(many.1 <= some.1 + 3, "descriptors stay open: {sizes:?}");
    fixture.has_instances(1);
}

/// The most that the agent ever had, in KiB.
fn peak(fixture: &Fixture<'_>) -> u64 {
    let pid = fixture.agent.version()["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn line_of_70_megabytes_leaves_the_agent_small(fixture: &mut Fixture<'_>) {
    let before = peak(fixture);
    let script = "head -c 70000000 /dev/zero | tr '\\0' x; echo; echo end; exit 3";
    fixture.deploy(&one(&fixture.service, script, "restart = 'no'"));
    fixture.await_state("failed");
    for words in
        [&["logs", &fixture.service][..], &["logs", "-n", "2", &fixture.service], &["status", &fixture.service]]
    {
        let ran = fixture.hythe(words).ok();
        assert!(ran.out.contains("end"), "the last line is there");
    }
    let grown = peak(fixture) - before;
    println!("a line of 70 MB added {grown} KiB at most to the agent");
    assert!(grown <= LINE, "the agent grew by {grown} KiB");
}

//! An agent that has seen many instances come and go is as large as one that has seen some.

use crate::files::{one, stays};
use crate::scene::Scene;
use crate::trial::trials;

trials!("memory":
    many_replacements_leave_the_agent_as_large_as_some Embedded,
);

const MANY: u32 = 1_000;
/// From when on it is compared: caches are filled and threads are there.
const SOME: u32 = 200;
/// What it may grow by over the rest, in KiB.
const GROWTH: u64 = 2 << 10;

/// Resident memory in KiB and open descriptors of the agent.
fn size(scene: &Scene<'_>) -> (u64, usize) {
    let pid = scene.agent.version()["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes = line.split_whitespace().next().unwrap().parse().unwrap();
    (kibibytes, hythe_traces::names(format!("/proc/{pid}/fd")).len())
}

fn many_replacements_leave_the_agent_as_large_as_some(scene: &mut Scene<'_>) {
    let mut sizes = Vec::new();
    for version in 1..=MANY {
        let keys = format!("network = 'none'\nstop_grace = '1s'\nenv = {{ VERSION = '{version}' }}");
        scene.deploy(&one(&scene.service, &stays("up"), &keys)).ok();
        if version % 100 == 0 {
            sizes.push((version, size(scene)));
        }
    }
    println!("memory in KiB and descriptors of the agent: {sizes:?}");
    let at = |version| sizes.iter().find(|(at, _)| *at == version).unwrap().1;
    let (some, many) = (at(SOME), at(MANY));
    assert!(many.0 <= some.0 + GROWTH, "it grew: {sizes:?}");
    assert!(many.1 <= some.1 + 3, "descriptors stay open: {sizes:?}");
    scene.has_instances(1);
}

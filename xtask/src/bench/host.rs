//! What numbers depend on, without saying whose machine it was.

use std::fs;

use super::harness::Harness;
use crate::run;

/// Names and values, in the order of printing.
pub(crate) fn gather(harness: &Harness) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = run::output(run::command("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_default();
    let mut facts = vec![
        ("date", date.trim().to_owned()),
        ("cores", cores.to_string()),
        ("memory", memory()),
        ("kernel", kernel()),
        ("cgroups", cgroups().to_owned()),
    ];
    facts.extend(harness.engines.iter().map(|engine| (engine.name, engine.version())));
    facts.push(("runs", harness.runs.to_string()));
    facts
}

/// The version without what a distributor or a host appends.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().split('-').next().unwrap_or_default().to_owned()
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes: u64 = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    format!("{} GiB", kibibytes.div_ceil(1 << 20))
}

fn cgroups() -> &'static str {
    let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false);
    if unified { "v2" } else { "v1" }
}

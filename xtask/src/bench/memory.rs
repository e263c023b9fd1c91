//! What an agent holds in memory: with nothing to do, and with a hundred workloads; and what the engine adds to each of those.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::agent::Agent;
use super::engine::Engine;
use super::harness::Harness;
use super::ps;
use super::report::Table;
use crate::failure::{Context, Result};

/// Until what a start or a deploy stirred up is over.
const SETTLE: Duration = Duration::from_secs(5);
const MEBIBYTE: f64 = 1024.0;
/// What engines put beside a container: podman, docker and containerd, ours.
const SUPERVISORS: [&str; 3] = ["conmon", "containerd-shim-runc-v2", "hythe shim"];

/// A table for an agent with nothing to do, and one for each engine.
pub(crate) fn measure(harness: &Harness) -> Result<Vec<Table>> {
    let mut tables = vec![idle(harness)?];
    for engine in harness.engines.iter().chain([&harness.embedded()]) {
        tables.push(busy(harness, engine)?);
    }
    Ok(tables)
}

fn idle(harness: &Harness) -> Result<Table> {
    let engines: Vec<_> = harness.engines.iter().collect();
    let agent = harness.agent(&engines)?;
    sleep(SETTLE);
    let names: Vec<_> = engines.iter().map(|engine| engine.name).collect();
    table(format!("no workloads, {}", names.join(" and ")), usage(&agent))
}

fn busy(harness: &Harness, engine: &Engine) -> Result<Table> {
    let agent = harness.agent(&[engine])?;
    let filled = ps::fill(harness, &agent, engine);
    sleep(SETTLE);
    let figures = usage(&agent).map(|mut figures| {
        figures.extend(supervisors(harness));
        figures
    });
    ps::empty(&agent)?;
    filled?;
    table(format!("100 workloads, {}", engine.name), figures)
}

fn table(what: String, figures: Result<Vec<(String, String)>>) -> Result<Table> {
    Ok(Table {
        title: format!("Memory of the agent: {what}"),
        note: "Resident and proportional set size; processes that the agent keeps running are listed separately, and so are those that run beside each container.".to_owned(),
        rows: Vec::new(),
        figures: figures?,
        plot: None,
    })
}

fn usage(agent: &Agent) -> Result<Vec<(String, String)>> {
    let own = i32::try_from(agent.pid()).unwrap_or_default();
    let figure = told(own).context(|| "measuring the agent".into())?;
    let children = descendants(own).into_iter();
    let children = children.filter_map(|child| Some((format!("its child `{}`", name(child)?), told(child).ok()?)));
    Ok(std::iter::once(("agent".to_owned(), figure)).chain(children).collect())
}

/// Processes that stand beside containers, of private engines only, and the mean of what each holds.
fn supervisors(harness: &Harness) -> Vec<(String, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut found: BTreeMap<&str, Vec<[f64; 2]>> = BTreeMap::new();
    for process in processes {
        let Ok(line) = fs::read_to_string(format!("/proc/{process}/cmdline")) else { continue };
        let kind = SUPERVISORS.iter().find(|kind| stands_beside(&line, kind));
        let private = harness.places().iter().any(|place| line.contains(&*place.to_string_lossy()));
        if let (Some(kind), true, Ok(sizes)) = (kind, private, sizes(process)) {
            found.entry(kind).or_default().push(sizes);
        }
    }
    let mean = |all: &[[f64; 2]], at: usize| all.iter().map(|sizes| sizes[at]).sum::<f64>() / all.len() as f64;
    let row = |(kind, all): (&str, Vec<[f64; 2]>)| {
        let told = format!("RSS {:.2} MiB, PSS {:.2} MiB", mean(&all, 0), mean(&all, 1));
        (format!("each of {} `{kind}`", all.len()), told)
    };
    found.into_iter().map(row).collect()
}

/// `kind` is a program, and perhaps its first word.
fn stands_beside(line: &str, kind: &str) -> bool {
    let mut words = line.split('\0');
    let program = words.next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let mut wanted = kind.split(' ');
    wanted.next() == Some(program) && wanted.next().is_none_or(|word| words.next() == Some(word))
}

fn told(process: i32) -> std::io::Result<String> {
    let [rss, pss] = sizes(process)?;
    Ok(format!("RSS {rss:.1} MiB, PSS {pss:.1} MiB"))
}

/// Resident and proportional set size in MiB.
fn sizes(process: i32) -> std::io::Result<[f64; 2]> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let mebibytes = |key: &str| {
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<f64>().ok());
        value.unwrap_or_default() / MEBIBYTE
    };
    Ok(["Rss:", "Pss:"].map(mebibytes))
}

fn name(process: i32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
    let program = line.split('\0').next()?;
    program.rsplit('/').next().map(str::to_owned)
}

fn descendants(process: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    children.into_iter().flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

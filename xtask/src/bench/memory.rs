//! What an agent holds in memory: with nothing to do, and with a hundred workloads.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::agent::Agent;
use super::bed::Bed;
use super::ps;
use super::report::Table;
use crate::failure::{Context, Result};

/// Until what a start or a deploy stirred up is over.
const SETTLE: Duration = Duration::from_secs(5);
const MEBIBYTE: f64 = 1024.0;

/// A table for each engine.
pub(crate) fn measure(bed: &Bed) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for engine in &bed.engines {
        let agent = bed.agent(&[engine])?;
        sleep(SETTLE);
        let mut figures = usage(&agent, "idle")?;
        let filled = ps::fill(bed, &agent, engine);
        sleep(SETTLE);
        let full = usage(&agent, "100 workloads");
        ps::empty(&agent)?;
        filled?;
        figures.extend(full?);
        tables.push(Table {
            title: format!("Memory of the agent: {}", engine.name),
            note: "Resident and proportional set size; processes that the agent keeps running are listed apart."
                .to_owned(),
            rows: Vec::new(),
            figures,
        });
    }
    Ok(tables)
}

fn usage(agent: &Agent, when: &str) -> Result<Vec<(String, String)>> {
    let own = i32::try_from(agent.pid()).unwrap_or_default();
    let mut figures = vec![(format!("{when}: agent"), told(own).context(|| "measuring the agent".into())?)];
    let children = descendants(own).into_iter();
    figures
        .extend(children.filter_map(|child| Some((format!("{when}: its child `{}`", name(child)), told(child).ok()?))));
    Ok(figures)
}

fn told(process: i32) -> std::io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let mebibytes = |key: &str| {
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<f64>().ok());
        value.unwrap_or_default() / MEBIBYTE
    };
    Ok(format!("RSS {:.1} MiB, PSS {:.1} MiB", mebibytes("Rss:"), mebibytes("Pss:")))
}

fn name(process: i32) -> String {
    let line = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split('\0').take(2).map(|word| word.rsplit('/').next().unwrap_or(word)).collect();
    words.join(" ")
}

fn descendants(process: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    children.into_iter().flat_map(|child| std::iter::once(child).chain(descendants(child))).collect()
}

//! What an agent takes while nothing happens.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bench::agent::Agent;
use crate::failure::{Context, Failure, Result};

/// Until what a deploy stirred up is over.
const SETTLE: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(30);
/// The kernel counts in hundredths of a second towards programs, whatever its own tick (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
const KIBIBYTES: f64 = 1024.0;

/// Percent of one core, and MiB resident.
pub(super) fn at_rest(agent: &Agent) -> Result<(f64, f64)> {
    sleep(SETTLE);
    let (before, began) = (ticks(agent.pid())?, Instant::now());
    sleep(WATCHED);
    let used = (ticks(agent.pid())? - before) / TICKS_PER_SECOND;
    Ok((used / began.elapsed().as_secs_f64() * 100.0, resident(agent.pid())?))
}

/// Processor time of user and kernel, all threads.
fn ticks(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).context(|| format!("reading `{path}`"))?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    number(11)
        .zip(number(12))
        .map(|(user, kernel)| user + kernel)
        .ok_or_else(|| Failure::new(format!("`{path}` cannot be read")))
}

fn resident(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).context(|| format!("reading `{path}`"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.map(|value| value / KIBIBYTES).ok_or_else(|| Failure::new(format!("`{path}` cannot be read")))
}

//! Resource use, read from the instance's cgroup and network namespace: exact, where `podman stats` rounds for people.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hythe_runtime::{Error, ErrorKind, InstanceRef, OpContext, Result, State, Stats, StatsSample};

use crate::client::About;
use crate::driver::Podman;

pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";
/// Cgroup v1 writes "no limit" as the largest multiple of a page.
pub(crate) const NO_LIMIT: u64 = 1 << 62;

#[async_trait]
impl Stats for Podman {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        let about = About { operation: "stats", subject: instance.as_str() };
        let container = self.container(cx, "stats", instance).await?;
        if !matches!(container.state(), State::Running | State::Paused | State::Stopping) {
            return Err(Error::new(ErrorKind::Conflict, "stats", format!("`{instance}` is not running")));
        }
        let (cgroup, pid) = (container.state.cgroup_path.clone(), container.state.pid);
        let read = tokio::task::spawn_blocking(move || sample(&cgroup, pid)).await.ok().flatten();
        let sample = read.filter(|_| self.local.is_some());
        sample.ok_or_else(|| unreadable(about))
    }
}

fn unreadable(about: About<'_>) -> Error {
    let message = format!("`{}`: its cgroup cannot be read on this host", about.subject);
    Error::new(ErrorKind::Unsupported, about.operation, message)
        .hint("rootless podman keeps no resource accounts on cgroup v1; boot with cgroup v2")
}

fn sample(cgroup: &str, pid: u32) -> Option<StatsSample> {
    let below = cgroup.trim_start_matches('/');
    if below.is_empty() {
        return None;
    }
    let mut sample = if is_unified() { unified_sample(&Path::new(CGROUPS).join(below))? } else { split_sample(below)? };
    if let Some((received, sent)) = network(pid) {
        sample.network_rx_bytes = Some(received);
        sample.network_tx_bytes = Some(sent);
    }
    Some(sample)
}

pub(crate) fn is_unified() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").exists()
}

/// Cgroup v2: everything in one directory.
fn unified_sample(dir: &Path) -> Option<StatsSample> {
    let io = fs::read_to_string(dir.join("io.stat")).ok();
    let sum = |key: &str| io.as_deref().map(|text| sum_of(text, key));
    let cache = keyed(&dir.join("memory.stat"), "inactive_file").unwrap_or(0);
    Some(StatsSample {
        cpu_nanos: keyed(&dir.join("cpu.stat"), "usage_usec")?.saturating_mul(1000),
        memory_bytes: number(&dir.join("memory.current"))?.saturating_sub(cache),
        memory_limit: number(&dir.join("memory.max")),
        pids: number(&dir.join("pids.current")),
        network_rx_bytes: None,
        network_tx_bytes: None,
        block_read_bytes: sum("rbytes="),
        block_write_bytes: sum("wbytes="),
    })
}

/// Cgroup v1: a directory for each controller.
fn split_sample(below: &str) -> Option<StatsSample> {
    let file = |controller: &str, name: &str| -> PathBuf { Path::new(CGROUPS).join(controller).join(below).join(name) };
    let cache = keyed(&file("memory", "memory.stat"), "total_inactive_file").unwrap_or(0);
    let io = fs::read_to_string(file("blkio", "blkio.throttle.io_service_bytes_recursive")).ok();
    let sum = |word: &str| io.as_deref().map(|text| sum_after(text, word));
    Some(StatsSample {
        cpu_nanos: number(&file("cpuacct", "cpuacct.usage"))?,
        memory_bytes: number(&file("memory", "memory.usage_in_bytes"))?.saturating_sub(cache),
        memory_limit: number(&file("memory", "memory.limit_in_bytes")).filter(|limit| *limit < NO_LIMIT),
        pids: number(&file("pids", "pids.current")),
        network_rx_bytes: None,
        network_tx_bytes: None,
        block_read_bytes: sum("Read"),
        block_write_bytes: sum("Write"),
    })
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// Sum of `key=number` over all words.
fn sum_of(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// Sum of the numbers that follow a word.
fn sum_after(text: &str, word: &str) -> u64 {
    let number = |line: &str| line.split_whitespace().skip_while(|field| *field != word).nth(1)?.parse::<u64>().ok();
    text.lines().filter_map(number).sum()
}

/// Bytes received and sent on all interfaces but loopback; `None` in the host's own network.
fn network(pid: u32) -> Option<(u64, u64)> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    if namespace(&pid.to_string()).ok()? == namespace("self").ok()? {
        return None;
    }
    let table = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    Some(traffic(&table))
}

fn traffic(table: &str) -> (u64, u64) {
    let interfaces = table.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    interfaces.fold((0, 0), |(received, sent), (_, counters)| {
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let at = |index: usize| counters.get(index).copied().unwrap_or(0);
        (received + at(0), sent + at(8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed() {
        assert_eq!(sum_of("8:0 rbytes=10 wbytes=5\n8:16 rbytes=1 wbytes=2", "rbytes="), 11);
        assert_eq!(sum_after("8:0 Read 10\n8:0 Write 5\n8:16 Read 1\nTotal 16", "Read"), 11);
        let table = "Inter-| Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 90 1 0 0 0 0 0 0 308 4 0";
        assert_eq!(traffic(table), (90, 308));
    }
}

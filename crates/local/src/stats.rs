//! Resource use, from an instance's control groups and its own view of its network.

use std::fs;
use std::path::PathBuf;

use hythe_runtime::StatsSample;
use hythe_shim::cgroup::{counter, read};

/// What version 1 says where there is no limit.
const NO_LIMIT: u64 = 1 << 62;

/// One sample of control groups, and of the network that a process is in.
pub fn sample(groups: &[PathBuf], pid: Option<i32>) -> StatsSample {
    let number = |file: &str| read(groups, file).and_then(|text| text.trim().parse::<u64>().ok());
    let one_cpu = number("cpuacct.usage");
    let cpu = one_cpu.or_else(|| counter(&read(groups, "cpu.stat")?, "usage_usec").map(|usec| usec * 1000));
    let used = number("memory.usage_in_bytes").or_else(|| number("memory.current")).unwrap_or(0);
    let memory = read(groups, "memory.stat").unwrap_or_default();
    let cache = counter(&memory, "total_inactive_file").or_else(|| counter(&memory, "inactive_file")).unwrap_or(0);
    let limit = number("memory.limit_in_bytes").or_else(|| number("memory.max")).filter(|limit| *limit < NO_LIMIT);
    let (read_bytes, write_bytes) = block(groups).unzip();
    let (rx, tx) = pid.and_then(network).unzip();
    StatsSample {
        cpu_nanos: cpu.unwrap_or(0),
        memory_bytes: used.saturating_sub(cache),
        memory_limit: limit,
        pids: number("pids.current"),
        network_rx_bytes: rx,
        network_tx_bytes: tx,
        block_read_bytes: read_bytes,
        block_write_bytes: write_bytes,
    }
}

fn block(groups: &[PathBuf]) -> Option<(u64, u64)> {
    if let Some(text) = read(groups, "io.stat") {
        let sum = |key: &str| {
            let values = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
            values.sum()
        };
        return Some((sum("rbytes="), sum("wbytes=")));
    }
    let text = read(groups, "blkio.throttle.io_service_bytes")?;
    let sum = |what: &str| {
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            (words.next()? == what).then(|| words.next()?.parse::<u64>().ok()).flatten()
        });
        lines.sum()
    };
    Some((sum("Read"), sum("Write")))
}

/// Received and sent over all links but the loopback.
fn network(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let rows = text.lines().filter_map(|line| line.split_once(':')).filter(|(link, _)| link.trim() != "lo");
    let numbers = rows.filter_map(|(_, row)| {
        let row: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Some((*row.first()?, *row.get(8)?))
    });
    Some(numbers.fold((0, 0), |(rx, tx), (more_rx, more_tx)| (rx + more_rx, tx + more_tx)))
}

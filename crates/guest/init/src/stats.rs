//! What the guest uses, as `/proc` has it.

use std::fs;

use crate::protocol::{ProcessInfo, Stats};

/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are.
const SECTOR: u64 = 512;
const PAGE: u64 = 4096;
/// Microseconds of a clock tick: 100 in a second on every Linux.
const TICK: u64 = 10_000;

/// Processes that the kernel has killed because memory was exhausted.
pub(crate) fn oom_kills() -> u64 {
    let text = read("/proc/vmstat");
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

pub(crate) fn stats() -> Stats {
    let (network_received, network_sent) = network();
    let (block_read, block_written) = disks();
    let root = rustix::fs::statvfs("/").ok();
    let blocks = |of: fn(&rustix::fs::StatVfs) -> u64| root.as_ref().map_or(0, |root| of(root) * root.f_frsize);
    Stats {
        cpu_usec: cpu(),
        memory_total: memory("MemTotal:"),
        memory_available: memory("MemAvailable:"),
        processes: processes().len() as u64,
        network_received,
        network_sent,
        block_read,
        block_written,
        root_size: blocks(|root| root.f_blocks),
        root_free: blocks(|root| root.f_bavail),
        oom_kills: oom_kills(),
    }
}

/// All processes but those of the kernel and the init.
pub(crate) fn processes() -> Vec<ProcessInfo> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut processes: Vec<_> = pids.filter(|pid| *pid != 1).filter_map(process).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

fn process(pid: u32) -> Option<ProcessInfo> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may have any character.
    let (name, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    let parent = u32::try_from(field(4)?).ok()?;
    if parent == 2 || pid == 2 {
        return None;
    }
    let status = read(&format!("/proc/{pid}/status"));
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut args: Vec<_> = line.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
    args.pop();
    if args.is_empty() {
        args.push(name.split_once('(').map_or("", |(_, name)| name).to_owned());
    }
    let cpu_usec = (field(14)? + field(15)?) * TICK;
    Some(ProcessInfo { pid, parent, uid: uid.unwrap_or(0), cpu_usec, memory: field(24)? * PAGE, args })
}

fn cpu() -> u64 {
    let text = read("/proc/stat");
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // User, nice, system, interrupts and stolen time; not idle and waiting for disks.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|field| ticks.get(*field)).sum::<u64>() * TICK
}

fn memory(name: &str) -> u64 {
    let text = read("/proc/meminfo");
    let field = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    field.unwrap_or(0) * 1024
}

fn network() -> (u64, u64) {
    let text = read("/proc/net/dev");
    let rows = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    rows.fold((0, 0), |(received, sent), (_, values)| {
        let values: Vec<u64> = values.split_whitespace().filter_map(|value| value.parse().ok()).collect();
        let value = |at: usize| values.get(at).copied().unwrap_or(0);
        (received + value(0), sent + value(8))
    })
}

fn disks() -> (u64, u64) {
    let text = read("/proc/diskstats");
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Virtio disks have no partitions here.
    rows.filter(|row| row.get(2).is_some_and(|name| name.starts_with("vd"))).fold((0, 0), |(read, written), row| {
        let value = |at: usize| row.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * SECTOR;
        (read + value(5), written + value(9))
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

//! Control groups of an instance, by their directories: version 1, version 2, or both.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directories of the groups of this path, one per hierarchy that has it.
pub fn of_path(path: &str) -> Vec<PathBuf> {
    let path = path.trim_start_matches('/');
    if path.is_empty() {
        return Vec::new();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_cgroup = |line: &&str| line.contains(" - cgroup ") || line.contains(" - cgroup2 ");
    let targets = mounts.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4));
    let mut groups: Vec<PathBuf> =
        targets.map(|target| PathBuf::from(target).join(path)).filter(|group| group.is_dir()).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// A file of whichever group has it.
pub fn read(groups: &[PathBuf], name: &str) -> Option<String> {
    groups.iter().find_map(|group| fs::read_to_string(group.join(name)).ok())
}

/// The number that follows a word in a file of words and numbers.
pub fn counter(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}

/// How many of its processes were OOM-killed.
pub fn killed_for_memory(groups: &[PathBuf]) -> u64 {
    let count = |file| read(groups, file).and_then(|text| counter(&text, "oom_kill"));
    count("memory.events").or_else(|| count("memory.oom_control")).unwrap_or(0)
}

/// Whether it is frozen.
pub fn is_frozen(groups: &[PathBuf]) -> bool {
    let one = read(groups, "freezer.state").is_some_and(|state| state.trim() != "THAWED");
    one || read(groups, "cgroup.freeze").is_some_and(|state| state.trim() == "1")
}

/// Freezes or thaws it; returns when the kernel has done it.
///
/// # Errors
/// The host has no freezer, or it did not freeze within a few seconds.
pub fn freeze(groups: &[PathBuf], frozen: bool) -> io::Result<()> {
    let files = [
        ("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
        ("cgroup.freeze", if frozen { "1" } else { "0" }),
    ];
    let found = groups.iter().flat_map(|group| files.map(|(file, word)| (group.join(file), word)));
    let Some((path, word)) = found.into_iter().find(|(path, _)| path.exists()) else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "there is no freezer"));
    };
    let began = Instant::now();
    loop {
        fs::write(&path, word)?;
        let is_done = if path.ends_with("freezer.state") {
            fs::read_to_string(&path)?.trim() == word
        } else {
            let events = fs::read_to_string(path.with_file_name("cgroup.events"))?;
            counter(&events, "frozen") == Some(u64::from(frozen))
        };
        if is_done {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(5) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not freeze"));
        }
        // The first version of control groups tells nobody when it is done; the second does so within as little.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Processes in it and below, over all hierarchies.
///
/// # Errors
/// A group that is there cannot be read.
pub fn processes(groups: &[PathBuf]) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for group in groups {
        collect(group, &mut pids)?;
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn collect(group: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    match fs::read_to_string(group.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    for below in children(group) {
        collect(&below, pids)?;
    }
    Ok(())
}

/// Removes it with what is below. Absent: success; with processes in it: an error.
///
/// # Errors
/// It cannot be removed.
pub fn remove(groups: &[PathBuf]) -> io::Result<()> {
    groups.iter().try_for_each(|group| remove_one(group))
}

fn remove_one(group: &Path) -> io::Result<()> {
    for below in children(group) {
        remove_one(&below)?;
    }
    let began = Instant::now();
    loop {
        match fs::remove_dir(group) {
            Err(error) if is_gone(&error) => return Ok(()),
            // The last of a killed group's processes may still be on their way out.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && began.elapsed() < Duration::from_secs(2) => {
                std::thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome,
        }
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

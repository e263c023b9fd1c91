//! What is mounted over the kernel's file systems, looked at inside the container before anything of it is executed.
//!
//! A mount below a volume follows the links that others have put into the volume, and may so come to lie over `/proc`, over what is masked there, or over
//! the root (CVE-2019-16884, CVE-2019-19921). What a look beforehand finds may change until the mount; what is mounted does not.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::{Mount, Spec};
use rustix::fs::{PROC_SUPER_MAGIC, statfs};

use crate::error::ShimError;

/// Places at which exactly one file system is mounted.
const ROOTS: [&str; 4] = ["/", "/dev", "/proc", "/sys"];

/// Refuses a container whose own file systems are covered.
pub(super) fn check(spec: &Spec) -> Result<(), ShimError> {
    if !statfs("/proc").is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC) {
        return Err(covered("/proc"));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(|_| covered("/proc"))?;
    match first_covered(&mounts, &Known::of(spec)) {
        Some(place) => Err(covered(place)),
        None => Ok(()),
    }
}

fn covered(place: &str) -> ShimError {
    ShimError::invalid(format!("a mount lies over `{place}`: a link in one of its volumes leads there"))
        .hint("look for links in volumes that have other mounts below them")
}

/// What the container's document says of places below the kernel's file systems.
#[derive(Debug, Default)]
struct Known {
    /// Covered on purpose, each once.
    masked: HashSet<PathBuf>,
    /// Mounted over themselves.
    read_only: HashSet<PathBuf>,
    mounted: HashSet<PathBuf>,
    /// Mounts of the host come with a bind of its own `/sys`.
    has_hosts_sys: bool,
}

impl Known {
    fn of(spec: &Spec) -> Self {
        let linux = spec.linux().as_ref();
        let masked = linux.and_then(|linux| linux.masked_paths().as_ref()).into_iter().flatten();
        let read_only = linux.and_then(|linux| linux.readonly_paths().as_ref()).into_iter().flatten();
        let mounts = || spec.mounts().iter().flatten();
        let is_hosts =
            |mount: &Mount| mount.destination().as_os_str() == "/sys" && mount.typ().as_deref() == Some("bind");
        Self {
            masked: masked.map(PathBuf::from).collect(),
            read_only: read_only.map(PathBuf::from).collect(),
            mounted: mounts().map(|mount| mount.destination().clone()).collect(),
            has_hosts_sys: mounts().any(is_hosts),
        }
    }

    /// Whether nothing else is mounted at a place than these devices, in a container whose `/proc` is that device.
    fn allows(&self, place: &str, devices: &[&str], proc: Option<&str>) -> bool {
        let path = Path::new(place);
        let is_one = devices.windows(2).all(|pair| pair[0] == pair[1]);
        if place.starts_with("/sys/") && self.has_hosts_sys {
            true
        } else if ROOTS.contains(&place) || self.masked.contains(path) {
            devices.len() == 1
        } else if place.starts_with("/proc/") {
            self.read_only.contains(path) && devices.iter().all(|device| Some(*device) == proc)
        } else {
            // Hierarchies of version 1 are in a directory each.
            let is_group = place.starts_with("/sys/fs/cgroup/");
            is_one && (is_group || self.mounted.contains(path) || self.read_only.contains(path))
        }
    }
}

fn first_covered<'a>(mounts: &'a str, known: &Known) -> Option<&'a str> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(2);
        let (Some(device), Some(place)) = (words.next(), words.nth(1)) else { continue };
        if ROOTS.contains(&place) || place.starts_with("/proc/") || place.starts_with("/sys/") {
            found.entry(place).or_default().push(device);
        }
    }
    let proc = found.get("/proc").and_then(|devices| devices.first().copied());
    found.iter().find(|(place, devices)| !known.allows(place, devices, proc)).map(|(place, _)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each place with the number of its device.
    fn found(places: &[(&str, u32)]) -> Option<String> {
        let all = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        let known = Known {
            masked: all(&["/proc/kcore"]),
            read_only: all(&["/proc/bus", "/proc/sys", "/sys/fs/cgroup"]),
            mounted: all(&["/sys/fs/cgroup", "/data"]),
            has_hosts_sys: false,
        };
        let line = |(place, device): &(&str, u32)| format!("21 20 0:{device} / {place} rw - tmpfs tmpfs rw");
        let lines: Vec<String> = places.iter().map(line).collect();
        first_covered(&lines.join("\n"), &known).map(str::to_owned)
    }

    #[test]
    fn mount_over_the_kernels_is_found_and_what_belongs_there_is_not() {
        let usual = [
            ("/", 1),
            ("/proc", 2),
            ("/dev", 3),
            ("/dev/pts", 4),
            ("/sys", 5),
            ("/sys/fs/cgroup", 6),
            ("/sys/fs/cgroup/cpu", 7),
            ("/data", 8),
            ("/proc/bus", 2),
            ("/proc/sys", 2),
            ("/sys/fs/cgroup", 6),
            ("/sys/fs/cgroup/cpu", 7),
            ("/proc/kcore", 3),
        ];
        assert_eq!(found(&usual), None);
        assert_eq!(
            found(&[&usual[..], &[("/data", 9), ("/process", 9), ("/system/x", 9), ("/dev/x", 9)]].concat()),
            None
        );
        let places = ["/", "/proc", "/sys", "/dev", "/proc/bus", "/proc/1", "/sys/kernel", "/sys/fs/cgroup/cpu"];
        for place in places.into_iter().chain(["/sys/fs/cgroup", "/proc/kcore"]) {
            assert_eq!(found(&[&usual[..], &[(place, 9)]].concat()).as_deref(), Some(place));
        }
        // What is read-only by a mount over itself was covered before.
        let before = [("/", 1), ("/proc", 2), ("/proc/sys", 9), ("/proc/sys", 9)];
        assert_eq!(found(&before).as_deref(), Some("/proc/sys"));
    }
}

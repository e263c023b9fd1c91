//! What libcontainer leaves undone about a container's control groups.
//!
//! ```text
//! version 2   the device filter, no swap beyond the memory limit
//! version 1   hierarchies are mounted read-only; the container has a group of its own also in those that have no controller libcontainer knows
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::device_filter::DeviceFilter;
use crate::error::{Doing, ShimError, ShimErrorKind};

/// Where hierarchies are mounted.
pub(crate) const PLACE: &str = "/sys/fs/cgroup";
/// Those that libcontainer joins.
const JOINED: [&str; 12] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// One hierarchy as it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// Those that libcontainer knows; `None`: version 2.
    controllers: Option<Vec<String>>,
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().flatten().any(|one| one == controller)
    }

    /// Joined by nobody but us. Where version 2 is all there is, libcontainer joins it.
    fn is_left_out(&self) -> bool {
        self.mount != Path::new(PLACE) && self.controllers.as_deref().is_none_or(<[String]>::is_empty)
    }

    fn group(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }
}

/// Every hierarchy at the usual place, each once.
fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((mount, about)) = line.split_once(" - ") else { continue };
        let Some(mount) = mount.split(' ').nth(4).map(PathBuf::from) else { continue };
        let mut about = about.split(' ');
        let controllers = match about.next() {
            Some("cgroup2") => None,
            Some("cgroup") => {
                let options = about.nth(1).unwrap_or_default().split(',');
                Some(options.filter(|one| JOINED.contains(one)).map(str::to_owned).collect())
            }
            _ => continue,
        };
        if mount.starts_with(PLACE) && !found.iter().any(|had| had.mount == mount) {
            found.push(Hierarchy { mount, controllers });
        }
    }
    found
}

fn mounted() -> io::Result<Vec<Hierarchy>> {
    Ok(hierarchies(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// Path of a container's groups; empty: it has none. One without resources has the path that libcontainer is given only.
pub(crate) fn path_of(spec: &Value) -> &str {
    let has_groups = spec.pointer("/linux/resources").is_some_and(Value::is_object);
    spec.pointer("/linux/cgroupsPath").and_then(Value::as_str).filter(|_| has_groups).unwrap_or_default()
}

/// Makes the groups that libcontainer does not, and has the document say how it shall mount the others. Nothing of the image runs yet.
///
/// # Errors
/// Also where this host can keep no container from the host's devices.
pub(crate) fn prepare(spec: &mut Value, rootless: bool) -> Result<(), ShimError> {
    let path = path_of(spec).to_owned();
    if rootless && path.is_empty() {
        return Ok(());
    }
    let all = mounted().doing("look for cgroups")?;
    let unified = all.iter().find(|one| one.mount == Path::new(PLACE));
    for one in all.iter().filter(|one| one.controllers.is_none() || one.is_left_out()) {
        let group = one.group(&path);
        match fs::create_dir_all(&group) {
            // A hierarchy that may not be changed: the container is not shown it.
            Err(_) if unified.is_none() => {}
            outcome => outcome.doing(format_args!("create cgroup `{}`", group.display()))?,
        }
    }
    if let Some(unified) = unified {
        enable_controllers(&unified.mount);
        limit_swap(spec, &unified.group(&path))?;
    } else {
        mount_read_only(spec, &all, &path);
    }
    // Only root loads a filter; the device nodes that an unprivileged user can have are the user's own.
    if !rootless && !all.iter().any(|one| one.has("devices")) {
        let group = all.iter().find(|one| one.controllers.is_none()).map(|one| one.group(&path));
        filter_devices(spec, group.as_deref())?;
    }
    Ok(())
}

/// Every controller there is for groups right below; one that cannot be enabled is missed by whoever needs it.
fn enable_controllers(root: &Path) {
    let available = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// libcontainer takes "no swap" for "nothing said". A kernel without accounts of swap has no such file.
fn limit_swap(spec: &Value, group: &Path) -> Result<(), ShimError> {
    let memory = |name: &str| spec.pointer("/linux/resources/memory")?.get(name)?.as_u64();
    let (Some(limit), Some(both)) = (memory("limit"), memory("swap")) else { return Ok(()) };
    let file = group.join("memory.swap.max");
    if !file.exists() {
        return Ok(());
    }
    fs::write(&file, both.saturating_sub(limit).to_string()).doing(format_args!("write `{}`", file.display()))
}

/// Denies devices by a program, since no controller does.
fn filter_devices(spec: &Value, group: Option<&Path>) -> Result<(), ShimError> {
    let devices = spec.pointer("/linux/resources/devices").unwrap_or(&Value::Null);
    let Some(filter) = DeviceFilter::of(devices) else { return Ok(()) };
    let outcome = match group {
        Some(group) => filter.attach(group).map_err(|error| format!("a device program is refused: {error}")),
        None => Err("there is neither cgroup v2 nor the `devices` controller".to_owned()),
    };
    outcome.map_err(|why| ShimError::new(ShimErrorKind::Unsupported, format!("{NO_FILTER}: {why}")))
}

const NO_FILTER: &str = "this host has no device filter for containers";

/// Why there could be no device filter here; `None`: there can. Only containers with privileges start without one.
pub fn missing_device_filter() -> Option<String> {
    let all = mounted().unwrap_or_default();
    if all.iter().any(|one| one.has("devices")) {
        return None;
    }
    let why = if all.iter().any(|one| one.controllers.is_none()) {
        let filter = DeviceFilter::of(&Value::Null)?;
        format!("a device program is refused: {}", filter.load().err()?)
    } else {
        "there is neither cgroup v2 nor the `devices` controller".to_owned()
    };
    Some(format!("{NO_FILTER}: {why}"))
}

/// Version 1: the container sees its own group of each hierarchy, and can change none.
fn mount_read_only(spec: &mut Value, all: &[Hierarchy], path: &str) {
    let Some(mounts) = spec["mounts"].as_array_mut() else { return };
    let Some(at) = mounts.iter().position(|mount| mount["type"] == "cgroup") else { return };
    let is_read_only = mounts[at]["options"].as_array().into_iter().flatten().any(|option| option == "ro");
    let place = mounts[at]["destination"].as_str().unwrap_or(PLACE).to_owned();
    let secure = ["nosuid", "noexec", "nodev"];
    let tmpfs = [&secure[..], &["mode=755", "size=64k"]].concat();
    let mut replaced = vec![json!({ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": tmpfs })];
    let write: &[&str] = if is_read_only { &["ro"] } else { &[] };
    let options = [&["bind", "rprivate"], &secure[..], write].concat();
    for one in all {
        let (Some(controllers), Some(name)) = (&one.controllers, one.mount.file_name()) else { continue };
        if one.is_left_out() && !one.group(path).exists() {
            continue;
        }
        // Those that share a hierarchy are found under the name of each.
        let name = name.to_string_lossy();
        let shared = controllers.iter().filter(|other| controllers.len() > 1 && **other != name);
        for name in std::iter::once(name.as_ref()).chain(shared.map(String::as_str)) {
            let source = one.group(path);
            let target = format!("{place}/{name}");
            replaced.push(json!({ "destination": target, "type": "bind", "source": source, "options": options }));
        }
    }
    mounts.splice(at..=at, replaced);
    if is_read_only && let Some(paths) = spec.pointer_mut("/linux/readonlyPaths").and_then(Value::as_array_mut) {
        paths.push(json!(place));
    }
}

/// Puts this process, and so what it starts, into the container's groups that libcontainer does not join.
///
/// # Errors
/// What the kernel says.
pub(crate) fn join_others(path: &str) -> io::Result<()> {
    let left_out = mounted()?.into_iter().filter(Hierarchy::is_left_out);
    let mut groups = left_out.map(|one| one.group(path)).filter(|group| !path.is_empty() && group.exists());
    groups.try_for_each(|group| fs::write(group.join("cgroup.procs"), "0"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:37 / /elsewhere rw,relatime - cgroup cgroup rw,name=systemd
";

    #[test]
    fn hierarchies_without_known_controller_are_left_out() {
        let all = hierarchies(HYBRID);
        let left: Vec<&Path> = all.iter().filter(|one| one.is_left_out()).map(|one| one.mount.as_path()).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(left, [Path::new("/sys/fs/cgroup/systemd"), Path::new("/sys/fs/cgroup/unified")]);
        let unified = hierarchies("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(unified.iter().all(|one| !one.is_left_out()));
    }

    #[test]
    fn cgroup_mount_becomes_read_only_binds_of_own_groups() {
        let mut spec = json!({
            "mounts": [
                { "destination": "/sys", "type": "sysfs" },
                { "destination": PLACE, "type": "cgroup", "options": ["ro", "nosuid"] },
                { "destination": "/dev/shm", "type": "tmpfs" },
            ],
            "linux": { "readonlyPaths": ["/proc/sys"] },
        });
        mount_read_only(&mut spec, &hierarchies(HYBRID), "/hythe-1");
        let mounts = spec["mounts"].as_array().unwrap();
        let targets: Vec<&str> = mounts.iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
        let at = |name: &str| format!("{PLACE}/{name}");
        let expected = ["/sys".to_owned(), PLACE.to_owned(), at("cpu,cpuacct"), at("cpu"), at("cpuacct")];
        assert_eq!(targets[..5], expected, "a group that could not be made is not shown");
        for bind in &mounts[2..5] {
            assert!(bind["options"].as_array().unwrap().contains(&json!("ro")), "{bind}");
            assert!(bind["source"].as_str().unwrap().ends_with("/hythe-1"), "{bind}");
        }
        assert_eq!(spec["linux"]["readonlyPaths"], json!(["/proc/sys", PLACE]));
    }

    #[test]
    fn memory_limit_leaves_no_swap() {
        let group = tempfile::tempdir().unwrap();
        let spec = json!({ "linux": { "resources": { "memory": { "limit": 64, "swap": 64 } } } });
        limit_swap(&spec, group.path()).unwrap();
        let file = group.path().join("memory.swap.max");
        assert!(!file.exists(), "a kernel without accounts of swap");
        fs::write(&file, "max").unwrap();
        limit_swap(&spec, group.path()).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "0");
    }
}

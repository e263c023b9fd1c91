//! A cgroup that systemd has delegated to this process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Where cgroup v2 is mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// Those that containers use.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// A cgroup below which this process may create others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedCgroup {
    /// Its path below the mount, as `/proc/self/cgroup` has it.
    pub path: PathBuf,
    /// Controllers that are enabled for the cgroups below it.
    pub controllers: Vec<String>,
}

/// The delegated cgroup above this process's own, with its controllers enabled; `None`: nothing is delegated.
///
/// The process must be in a cgroup of its own below (`DelegateSubgroup=`): the kernel enables no controller for the cgroups
/// below one that has processes.
///
/// # Errors
/// `/proc` or the cgroup cannot be read.
pub fn delegated_cgroup() -> io::Result<Option<DelegatedCgroup>> {
    let membership = fs::read_to_string("/proc/self/cgroup")?;
    let Some(path) = candidate(&membership) else { return Ok(None) };
    let place = Path::new(MOUNT).join(path.strip_prefix("/").unwrap_or(&path));
    if !is_delegated(&place) {
        return Ok(None);
    }
    for controller in CONTROLLERS {
        // One that is not delegated is missing below.
        let _ = fs::write(place.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    let enabled = fs::read_to_string(place.join("cgroup.subtree_control"))?;
    Ok(Some(DelegatedCgroup { path, controllers: enabled.split_whitespace().map(str::to_owned).collect() }))
}

/// The unit that this process is in a subgroup of, where cgroup v2 is all there is.
fn candidate(membership: &str) -> Option<PathBuf> {
    let mut lines = membership.lines();
    let own = Path::new(lines.next()?.strip_prefix("0::")?);
    let is_unit = |path: &Path| path.extension().is_some_and(|kind| kind == "service" || kind == "scope");
    let unit = own.parent()?;
    (lines.next().is_none() && is_unit(unit) && !is_unit(own)).then(|| unit.to_owned())
}

/// Whether this user may create cgroups there and move processes between them. systemd's mark of delegation is no answer: only
/// its system manager sets it.
fn is_delegated(place: &Path) -> bool {
    let may = |name: &str| access(place.join(name), Access::WRITE_OK).is_ok();
    ["", "cgroup.procs", "cgroup.subtree_control"].into_iter().all(may)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subgroup_of_unit_on_cgroup_v2_is_candidate() {
        let of = |text: &str| candidate(text).map(|path| path.display().to_string());
        let unit = "/user.slice/user-1000.slice/user@1000.service/app.slice/hythe.service";
        assert_eq!(of(&format!("0::{unit}/agent\n")).as_deref(), Some(unit));
        assert_eq!(of(&format!("0::{unit}\n")), None, "the unit's own processes are in it");
        assert_eq!(of("0::/user.slice/user-1000.slice/session-1.scope\n"), None);
        assert_eq!(of("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n"), None, "of the service manager");
        assert_eq!(of("0::/\n"), None);
    }

    #[test]
    fn hybrid_hierarchy_is_no_candidate() {
        assert_eq!(candidate("12:pids:/a.service/agent\n0::/a.service/agent\n"), None);
        assert_eq!(candidate("0::/a.service/agent\n12:pids:/\n"), None);
    }
}

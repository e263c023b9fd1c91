//! Mounts: the kernel's file systems, the files that every instance has of its own, then what image and plan ask for.

use std::path::{Path, PathBuf};

use hythe_runtime::{Plan, PlanNetwork};
use hythe_spec::MountSource;
use oci_spec::runtime::Mount;

use crate::{Host, Paths};

/// Bytes of `/dev/shm` where a plan does not say.
const SHM: u64 = 64 << 20;

/// What every instance has of its own: its hosts, its resolver, its name.
pub const FILES: [&str; 3] = ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"];
/// How a volume is mounted.
const VOLUME: [&str; 4] = ["rbind", "rprivate", "nosuid", "nodev"];

/// Files of a named volume.
pub fn volume_files(volumes: &Path, name: &str) -> PathBuf {
    volumes.join(name).join("data")
}

pub(crate) fn mounts(plan: &Plan, paths: &Paths, host: &Host) -> Vec<Mount> {
    let mut mounts = of_kernel(plan, host);
    let mut own: Vec<Mount> = Vec::new();
    for (target, source) in FILES.into_iter().zip([&paths.hosts, &paths.resolv_conf, &paths.hostname]) {
        own.push(mount(target, "bind", source, &["bind", "rprivate", "nosuid", "nodev"]));
    }
    for (files, target) in &paths.anonymous {
        own.push(mount(target, "bind", files, &VOLUME));
    }
    for one in &plan.all_mounts() {
        own.retain(|had| *had.destination() != *Path::new(&one.target));
        own.push(of_plan(one, paths));
    }
    // What is above comes before what is below it.
    own.sort_by_cached_key(|one| {
        let target = one.destination().to_string_lossy().into_owned();
        (target.split('/').count(), target)
    });
    mounts.extend(own);
    mounts
}

fn of_kernel(plan: &Plan, host: &Host) -> Vec<Mount> {
    let secure = ["nosuid", "noexec", "nodev"];
    let read_only: &[&str] = if plan.security.privileged { &[] } else { &["ro"] };
    let kernel: Vec<&str> = secure.iter().chain(read_only).copied().collect();
    let size = format!("size={}", plan.resources.shm_size.map_or(SHM, |size| size.0));
    // Only root has a group for terminals, cgroups of its own, and a view of the host's network.
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let sysfs = match plan.network {
        PlanNetwork::Host if host.rootless => mount("/sys", "bind", "/sys", &[&kernel[..], &["rbind"]].concat()),
        _ => mount("/sys", "sysfs", "sysfs", &kernel),
    };
    let cgroups =
        (!host.rootless).then(|| mount("/sys/fs/cgroup", "cgroup", "cgroup", &[&kernel[..], &["relatime"]].concat()));
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &secure),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals[..terminals.len() - usize::from(host.rootless)]),
        sysfs,
    ];
    mounts.extend(cgroups);
    mounts.extend([
        mount("/dev/mqueue", "mqueue", "mqueue", &secure),
        mount("/dev/shm", "tmpfs", "shm", &[&secure[..], &["mode=1777", &size]].concat()),
    ]);
    mounts
}

fn of_plan(asked: &hythe_spec::Mount, paths: &Paths) -> Mount {
    let hythe_spec::Mount { target, source, read_only } = asked;
    let mut options: Vec<String> = Vec::new();
    let (kind, source) = match source {
        MountSource::Volume { name, external: _ } => {
            options.extend(VOLUME.map(str::to_owned));
            ("bind", volume_files(&paths.volumes, name))
        }
        // No caller's engine relabels: SELinux is a capability that they do not have.
        MountSource::Bind { path, propagation, selinux: _ } => {
            options.extend(["rbind".to_owned(), propagation.clone().unwrap_or_else(|| "rprivate".to_owned())]);
            // Devices are meant where the host has them.
            if !Path::new(path).starts_with("/dev") {
                options.push("nodev".to_owned());
            }
            ("bind", PathBuf::from(path))
        }
        MountSource::Tmpfs { size, mode, options: more } => {
            options.extend(more.protections().map(str::to_owned));
            options.extend(more.limits());
            options.extend(size.map(|size| format!("size={}", size.0)));
            // Without a mode it is that of the directory that the tmpfs covers, which only whoever mounts can look up.
            options.extend(mode.map(|mode| format!("mode={mode:o}")));
            ("tmpfs", PathBuf::from("tmpfs"))
        }
    };
    if *read_only {
        options.push("ro".to_owned());
    }
    mount(target, kind, source, &options)
}

fn mount(target: &str, kind: &str, source: impl AsRef<Path>, options: &[impl AsRef<str>]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(target))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.as_ref().to_owned()))
        .set_options(Some(options.iter().map(|option| option.as_ref().to_owned()).collect()));
    mount
}

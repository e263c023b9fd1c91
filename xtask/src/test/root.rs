//! `--in SUITE`: the trials in the engines of a newer Debian, in a root and namespaces of their own.
//!
//! The root is made once by `mmdebstrap` and kept by its content off the checkout. Inside it is a mount, process and network namespace of its own, so that
//! neither its engines nor their firewall meet those of the host; only the kernel is the same. Programs are built outside: the root has no compiler.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::env::checkout;
use crate::failure::{Context, Failure, Result};
use crate::packages;
use crate::run;

/// Releases of Debian whose engines are tried.
const SUITES: [&str; 2] = ["trixie", "sid"];
/// Where built programs are named for the process inside.
const PROGRAMS: &str = "HYTHE_XTASK_PROGRAMS";
/// Debian packages of the root: engines, what they need, and what trials use.
const PACKAGES: &[&str] = &[
    "aardvark-dns",
    "busybox-static",
    "ca-certificates",
    "catatonit",
    "conmon",
    "containerd",
    "containernetworking-plugins",
    "crun",
    "docker-cli",
    "docker-registry",
    "docker.io",
    "faketime",
    "fuse-overlayfs",
    "iproute2",
    "iptables",
    "netavark",
    "nftables",
    "passt",
    "podman",
    "procps",
    "runc",
    "slirp4netns",
    "uidmap",
];
/// Arguments of `unshare`: everything but users, and nothing of it outlives this process.
const NAMESPACES: &[&str] =
    &["--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private"];
/// Makes the directory `$1` the root with `$2` and `$3` of the host in it, then runs the rest below a pid 1 that reaps,
/// whose blocked signals it does not keep.
/// A sysfs of its own shows the devices of this network namespace; runc wants a root that is a mount point.
const ENTER: &str = r#"set -e
root=$1; checkout=$2; target=$3; shift 3
rm -rf "$root/tmp" "$root/var/tmp"; mkdir -m 1777 "$root/tmp" "$root/var/tmp"
mount --bind "$root" "$root"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
for place in "$checkout" "$target"; do mkdir -p "$root$place"; mount --bind "$place" "$root$place"; done
mkdir -p "$root/.host"; cd "$root"
pivot_root . .host
umount -l /.host
mount --make-rshared /
ip link set lo up
exec /usr/bin/catatonit -- env --default-signal "$@"
"#;

/// Programs of trials that were built outside.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Programs {
    /// The `hythe` under test.
    pub(super) hythe: PathBuf,
    /// For each package the test programs, and where they run.
    pub(super) tests: BTreeMap<String, Vec<(PathBuf, PathBuf)>>,
}

impl Programs {
    /// What the process outside has built; `None`: this is no root of ours.
    pub(super) fn handed_over() -> Option<Self> {
        serde_json::from_str(&std::env::var(PROGRAMS).ok()?).ok()
    }
}

/// A release that has a root.
pub(super) fn release(name: &str) -> Result<&'static str> {
    let found = SUITES.into_iter().find(|known| *known == name);
    found.ok_or_else(|| Failure::usage(format!("no release `{name}`; there are {}", SUITES.join(", "))))
}

/// Makes the root of a release, where it is not there yet.
pub(super) fn prepare(suite: &str) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new("only root enters a root of its own"));
    }
    ensure(suite)
}

/// Runs this program again inside a root; whether it succeeded.
pub(super) fn enter(root: &Path, programs: &Programs, words: &[String]) -> Result<bool> {
    let own = std::env::current_exe().context(|| "finding the build directory".into())?;
    let target = own.ancestors().nth(2).unwrap_or(&own).to_path_buf();
    let programs = serde_json::to_string(programs).context(|| "describing the programs".into())?;
    let mut command = run::command("unshare");
    command.args(NAMESPACES).args(["sh", "-c", ENTER, "sh"]).arg(root).arg(checkout()).arg(target);
    command.arg(own).arg("test").args(words).env(PROGRAMS, programs).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    run::passes(&mut command)
}

/// The root of a release, made if it is not there; it takes a minute or two.
fn ensure(suite: &str) -> Result<PathBuf> {
    if let Some(reason) = packages::ensure(&[("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux")])? {
        return Err(Failure::new(reason));
    }
    let mut key = DefaultHasher::new();
    (suite, PACKAGES).hash(&mut key);
    let place = PathBuf::from(format!("/var/tmp/hythe-root-{suite}-{:016x}", key.finish()));
    if place.is_dir() {
        return Ok(place);
    }
    eprintln!("xtask: making a root of {suite}");
    let fresh = place.with_extension(format!("new-{}", std::process::id()));
    let made = make(suite, &fresh)
        .and_then(|()| fs::rename(&fresh, &place).context(|| format!("renaming `{}`", fresh.display())));
    if made.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    made.map(|()| place)
}

fn make(suite: &str, place: &Path) -> Result<()> {
    let mut command = run::command("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=root", "--aptopt=APT::Install-Recommends \"false\""]);
    // A mirror may be weeks behind.
    command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    for part in ["doc", "man", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{part}/*"));
    }
    command.arg(format!("--include={}", PACKAGES.join(","))).arg(suite).arg(place);
    run::output(&mut command).map(drop)
}

/// A test program of a package, run where cargo would run it.
pub(super) fn test((program, directory): &(PathBuf, PathBuf)) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    command
}

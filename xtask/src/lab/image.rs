//! The guest's file system and kernel, made once by `mmdebstrap` and kept by their content.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Result};
use crate::run;

const SUITE: &str = "trixie";
/// Debian packages of the guest.
const PACKAGES: &[&str] = &[
    "apparmor",
    "busybox-static",
    "ca-certificates",
    "dbus",
    "dbus-user-session",
    "initramfs-tools",
    "iproute2",
    "iptables",
    "kmod",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "login",
    "nftables",
    "passwd",
    "procps",
    "slirp4netns",
    "systemd",
    "systemd-sysv",
    "udev",
    "uidmap",
    "zstd",
];
/// Started first; it begins again after a reboot.
const UNIT: &str = include_str!("guest/lab.service");
/// What takes minutes under emulation and is not what is tried.
const MASKED: [&str; 6] = [
    "apparmor.service",
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_reap.service",
    "systemd-pcrlock-make-policy.service",
];
/// The unprivileged user, whose service manager runs from the boot on.
const USER: &str = "useradd --create-home --uid 1000 --shell /bin/bash lab";
const SIZE: &str = "6G";

/// The directory with `disk.ext4`, `vmlinuz` and `initrd`, made if it is not there.
pub(super) fn ensure() -> Result<PathBuf> {
    let mut key = DefaultHasher::new();
    (SUITE, PACKAGES, UNIT, MASKED, USER, SIZE).hash(&mut key);
    let place = PathBuf::from(format!("/var/tmp/hythe-guest-{SUITE}-{:016x}", key.finish()));
    if place.is_dir() {
        return Ok(place);
    }
    eprintln!("xtask: making a guest of {SUITE}");
    let fresh = place.with_extension(format!("new-{}", std::process::id()));
    let made =
        make(&fresh).and_then(|()| fs::rename(&fresh, &place).context(|| format!("renaming `{}`", fresh.display())));
    if made.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    made.map(|()| place)
}

/// A file with a file system that has the content of a directory.
pub(super) fn file_system(content: &Path, file: &Path, size: &str) -> Result<()> {
    let mut command = run::command("mkfs.ext4");
    command.args(["-q", "-F", "-d"]).arg(content).arg(file).arg(size);
    run::output(&mut command).map(drop)
}

fn make(place: &Path) -> Result<()> {
    let root = place.join("root");
    fs::create_dir_all(place).context(|| format!("making `{}`", place.display()))?;
    let mut command = run::command("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--mode=root", "--aptopt=APT::Install-Recommends \"false\""]);
    for part in ["doc", "man", "locale"] {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{part}/*"));
    }
    command.arg(format!("--include={}", PACKAGES.join(","))).arg(SUITE).arg(&root);
    run::output(&mut command)?;
    settle(&root).context(|| format!("settling `{}`", root.display()))?;
    run::output(run::command("chroot").arg(&root).args(USER.split(' ')))?;
    for (start, name) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd")] {
        let from = newest(&root.join("boot"), start)?;
        fs::copy(&from, place.join(name)).context(|| format!("copying `{}`", from.display()))?;
    }
    file_system(&root, &place.join("disk.ext4"), SIZE)?;
    fs::remove_dir_all(&root).context(|| format!("removing `{}`", root.display()))
}

fn settle(root: &Path) -> std::io::Result<()> {
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants"))?;
    fs::write(units.join("lab.service"), UNIT)?;
    symlink("../lab.service", units.join("multi-user.target.wants/lab.service"))?;
    for unit in MASKED {
        symlink("/dev/null", units.join(unit))?;
    }
    fs::create_dir_all(root.join("lab"))?;
    fs::write(root.join("etc/hostname"), "lab\n")?;
    let lingering = root.join("var/lib/systemd/linger");
    fs::create_dir_all(&lingering)?;
    fs::write(lingering.join("lab"), "")?;
    // Nothing is rebuilt at the first boot.
    ["etc", "var"].into_iter().try_for_each(|place| fs::write(root.join(place).join(".updated"), ""))
}

fn newest(directory: &Path, start: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).context(|| format!("reading `{}`", directory.display()))?;
    let names = entries.flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    names.filter(is_one).max().ok_or_else(|| Failure::new(format!("no `{start}…` in `{}`", directory.display())))
}

//! `cargo xtask lab`: a guest with systemd, cgroup v2 alone and AppArmor, in QEMU without a processor's help (TCG).
//!
//! For: what a host without systemd cannot show: the units, a reboot, cgroups with controllers, delegation to a user.
//! The guest has no network. It is given the programs on a disk, prints over a serial port, and powers off in the end.

mod image;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::env;
use crate::failure::{Context, Failure, Result};
use crate::packages::{self, Need};
use crate::run;
use crate::test;

pub(crate) const USAGE: &str = "\
cargo xtask lab [--suites-only] [filter ...]
    Boots a guest of Debian 13 (systemd, cgroup v2, AppArmor) and tries the demo, the units, a reboot and rootless
    limits in it, then the conformance of the embedded runtime, as root and rootless.
    --suites-only  no demo, units and reboot
    filter         parts of the conformance suite, such as `limits`; default: those that cgroups are about";

const NEEDS: &[Need] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mkfs.ext4", "e2fsprogs"),
    ("strip", "binutils"),
    ("timeout", "coreutils"),
];
/// Parts of the conformance suite for which this host is another one.
const FILTERS: [&str; 5] = ["limits::", "stats::", "stop::", "exit::", "process_isolation::"];
/// The same for an unprivileged user, without the trials that read limits inside: rootless containers have no view of
/// cgroups.
const ROOTLESS: [&str; 6] =
    ["limits::a_fork", "limits::inspect", "limits::memory_has", "stats::", "stop::", "process_isolation::"];
/// What a guest runs, beside the programs.
const SCRIPTS: [(&str, &str); 2] = [("lib.sh", include_str!("guest/lib.sh")), ("run.sh", include_str!("guest/run.sh"))];
/// Most seconds of a guest; one that hangs is ended.
const LONGEST: &str = "3600";

/// Runs `lab` with the words after it.
pub(crate) fn main(words: &[String]) -> Result<()> {
    let (flags, filters): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with('-'));
    if let Some(flag) = flags.iter().find(|flag| flag.as_str() != "--suites-only") {
        return Err(Failure::usage(format!("no option `{flag}`\n{USAGE}")));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new("only root makes the guest's file system"));
    }
    if let Some(reason) = packages::ensure(NEEDS)? {
        return Err(Failure::new(reason));
    }
    let guest = image::ensure()?;
    let chosen = |default: &[&str]| match filters.as_slice() {
        [] => default.join(" "),
        some => some.iter().map(|filter| filter.as_str()).collect::<Vec<_>>().join(" "),
    };
    let settings = format!(
        "UNITS={}\nFILTERS=\"{}\"\nROOTLESS=\"{}\"\n",
        u8::from(flags.is_empty()),
        chosen(&FILTERS),
        chosen(&ROOTLESS)
    );
    let scratch = Scratch::new()?;
    let programs = scratch.0.join("programs");
    fill(&programs, &settings)?;
    let disk = scratch.0.join("programs.ext4");
    image::file_system(&programs, &disk, "512M")?;
    let console = guest.join("console.log");
    println!("the console of the guest: {}", console.display());
    test::counted(&mut machine(&guest, &disk, &console))
}

/// What is on the disk of programs.
fn fill(place: &Path, settings: &str) -> Result<()> {
    let making = || format!("making `{}`", place.display());
    fs::create_dir_all(place).context(making)?;
    for (name, text) in SCRIPTS {
        fs::write(place.join(name), text).context(making)?;
    }
    fs::write(place.join("settings"), settings).context(making)?;
    fs::copy(env::busybox()?, place.join("busybox")).context(making)?;
    let (hythe, conformance) = test::conformance()?;
    fs::copy(hythe, place.join("hythe")).context(making)?;
    run::output(run::command("strip").arg("-o").arg(place.join("conformance")).arg(conformance)).map(drop)
}

fn machine(guest: &Path, programs: &Path, console: &Path) -> Command {
    let mut command = run::command("timeout");
    command.arg(LONGEST).arg("qemu-system-x86_64");
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]);
    command.args(["-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "3072"]);
    command.arg("-kernel").arg(guest.join("vmlinuz")).arg("-initrd").arg(guest.join("initrd"));
    command.args(["-append", "root=/dev/vda rw console=ttyS0 loglevel=4"]);
    let drive = |file: &Path, more: &str| format!("file={},if=virtio,format=raw,{more}", file.display());
    // What the guest writes is gone with it.
    command.arg("-drive").arg(drive(&guest.join("disk.ext4"), "snapshot=on,cache=unsafe"));
    command.arg("-drive").arg(drive(programs, "readonly=on"));
    command.args(["-device", "virtio-serial", "-chardev", "file,id=lab,path=/dev/fd/1"]);
    command.args(["-device", "virtserialport,chardev=lab,name=lab"]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command
}

/// A directory that goes with this value.
#[derive(Debug)]
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let place = Path::new("/var/tmp").join(format!("hythe-lab-{}", std::process::id()));
        fs::create_dir_all(&place).context(|| format!("making `{}`", place.display()))?;
        Ok(Self(place))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

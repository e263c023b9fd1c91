//! QEMU's command line. Pure.

use std::path::Path;

use hythe_guest::protocol::{CONFIG, CONTROL_PORT, ROOT_SERIAL, STDERR_PORT, STDOUT_PORT};
use hythe_runtime::{Plan, PlanNetwork};
use hythe_spec::MountSource;

use super::{Host, Instance, serial};
use crate::volumes::disk;

/// Character devices of a machine, in the order in which its supervisor keeps them: each is a socket of the supervisor's.
pub(crate) const PORTS: [&str; 5] = ["monitor", "control", "stdout", "stderr", "console"];
/// The network device.
pub(crate) const NETDEV: &str = "net0";

/// Emulated, a kernel is spared what only costs time there.
const EMULATED: &str = "mitigations=off nokaslr cryptomgr.notests tsc=reliable no_timer_check init_on_alloc=0 audit=0 \
                        apparmor=0 nowatchdog random.trust_cpu=on rcupdate.rcu_expedited=1";
const ALWAYS: &str = "console=ttyS0 panic=-1 quiet";
/// What a machine has on top of its workload's limit: its kernel does not boot with less.
const KERNEL_MEMORY: u64 = 96 << 20;
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Every argument but the sockets.
pub(super) fn arguments(plan: &Plan, instance: &Instance, host: &Host) -> Vec<String> {
    let mut all = Arguments(Vec::new());
    let accelerator = if host.kvm { "kvm" } else { "tcg" };
    let machine = format!("q35,accel={accelerator},usb=off,sata=off,smbus=off,vmport=off,graphics=off");
    all.add("-name", format!("guest={}", escaped(&plan.name())));
    all.add("-machine", machine);
    all.flags(&["-nodefaults", "-no-user-config", "-no-reboot"]);
    all.add("-display", "none");
    all.add("-sandbox", SANDBOX);
    all.add("-cpu", if host.kvm { "host" } else { "max" });
    let memory = plan.resources.memory.map_or(host.memory, |memory| memory.0.saturating_add(KERNEL_MEMORY));
    all.add("-m", format!("{}M", memory >> 20));
    let processors = plan.resources.cpus.map_or(1, |cpus| cpus.0.div_ceil(1000).max(1));
    all.add("-smp", processors.to_string());
    all.add("-kernel", host.kernel.display().to_string());
    all.add("-initrd", instance.initrd.display().to_string());
    all.add("-append", if host.kvm { ALWAYS.to_owned() } else { format!("{ALWAYS} {EMULATED}") });
    all.add("-fw_cfg", format!("name={CONFIG},file={}", path(&instance.directory.join("guest.json"))));
    all.add("-mon", "chardev=monitor,mode=control");
    all.add("-serial", "chardev:console");
    all.add("-device", "virtio-serial-pci,id=ports");
    for (chardev, name) in [("control", CONTROL_PORT), ("stdout", STDOUT_PORT), ("stderr", STDERR_PORT)] {
        all.add("-device", format!("virtserialport,bus=ports.0,chardev={chardev},name={name}"));
    }
    all.add("-device", "virtio-rng-pci");
    all.add("-device", "pvpanic-pci");
    disks(plan, instance, &mut all);
    if matches!(plan.network, PlanNetwork::Networks { .. }) {
        all.add("-netdev", format!("user,id={NETDEV},ipv6=off"));
        all.add("-device", format!("virtio-net-pci,netdev={NETDEV},romfile="));
    }
    all.0
}

fn disks(plan: &Plan, instance: &Instance, all: &mut Arguments) {
    let root = path(&instance.directory.join("disk.qcow2"));
    all.add("-drive", format!("file={root},if=none,id=root,format=qcow2,discard=unmap"));
    all.add("-device", format!("virtio-blk-pci,drive=root,serial={ROOT_SERIAL}"));
    for (at, mount) in plan.mounts.iter().enumerate() {
        if let MountSource::Volume { name, .. } = &mount.source {
            let file = path(&disk(&instance.volumes, name));
            let (serial, only) = (serial(at), if mount.read_only { ",read-only=on" } else { "" });
            all.add("-drive", format!("file={file},if=none,id={serial},format=raw,discard=unmap{only}"));
            all.add("-device", format!("virtio-blk-pci,drive={serial},serial={serial}"));
        }
    }
}

struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }

    fn flags(&mut self, flags: &[&str]) {
        self.0.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }
}

/// As a value of an option with several: a comma would end it.
fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}

fn path(path: &Path) -> String {
    escaped(&path.display().to_string())
}

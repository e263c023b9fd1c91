//! The power button, and the end of a guest.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount_remount};
use rustix::system::{RebootCommand, reboot};

const EVENT: usize = 24;
const KEY: u16 = 1;
const POWER: u16 = 116;

/// Makes Ctrl-Alt-Del a signal to the init instead of a reset.
pub(crate) fn watch() {
    reboot(RebootCommand::CadOff).ok();
}

/// The input devices of power buttons; none where the kernel has no driver for them.
pub(crate) fn buttons() -> Vec<File> {
    let mut buttons = Vec::new();
    for entry in fs::read_dir("/sys/class/input").into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
        let event = entry.file_name().to_string_lossy().into_owned();
        if event.starts_with("event") && name.trim_end() == "Power Button" {
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
            buttons.extend(OpenOptions::new().read(true).custom_flags(flags).open(format!("/dev/input/{event}")));
        }
    }
    buttons
}

/// Reads what a button has sent; reports whether it was pressed.
pub(crate) fn is_pressed(mut button: &File) -> bool {
    let mut pressed = false;
    let mut event = [0; EVENT];
    while button.read_exact(&mut event).is_ok() {
        let word = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
        pressed |= (word(16), word(18), event[20]) == (KEY, POWER, 1);
    }
    pressed
}

/// Writes everything to the disks.
pub(crate) fn sync() {
    rustix::fs::sync();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines().rev() {
        let fields: Vec<_> = line.split(' ').collect();
        if let [_, target, "ext4", ..] = fields[..] {
            mount_remount(target.replace("\\040", " "), MountFlags::RDONLY, "").ok();
        }
    }
}

/// Ends the guest.
pub(crate) fn off() -> ! {
    reboot(RebootCommand::PowerOff).ok();
    panic!("the virtual machine does not power off");
}

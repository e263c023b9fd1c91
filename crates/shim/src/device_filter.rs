//! Which devices a container may open, on control groups of version 2: there is no controller for that, but a program (BPF) attached to the group.
//!
//! The rules are those of the OCI runtime specification; what no rule allows is denied. The kernel keeps the program until the group is removed.
//!
//! ```text
//! struct bpf_cgroup_dev_ctx { u32 access_type /* access << 16 | kind */; u32 major; u32 minor; }
//! ```

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;
const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MAKE | READ | WRITE;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs of groups above, and others of this one, deny what they deny all the same.
const ALLOW_MULTI: u32 = 2;

/// One thing that is allowed; what is `None` matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    kind: Option<u32>,
    access: u32,
    major: Option<u32>,
    minor: Option<u32>,
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Some(CHARACTER), access: ALL, major: Some(major), minor }
}

/// What every container has: nodes may be made, which opens nothing; `null`, `zero`, `full`, `random`, `urandom`, `tty`, `console`, `ptmx`, `pts`.
const USUAL: [Rule; 11] = [
    Rule { kind: Some(CHARACTER), access: MAKE, major: None, minor: None },
    Rule { kind: Some(BLOCK), access: MAKE, major: None, minor: None },
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(1)),
    character(5, Some(2)),
    character(136, None),
];

/// A compiled list of what is allowed.
#[derive(Debug)]
pub(crate) struct DeviceFilter(Vec<u64>);

impl DeviceFilter {
    /// Of `linux.resources.devices`; `None`: everything is allowed, as for a privileged container.
    pub(crate) fn of(devices: &Value) -> Option<Self> {
        let listed: Vec<&Value> = devices.as_array().into_iter().flatten().filter(|one| one["allow"] == true).collect();
        let rules = listed.into_iter().map(rule).collect::<Vec<_>>();
        let everything = |rule: &Rule| *rule == Rule { kind: None, access: ALL, major: None, minor: None };
        (!rules.iter().any(everything)).then(|| Self(compile(USUAL.iter().chain(&rules))))
    }

    /// Has the kernel check it, and keep it as long as the descriptor is open.
    pub(crate) fn load(&self) -> io::Result<OwnedFd> {
        #[repr(C)]
        struct Load {
            kind: u32,
            count: u32,
            instructions: u64,
            license: u64,
            log_level: u32,
            log_size: u32,
            log: u64,
            kernel: u32,
            flags: u32,
        }
        let license = c"Apache-2.0";
        let load = Load {
            kind: PROG_TYPE_CGROUP_DEVICE,
            count: u32::try_from(self.0.len()).map_err(io::Error::other)?,
            instructions: self.0.as_ptr().expose_provenance() as u64,
            license: license.as_ptr().expose_provenance() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel: 0,
            flags: 0,
        };
        // Kernels before 5.11 count programs as locked memory of the user, of whom all containers are.
        let limit = getrlimit(Resource::Memlock);
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        // SAFETY: `load` is laid out as the kernel's `union bpf_attr` for this command, and what it points to lives until the call returns.
        #[expect(unsafe_code, reason = "no safe binding loads a program")]
        let loaded = unsafe { bpf(PROG_LOAD, &load) };
        let _ = setrlimit(Resource::Memlock, limit);
        let loaded = loaded?;
        // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
        #[expect(unsafe_code, reason = "no safe binding loads a program")]
        Ok(unsafe { OwnedFd::from_raw_fd(loaded) })
    }

    /// Holds for all who are in the group, now and later, until it is removed.
    pub(crate) fn attach(&self, group: &Path) -> io::Result<()> {
        attach(self.load()?.as_fd(), File::open(group)?.as_fd())
    }
}

fn attach(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).map_err(io::Error::other);
    let attach =
        Attach { target: number(group)?, program: number(program)?, kind: ATTACH_CGROUP_DEVICE, flags: ALLOW_MULTI };
    // SAFETY: `attach` is laid out as the kernel's `union bpf_attr` for this command.
    #[expect(unsafe_code, reason = "no safe binding attaches a program")]
    unsafe { bpf(PROG_ATTACH, &attach) }.map(drop)
}

/// # Safety
/// `attributes` must be what the kernel expects of this command.
#[expect(unsafe_code, reason = "no safe binding has this call")]
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads no more than the given size; the rest is the caller's promise.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    i32::try_from(outcome).ok().filter(|outcome| *outcome >= 0).ok_or_else(io::Error::last_os_error)
}

fn rule(device: &Value) -> Rule {
    let number = |name: &str| device[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let letters = device["access"].as_str().unwrap_or_default();
    let bit = |letter: char, bit: u32| if letters.contains(letter) { bit } else { 0 };
    Rule {
        kind: match device["type"].as_str() {
            Some("b") => Some(BLOCK),
            Some("c" | "u") => Some(CHARACTER),
            _ => None,
        },
        access: bit('m', MAKE) | bit('r', READ) | bit('w', WRITE),
        major: number("major"),
        minor: number("minor"),
    }
}

/// Registers: the kernel's argument and scratch, kind, access, major, minor.
const R0: u8 = 0;
const R1: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// 32-bit operations, and instructions as the kernel numbers them.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// One instruction: code, registers, offset, constant.
fn instruction(code: u8, target: u8, source: u8, offset: i16, constant: u32) -> u64 {
    let [o0, o1] = offset.to_le_bytes();
    let [c0, c1, c2, c3] = constant.to_le_bytes();
    u64::from_le_bytes([code, source << 4 | target, o0, o1, c0, c1, c2, c3])
}

/// Rule by rule: where one thing differs, on to the next.
fn compile<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<u64> {
    let load = |register, offset| instruction(LOAD_WORD, register, R1, offset, 0);
    let mut program = vec![
        load(KIND, 0),
        load(MAJOR, 4),
        load(MINOR, 8),
        instruction(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, KIND, 0, 0, 0xffff),
    ];
    for rule in rules {
        program.extend(compile_rule(rule));
    }
    program.extend(verdict(0));
    program
}

fn verdict(allowed: u32) -> [u64; 2] {
    [instruction(MOVE, R0, 0, 0, allowed), instruction(EXIT, 0, 0, 0, 0)]
}

fn compile_rule(rule: &Rule) -> Vec<u64> {
    // Backwards, so that a jump to the rule's end knows how far that is.
    let mut backwards: Vec<u64> = verdict(1).into_iter().rev().collect();
    let mut unless = |register: u8, value: u32, before: &[u64]| {
        let rest = i16::try_from(backwards.len()).unwrap_or(i16::MAX);
        backwards.push(instruction(JUMP_UNLESS_EQUAL, register, 0, rest, value));
        backwards.extend(before.iter().rev());
    };
    if rule.access != ALL {
        // Nothing may be asked for beyond what is allowed.
        let beyond = [instruction(MOVE_REGISTER, R1, ACCESS, 0, 0), instruction(AND, R1, 0, 0, ALL & !rule.access)];
        unless(R1, 0, &beyond);
    }
    for (register, value) in [(MINOR, rule.minor), (MAJOR, rule.major), (KIND, rule.kind)] {
        if let Some(value) = value {
            unless(register, value, &[]);
        }
    }
    backwards.reverse();
    backwards
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the kernel would do with the program.
    fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u32; 6];
        let mut at = 0;
        loop {
            let [code, both, o0, o1, rest @ ..] = program[at].to_le_bytes();
            let (target, source) = (usize::from(both & 15), usize::from(both >> 4));
            let (offset, constant) = (usize::from(u16::from_le_bytes([o0, o1])), u32::from_le_bytes(rest));
            at += 1;
            match code {
                LOAD_WORD => registers[target] = context[offset / 4],
                MOVE => registers[target] = constant,
                MOVE_REGISTER => registers[target] = registers[source],
                AND => registers[target] &= constant,
                SHIFT_RIGHT => registers[target] >>= constant,
                JUMP_UNLESS_EQUAL if registers[target] != constant => at += offset,
                JUMP_UNLESS_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("no instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn filter_of_default_devices_allows_only_them() {
        let program = DeviceFilter::of(&json!([{ "allow": false, "access": "rwm" }])).unwrap().0;
        let null = |access| run(&program, CHARACTER, access, 1, 3);
        assert!(null(READ) && null(WRITE) && null(ALL));
        assert!(run(&program, CHARACTER, READ | WRITE, 136, 7), "a terminal");
        assert!(run(&program, BLOCK, MAKE, 7, 0), "a node may be made");
        assert!(!run(&program, BLOCK, READ, 7, 0) && !run(&program, BLOCK, MAKE | READ, 7, 0), "but not opened");
        assert!(!run(&program, CHARACTER, READ, 1, 1), "memory");
        assert!(!run(&program, BLOCK, READ, 1, 3), "a block device of the same number");
        assert!(!run(&program, CHARACTER, READ, 10, 200), "tun");
    }

    #[test]
    fn filter_with_granted_device_allows_what_is_granted() {
        let granted = json!({ "allow": true, "type": "b", "major": 7, "minor": 0, "access": "r" });
        let program = DeviceFilter::of(&json!([{ "allow": false, "access": "rwm" }, granted])).unwrap().0;
        assert!(run(&program, BLOCK, READ, 7, 0));
        assert!(!run(&program, BLOCK, WRITE, 7, 0) && !run(&program, BLOCK, READ | WRITE, 7, 0));
        assert!(!run(&program, BLOCK, READ, 7, 1));
    }

    #[test]
    fn filter_of_privileged_is_none() {
        assert!(DeviceFilter::of(&json!([{ "allow": true, "access": "rwm" }])).is_none());
        assert!(DeviceFilter::of(&Value::Null).is_some(), "denied unless allowed");
    }
}

//! The default seccomp profile.
//!
//! It allows every call that ordinary programs make. Calls that reach into the kernel, into other namespaces or into the memory of other processes fail with
//! `EPERM`, unless the process has the capability that they need anyway. Calls that this table does not know fail with `ENOSYS`, so that a C library
//! falls back to older ones.

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
use syscalls::Sysno;

use super::{Group, Profile, Rules, add, number};

pub(super) const EPERM: u32 = 1;
pub(super) const ENOSYS: u32 = 38;

/// The last call (`fchmodat2`) that was looked at; later ones are unknown.
pub(super) const LAST_KNOWN: u32 = 452;

/// Refused whatever is given: keys of the kernel, other kernels, memory policy of others, what nobody has used for decades.
const NEVER: &[&str] = &[
    "_sysctl",
    "add_key",
    "afs_syscall",
    "cachestat",
    "create_module",
    "get_kernel_syms",
    "getpmsg",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "pivot_root",
    "putpmsg",
    "query_module",
    "request_key",
    "security",
    "swapoff",
    "swapon",
    "sysfs",
    "tuxcall",
    "userfaultfd",
    "uselib",
    "ustat",
    "vserver",
];

/// Refused unless one of the capabilities is given.
const GUARDED: &[(&[&str], &[&str])] = &[
    (&["DAC_READ_SEARCH"], &["open_by_handle_at"]),
    (&["SYS_BOOT"], &["reboot"]),
    (&["SYS_CHROOT"], &["chroot"]),
    (&["SYS_MODULE"], &["delete_module", "finit_module", "init_module"]),
    (&["SYS_NICE"], &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (&["SYS_PACCT"], &["acct"]),
    (&["SYS_PTRACE"], &["kcmp", "pidfd_getfd", "process_madvise"]),
    (&["SYS_RAWIO"], &["ioperm", "iopl"]),
    (&["SYS_TIME"], &["clock_settime", "settimeofday"]),
    (&["SYS_TTY_CONFIG"], &["vhangup"]),
    (&["SYS_ADMIN", "BPF"], &["bpf"]),
    (&["SYS_ADMIN", "PERFMON"], &["perf_event_open"]),
    (&["SYS_ADMIN", "SYSLOG"], &["syslog"]),
    (
        &["SYS_ADMIN"],
        &[
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "umount2",
            "unshare",
        ],
    ),
];

/// `clone` flags that make namespaces.
pub(super) const NAMESPACES: u64 = 0x7e02_0000;
/// Personalities that change nothing dangerous: Linux, 32 bit, with old `uname`, both, and only asking.
pub(super) const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Sockets to a hypervisor.
pub(super) const AF_VSOCK: u64 = 40;

/// Calls that are refused whatever their arguments.
pub(super) fn refused(capabilities: &[String]) -> Vec<&'static str> {
    let has = |names: &[&str]| names.iter().any(|name| capabilities.iter().any(|given| given == name));
    let guarded = GUARDED.iter().filter(|(needs, _)| !has(needs)).flat_map(|(_, calls)| calls.iter());
    NEVER.iter().chain(guarded).copied().collect()
}

/// The profile for a process with these capabilities (without `CAP_`).
///
/// # Errors
/// None is known; `seccompiler` could refuse a condition.
pub fn standard(capabilities: &[String]) -> Result<Profile, String> {
    let refused = refused(capabilities);
    let is_admin = capabilities.iter().any(|given| given == "SYS_ADMIN");
    let mut allowed = Rules::new();
    let mut eperm = Rules::new();
    let mut enosys = Rules::new();
    for call in Sysno::iter().filter(|call| call.id().cast_unsigned() <= LAST_KNOWN) {
        let number = i64::from(call.id());
        match call.name() {
            name if refused.contains(&name) => add(&mut eperm, number, Vec::new())?,
            // Its flags are behind a pointer where no filter can see them.
            "clone3" if !is_admin => add(&mut enosys, number, Vec::new())?,
            "clone" if !is_admin => {
                add(&mut allowed, number, vec![first(SeccompCmpOp::MaskedEq(NAMESPACES), 0)?])?;
            }
            "personality" => {
                for personality in PERSONALITIES {
                    add(&mut allowed, number, vec![first(SeccompCmpOp::Eq, personality)?])?;
                }
            }
            "socket" => add(&mut allowed, number, vec![first(SeccompCmpOp::Ne, AF_VSOCK)?])?,
            _ => add(&mut allowed, number, Vec::new())?,
        }
    }
    // Conditions that do not hold fall to the default; for calls that exist it must say what it means.
    for (name, conditions) in [
        ("socket", vec![first(SeccompCmpOp::Eq, AF_VSOCK)?]),
        ("personality", PERSONALITIES.iter().map(|one| first(SeccompCmpOp::Ne, *one)).collect::<Result<_, _>>()?),
    ] {
        if let Some(number) = number(name) {
            add(&mut eperm, number, conditions)?;
        }
    }
    if !is_admin {
        for bit in (0..64).filter(|bit| NAMESPACES & (1 << bit) != 0) {
            if let Some(number) = number("clone") {
                add(&mut eperm, number, vec![first(SeccompCmpOp::MaskedEq(1 << bit), 1 << bit)?])?;
            }
        }
    }
    let errno = |code, rules| Group { action: SeccompAction::Errno(code), rules };
    let groups =
        vec![Group { action: SeccompAction::Allow, rules: allowed }, errno(EPERM, eperm), errno(ENOSYS, enosys)];
    Ok(Profile { default: SeccompAction::Errno(ENOSYS), groups })
}

fn first(op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(0, SeccompCmpArgLen::Qword, op, value).map_err(|error| error.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_tables_is_a_call_somewhere() {
        // What other architectures lack may be absent here; a slip of the pen may not.
        #[cfg(target_arch = "x86_64")]
        for name in NEVER.iter().chain(GUARDED.iter().flat_map(|(_, calls)| calls.iter())) {
            assert!(number(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_capability_opens_its_calls_and_no_others() {
        let refused = |capabilities: &[&str], call: &str| {
            let given: Vec<String> = capabilities.iter().map(|one| (*one).to_owned()).collect();
            let profile = standard(&given).unwrap();
            let eperm = profile.groups.iter().find(|group| group.action == SeccompAction::Errno(EPERM)).unwrap();
            eperm.rules.get(&number(call).unwrap()).is_some_and(Vec::is_empty)
        };
        assert!(refused(&[], "mount") && refused(&["SYS_TIME"], "mount") && !refused(&["SYS_ADMIN"], "mount"));
        assert!(refused(&[], "bpf") && !refused(&["BPF"], "bpf") && !refused(&["SYS_ADMIN"], "bpf"));
        assert!(refused(&["SYS_ADMIN"], "keyctl") && !refused(&[], "openat"));
    }

    #[test]
    fn it_compiles_to_what_the_kernel_takes() {
        let filters = standard(&[]).unwrap().compile().unwrap();
        assert_eq!(filters.len(), 3);
        assert!(filters.iter().all(|filter| (1..=4096).contains(&filter.len())));
    }
}

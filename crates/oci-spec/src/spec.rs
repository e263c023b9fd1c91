//! The specification but for its mounts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_runtime::{DEFAULT_PIDS, Error, ErrorKind, Plan, PlanNetwork, Result, Security};
use hythe_spec::{Resources, Ulimit};
use oci_spec::runtime::{
    Capabilities, Linux, LinuxCapabilities, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxNamespace,
    LinuxNamespaceType, LinuxPids, LinuxResources, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Root,
    Spec,
};

use crate::Command;
use crate::mounts::mounts;

/// Where the parts of an instance are on the host.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Directory of all named volumes (see [`crate::volume_files`]).
    pub volumes: PathBuf,
    /// Volumes that the image declares: their files, and where they are mounted.
    pub anonymous: Vec<(PathBuf, String)>,
    /// What becomes `/etc/hosts`.
    pub hosts: PathBuf,
    /// What becomes `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// What becomes `/etc/hostname`.
    pub hostname: PathBuf,
    /// As the specification names it; empty: it has none, and no limits.
    pub cgroup: PathBuf,
}

/// What the specification needs to know of the host and of whoever starts containers there.
#[derive(Debug, Clone)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// The highest hard limit that can be set, for each rlimit that cannot be raised. By names of the plan: `nofile`.
    pub rlimit_ceilings: BTreeMap<String, u64>,
    /// Every capability that can be given, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Name of the AppArmor profile for containers.
    pub apparmor: Option<String>,
    /// The pids controller is available.
    pub limits_pids: bool,
    /// Containers live in the user namespace of an unprivileged user: no view of cgroups, no group of terminals.
    pub rootless: bool,
}

const CPU_PERIOD: u64 = 100_000;

/// What Docker or Podman masks.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The specification of a container, without path of the root, user, devices of the host and seccomp.
///
/// # Errors
/// `Invalid` where the plan names a capability or an rlimit that the specification does not know.
pub fn spec(operation: &'static str, plan: &Plan, command: &Command, paths: &Paths, host: &Host) -> Result<Spec> {
    let Plan {
        identity: _,
        image: _,
        // In the command, over what the image says.
        entrypoint: _,
        command: _,
        env: _,
        user: _,
        workdir: _,
        // Of the engine's own records.
        annotations: _,
        // Of whoever connects the network namespace and writes the files in `Paths`.
        ports: _,
        dns: _,
        dns_search: _,
        dns_options: _,
        extra_hosts: _,
        outbound: _,
        inbound: _,
        // Both by `Plan::all_mounts`.
        mounts: _,
        secrets: _,
        hostname,
        network,
        // Looked up in the image, like the user.
        group_add: _,
        // By `Plan::all_sysctls`.
        sysctls: _,
        // Their numbers are known when the container starts.
        devices: _,
        logs: _,
        platform: _,
        health: _,
        stop_signal: _,
        stop_grace: _,
        resources,
        read_only,
        init: _,
        tty,
        stdin: _,
        security,
    } = plan;
    let has_own_network = !matches!(network, PlanNetwork::Host);
    let mut root = Root::default();
    root.set_readonly(Some(*read_only));
    let mut process = process(operation, command, security, resources, host)?;
    process.set_terminal(tty.then_some(true));
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_hostname(Some(if has_own_network { hostname.clone() } else { host.name.clone() }))
        .set_root(Some(root))
        .set_process(Some(process))
        .set_mounts(Some(mounts(plan, paths, host)))
        .set_annotations(None)
        .set_linux(Some(linux(plan, paths, host)));
    Ok(spec)
}

fn process(
    operation: &'static str,
    command: &Command,
    security: &Security,
    resources: &Resources,
    host: &Host,
) -> Result<Process> {
    let mut process = Process::default();
    process
        .set_args(Some(command.arguments()))
        .set_env(Some(command.env.iter().map(|(name, value)| format!("{name}={value}")).collect()))
        .set_cwd(PathBuf::from(&command.workdir))
        .set_capabilities(Some(capabilities(operation, security, host)?))
        .set_rlimits(Some(rlimits(operation, &resources.ulimits, host)?))
        .set_no_new_privileges(Some(security.no_new_privileges && !security.privileged))
        .set_apparmor_profile(host.apparmor.clone().filter(|_| !security.privileged));
    Ok(process)
}

/// None is inheritable or ambient: a program of another user gets none.
fn capabilities(operation: &'static str, security: &Security, host: &Host) -> Result<LinuxCapabilities> {
    let known = |name: &String| {
        let unknown = |_| Error::new(ErrorKind::Invalid, operation, format!("no capability `{name}`"));
        name.parse().map_err(unknown)
    };
    let all: Capabilities = given(security, host).iter().map(known).collect::<Result<_>>()?;
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(all.clone()))
        .set_effective(Some(all.clone()))
        .set_permitted(Some(all))
        .set_inheritable(None)
        .set_ambient(None);
    Ok(sets)
}

/// The capabilities of a plan, without `CAP_`.
fn given<'a>(security: &'a Security, host: &'a Host) -> &'a [String] {
    if security.privileged { &host.capabilities } else { &security.capabilities }
}

impl Host {
    /// The capabilities of a plan, without `CAP_`.
    pub fn capabilities_of(&self, security: &Security) -> Vec<String> {
        given(security, self).to_vec()
    }
}

/// Lowered to what can be set.
fn rlimits(operation: &'static str, ulimits: &[Ulimit], host: &Host) -> Result<Vec<PosixRlimit>> {
    let one = |limit: &Ulimit| {
        let unknown = |_| Error::new(ErrorKind::Invalid, operation, format!("no rlimit `{}`", limit.name));
        let ceiling = host.rlimit_ceilings.get(&limit.name).copied().unwrap_or(u64::MAX);
        let bounded = |value: i64| u64::try_from(value).unwrap_or(u64::MAX).min(ceiling);
        PosixRlimitBuilder::default()
            .typ(format!("RLIMIT_{}", limit.name.to_uppercase()).parse::<PosixRlimitType>().map_err(unknown)?)
            .soft(bounded(limit.soft))
            .hard(bounded(limit.hard))
            .build()
            .map_err(|error| Error::new(ErrorKind::Internal, operation, error.to_string()))
    };
    ulimits.iter().map(one).collect()
}

fn linux(plan: &Plan, paths: &Paths, host: &Host) -> Linux {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let privileged = plan.security.privileged;
    let own_network = (!matches!(plan.network, PlanNetwork::Host)).then_some(Network);
    let namespaces = [Pid, Ipc, Uts, Mount, Cgroup].into_iter().chain(own_network).map(|kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    });
    let hidden = |paths: &[&str]| if privileged { Vec::new() } else { paths.iter().map(|&path| path.into()).collect() };
    let sysctls = plan.all_sysctls(host.rootless);
    let has_cgroup = !paths.cgroup.as_os_str().is_empty();
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces.collect()))
        .set_cgroups_path(has_cgroup.then(|| paths.cgroup.clone()))
        .set_masked_paths(Some(hidden(&MASKED)))
        .set_readonly_paths(Some(hidden(&READ_ONLY)))
        .set_resources(has_cgroup.then(|| limits(&plan.resources, host, privileged)))
        .set_sysctl(
            Some(sysctls.into_iter().collect()).filter(|all: &std::collections::HashMap<_, _>| !all.is_empty()),
        );
    linux
}

fn limits(resources: &Resources, host: &Host, privileged: bool) -> LinuxResources {
    let mut devices = LinuxDeviceCgroup::default();
    devices.set_allow(privileged).set_access(Some("rwm".to_owned()));
    let mut limits = LinuxResources::default();
    limits.set_devices(Some(vec![devices]));
    if let Some(bytes) = resources.memory {
        let mut memory = LinuxMemory::default();
        // No swap on top.
        memory.set_limit(Some(signed(bytes.0))).set_swap(Some(signed(bytes.0)));
        limits.set_memory(Some(memory));
    }
    if let Some(cpus) = resources.cpus {
        let mut cpu = LinuxCpu::default();
        cpu.set_quota(Some(signed(cpus.0 * CPU_PERIOD / 1000))).set_period(Some(CPU_PERIOD));
        limits.set_cpu(Some(cpu));
    }
    if let Some(most) = resources.pids.or(host.limits_pids.then_some(DEFAULT_PIDS)) {
        let mut pids = LinuxPids::default();
        pids.set_limit(most.into());
        limits.set_pids(Some(pids));
    }
    limits
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

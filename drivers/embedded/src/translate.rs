//! A plan in the words of the OCI runtime specification and of the shim. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hythe_runtime::{ImageConfig, Plan, PlanNetwork, Security};
use hythe_shim::Filter;
use hythe_shim::record::{Launch, LogBounds, Process, TakeUp};
use hythe_spec::{Mount, MountSource, Resources, Ulimit};
use serde_json::{Value, json};

use crate::network_hook::Wanted;

/// Where things are that a launch names.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) id: String,
    /// Told with every event.
    pub(crate) about: Value,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) journal: PathBuf,
    pub(crate) volumes: PathBuf,
    pub(crate) networks: PathBuf,
    pub(crate) hosts: PathBuf,
    pub(crate) resolv: PathBuf,
    pub(crate) hostname: PathBuf,
}

/// What a machine says that the specification needs.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Its host name.
    pub(crate) name: String,
    /// Hard limit of each process limit that cannot be raised here.
    pub(crate) ceilings: BTreeMap<String, u64>,
    /// Every capability there is.
    pub(crate) capabilities: Vec<String>,
    pub(crate) log_segment: u64,
    /// Place of the user namespace that an ordinary user's instances live in; none for root.
    pub(crate) user_namespace: Option<PathBuf>,
    /// There is a program by which the networks of that place lead out.
    pub(crate) outward: bool,
}

/// What the main process will be: the plan over the image.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Command {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) user: Option<String>,
    pub(crate) workdir: String,
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Bytes of `/dev/shm` where a plan does not say.
const SHM: u64 = 64 << 20;
const CPU_PERIOD: u64 = 100_000;
const LOG_SEGMENTS: u64 = 5;

const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the plan says over what the image says.
pub(crate) fn command(plan: &Plan, image: &ImageConfig) -> Command {
    let (entrypoint, command) = match (&plan.entrypoint, &plan.command) {
        (Some(entrypoint), command) => (entrypoint.clone(), command.clone().unwrap_or_default()),
        (None, Some(command)) => (image.entrypoint.clone(), command.clone()),
        (None, None) => (image.entrypoint.clone(), image.command.clone()),
    };
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    if !matches!(plan.network, PlanNetwork::Host) {
        env.insert("HOSTNAME".to_owned(), plan.hostname.clone());
    }
    if plan.tty {
        env.insert("TERM".to_owned(), "xterm".to_owned());
    }
    env.extend(image.env.clone());
    env.extend(plan.env.clone());
    let workdir = plan.workdir.clone().or_else(|| image.workdir.clone()).filter(|path| !path.is_empty());
    Command {
        entrypoint,
        command,
        env,
        user: plan.user.clone().or_else(|| image.user.clone()),
        workdir: workdir.unwrap_or_else(|| "/".to_owned()),
    }
}

/// What the shim is given.
pub(crate) fn launch(
    plan: &Plan,
    command: &Command,
    filters: Vec<Filter>,
    places: &Places,
    machine: &Machine,
) -> Launch {
    let Plan {
        identity: _,
        image: _,
        entrypoint: _,
        command: _,
        env: _,
        labels: _,
        ports,
        mounts,
        user: _,
        workdir: _,
        hostname,
        network,
        dns: _,
        extra_hosts,
        stop_signal: _,
        stop_grace: _,
        resources,
        read_only,
        init,
        tty,
        stdin,
        security,
        outbound: _,
        inbound: _,
    } = plan;
    let take_up = mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => {
            Some(TakeUp { volume: volume_files(&places.volumes, name), target: mount.target.clone() })
        }
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    });
    let attachments = match network {
        PlanNetwork::Bridged { attachments } => attachments.clone(),
        PlanNetwork::None | PlanNetwork::Host => Vec::new(),
    };
    let wanted = Wanted {
        directory: places.networks.clone(),
        hostname: hostname.clone(),
        extra_hosts: extra_hosts.clone(),
        ports: if attachments.is_empty() { Vec::new() } else { ports.clone() },
        attachments,
    };
    Launch {
        id: places.id.clone(),
        about: places.about.clone(),
        layers: places.layers.clone(),
        spec: specification(plan, command, places, machine, resources, *read_only),
        process: Process {
            arguments: command.entrypoint.iter().chain(&command.command).cloned().collect(),
            user: command.user.clone(),
            workdir: command.workdir.clone(),
            capabilities: capabilities(security, machine),
            no_new_privileges: security.no_new_privileges && !security.privileged,
            filters,
            init: *init,
            tty: *tty,
            stdin: *stdin,
        },
        take_up: take_up.collect(),
        own_network: !matches!(network, PlanNetwork::Host),
        user_namespace: machine.user_namespace.clone(),
        network: json!(wanted),
        logs: LogBounds { segment: machine.log_segment, segments: LOG_SEGMENTS },
        journal: places.journal.clone(),
    }
}

/// Files of a named volume.
pub(crate) fn volume_files(volumes: &Path, name: &str) -> PathBuf {
    volumes.join(name).join("data")
}

fn capabilities(security: &Security, machine: &Machine) -> Vec<String> {
    if security.privileged { machine.capabilities.clone() } else { security.capabilities.clone() }
}

fn specification(
    plan: &Plan,
    command: &Command,
    places: &Places,
    machine: &Machine,
    resources: &Resources,
    read_only: bool,
) -> Value {
    let privileged = plan.security.privileged;
    let has_own_network = !matches!(plan.network, PlanNetwork::Host);
    let kinds = ["pid", "ipc", "uts", "mount", "cgroup"].into_iter().chain(has_own_network.then_some("network"));
    let namespaces: Vec<Value> = kinds.map(|kind| json!({ "type": kind })).collect();
    let mut linux = json!({
        "namespaces": namespaces,
        "cgroupsPath": format!("/hythe-{}", places.id),
        "maskedPaths": if privileged { &[][..] } else { &MASKED[..] },
        "readonlyPaths": if privileged { &[][..] } else { &READ_ONLY[..] },
    });
    let is_root = machine.user_namespace.is_none();
    if is_root {
        linux["resources"] = limits(resources, privileged);
    }
    if has_own_network {
        // A container's own network has no unprivileged ports of the host to protect.
        linux["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "0" });
    }
    let env: Vec<String> = command.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "ociVersion": "1.0.2",
        "hostname": if has_own_network { plan.hostname.clone() } else { machine.name.clone() },
        "root": { "readonly": read_only },
        "process": { "env": env, "rlimits": ulimits(&resources.ulimits, machine) },
        "mounts": mounts(plan, places, resources.shm_size.map_or(SHM, |size| size.0), is_root),
        "linux": linux,
    })
}

fn limits(resources: &Resources, privileged: bool) -> Value {
    let mut limits = json!({ "devices": [{ "allow": privileged, "access": "rwm" }] });
    if let Some(memory) = resources.memory {
        limits["memory"] = json!({ "limit": memory.0, "swap": memory.0 });
    }
    if let Some(cpus) = resources.cpus {
        limits["cpu"] = json!({ "quota": cpus.0 * CPU_PERIOD / 1000, "period": CPU_PERIOD });
    }
    if let Some(pids) = resources.pids {
        limits["pids"] = json!({ "limit": pids });
    }
    limits
}

/// Lowered to what the machine lets us have.
fn ulimits(ulimits: &[Ulimit], machine: &Machine) -> Vec<Value> {
    let one = |limit: &Ulimit| {
        let ceiling = machine.ceilings.get(&limit.name).copied().unwrap_or(u64::MAX);
        let bounded = |value: i64| u64::try_from(value).unwrap_or(u64::MAX).min(ceiling);
        let (soft, hard) = (bounded(limit.soft), bounded(limit.hard));
        json!({ "type": format!("RLIMIT_{}", limit.name.to_uppercase()), "soft": soft, "hard": hard })
    };
    ulimits.iter().map(one).collect()
}

fn mounts(plan: &Plan, places: &Places, shm: u64, is_root: bool) -> Vec<Value> {
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": source, "options": options });
    let secure = ["nosuid", "noexec", "nodev"];
    let read_only: &[&str] = if plan.security.privileged { &[] } else { &["ro"] };
    let kernel: Vec<&str> = secure.iter().chain(read_only).copied().collect();
    let size = format!("size={shm}");
    // Only root has a group for terminals, control groups of his own, and a view of the machine's network.
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let sysfs = match plan.network {
        PlanNetwork::Host if !is_root => mount("/sys", "bind", "/sys", &[&kernel[..], &["rbind"]].concat()),
        _ => mount("/sys", "sysfs", "sysfs", &kernel),
    };
    let groups = is_root.then(|| mount("/sys/fs/cgroup", "cgroup", "cgroup", &[&kernel[..], &["relatime"]].concat()));
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &secure),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals[..terminals.len() - usize::from(!is_root)]),
        sysfs,
    ];
    mounts.extend(groups);
    mounts.extend([
        mount("/dev/mqueue", "mqueue", "mqueue", &secure),
        mount("/dev/shm", "tmpfs", "shm", &[&secure[..], &["mode=1777", &size]].concat()),
    ]);
    let mut own: Vec<(String, Value)> = Vec::new();
    let files =
        [("/etc/hosts", &places.hosts), ("/etc/resolv.conf", &places.resolv), ("/etc/hostname", &places.hostname)];
    for (target, source) in files {
        let options = ["bind", "rprivate", "nosuid", "nodev"];
        own.push((target.to_owned(), mount(target, "bind", &source.to_string_lossy(), &options)));
    }
    for one in &plan.mounts {
        own.retain(|(target, _)| *target != one.target);
        own.push((one.target.clone(), of_plan(one, places)));
    }
    // What is above comes before what is below it.
    own.sort_by(|(one, _), (other, _)| one.split('/').count().cmp(&other.split('/').count()).then(one.cmp(other)));
    mounts.extend(own.into_iter().map(|(_, mount)| mount));
    mounts
}

fn of_plan(mount: &Mount, places: &Places) -> Value {
    let Mount { target, source, read_only } = mount;
    let mut options: Vec<String> = Vec::new();
    let (kind, source) = match source {
        MountSource::Volume { name, external: _ } => {
            options.extend(["rbind", "rprivate", "nosuid", "nodev"].map(str::to_owned));
            ("bind", volume_files(&places.volumes, name).to_string_lossy().into_owned())
        }
        // Relabelling is for machines with SELinux, which libcontainer does not know.
        MountSource::Bind { path, propagation, selinux: _ } => {
            options.extend(["rbind".to_owned(), propagation.clone().unwrap_or_else(|| "rprivate".to_owned())]);
            ("bind", path.clone())
        }
        MountSource::Tmpfs { size, mode } => {
            options.extend(["nosuid", "nodev", "noexec"].map(str::to_owned));
            options.extend(size.map(|size| format!("size={}", size.0)));
            options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            ("tmpfs", "tmpfs".to_owned())
        }
    };
    if *read_only {
        options.push("ro".to_owned());
    }
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

#[cfg(test)]
#[path = "translate_tests.rs"]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

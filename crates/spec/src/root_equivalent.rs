//! What a component may ask for that equals root on the host: whoever has it can become the host's root, whatever else holds it.
//!
//! Pure: the host's files are known by [`Host`] alone. The agent accepts such a component only with `allow_privileged`.

use crate::{Component, Device, Mount, MountSource, Seccomp};

/// What has to be known of the host to judge a component.
pub struct Host<'a> {
    /// Directories and sockets of the agent itself, absolute.
    pub own: &'a [String],
    /// The path with every link in it followed; the path itself where that is not known.
    pub resolve: &'a dyn Fn(&str) -> String,
    /// Every device in a directory and below it, by path; `None`: it is no directory, or not all of it is known.
    pub devices: &'a dyn Fn(&str) -> Option<Vec<String>>,
    /// Whether the seccomp profile in this file allows what it does not name; true where that is not known.
    pub allows_by_default: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("own", &self.own).finish_non_exhaustive()
    }
}

/// One thing that equals root on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The field of the component that asks for it, and what it asks for: `permissions.cap_add (SYS_ADMIN)`.
    pub field: String,
    /// Why it equals root.
    pub reason: &'static str,
}

/// Capabilities that lead out of a container, without help of another namespace of the host.
///
/// Not here: `SYS_PTRACE` and `KILL` end at the container's own processes, `NET_ADMIN` and `NET_RAW` at its network, `MKNOD` at the
/// device filter. Nor is a tmpfs with `dev` such a thing: `/dev` of every workload is one, and the filter decides what opens.
pub const CAPABILITIES: [(&str, &str); 9] = [
    ("SYS_ADMIN", "mounts the host's disks, among much else"),
    ("SYS_MODULE", "loads code into the kernel"),
    ("SYS_RAWIO", "reaches the host's memory and disks directly"),
    ("SYS_BOOT", "loads another kernel"),
    ("DAC_READ_SEARCH", "opens any file of a mounted file system by its handle"),
    ("BPF", "runs programs in the kernel"),
    ("PERFMON", "reads the kernel's memory"),
    ("MAC_ADMIN", "changes what AppArmor or SELinux enforce on the host"),
    ("MAC_OVERRIDE", "is above what AppArmor or SELinux enforce on the host"),
];

/// Which binds of a host path equal root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Writable ones, of the path, of anything below it, or of a directory above it.
    Below,
    /// Writable ones of the path itself or of a directory above it.
    Itself,
    /// All of them, read-only ones too: writing to a socket or a device is no writing to its file system.
    Any,
}

/// Host paths. `/` and other directories above a path contain it.
pub const PATHS: [(&str, Reach, &str); 38] = [
    ("/etc", Reach::Below, "accounts, passwords and what starts at boot"),
    ("/root", Reach::Below, "programs that root runs at log-in, and its keys"),
    ("/boot", Reach::Below, "the kernel that starts next"),
    ("/usr", Reach::Below, PROGRAMS),
    ("/bin", Reach::Below, PROGRAMS),
    ("/sbin", Reach::Below, PROGRAMS),
    ("/lib", Reach::Below, PROGRAMS),
    ("/lib32", Reach::Below, PROGRAMS),
    ("/lib64", Reach::Below, PROGRAMS),
    ("/libx32", Reach::Below, PROGRAMS),
    ("/proc", Reach::Below, KERNEL),
    ("/sys", Reach::Below, KERNEL),
    ("/dev", Reach::Any, "the host's disks and memory"),
    ("/home", Reach::Itself, "programs that every user runs at log-in, and their keys"),
    ("/var/spool", Reach::Below, "commands that run at given times"),
    ("/var/lib", Reach::Itself, "state of engines and package managers"),
    ("/var/lib/containerd", Reach::Below, ENGINE_DATA),
    ("/var/lib/containers", Reach::Below, ENGINE_DATA),
    ("/var/lib/docker", Reach::Below, ENGINE_DATA),
    ("/var/lib/kubelet", Reach::Below, ENGINE_DATA),
    ("/var/lib/hythe", Reach::Any, OWN),
    ("/var/lib/dpkg", Reach::Below, "scripts of packages, which root runs"),
    ("/var/lib/rpm", Reach::Below, "scripts of packages, which root runs"),
    ("/var/lib/systemd", Reach::Below, "state of the service manager"),
    ("/var/lib/cloud", Reach::Below, "scripts that run at boot"),
    ("/var/lib/libvirt", Reach::Below, ENGINE_DATA),
    ("/run/containerd", Reach::Any, ENGINE),
    ("/run/crio", Reach::Any, ENGINE),
    ("/run/docker", Reach::Any, ENGINE),
    ("/run/docker.sock", Reach::Any, ENGINE),
    ("/run/podman", Reach::Any, ENGINE),
    ("/run/libvirt", Reach::Any, ENGINE),
    ("/run/user", Reach::Itself, "sockets of every user's services"),
    ("/run/hythe", Reach::Any, OWN),
    ("/run/systemd", Reach::Any, "the socket of the service manager"),
    ("/run/dbus", Reach::Any, "the bus that commands the service manager"),
    ("/run/udev", Reach::Below, "programs that run when a device appears"),
    ("/snap", Reach::Below, PROGRAMS),
];

const PROGRAMS: &str = "programs and libraries that root runs";
const KERNEL: &str = "settings of the running kernel";
const ENGINE: &str = "the socket of an engine, which starts anything as root";
const ENGINE_DATA: &str = "the files of every container";
const OWN: &str = "the agent's own socket and files";
/// What sockets of engines are called, wherever they lie.
const SOCKETS: [&str; 4] = ["docker.sock", "podman.sock", "containerd.sock", "crio.sock"];
/// Devices that give nothing of the host.
const HARMLESS: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/log",
    "/dev/shm",
    "/dev/net/tun",
];

/// Devices that lead a granted component no further than itself: virtual machines, file systems and interfaces of its own.
pub const DEVICES: [&str; 3] = ["/dev/fuse", "/dev/kvm", "/dev/net/tun"];

/// Everything in the component that equals root on the host; empty for what any user of the agent may deploy.
pub fn grants(component: &Component, host: &Host<'_>) -> Vec<Grant> {
    let permissions = &component.permissions;
    let mut grants = Vec::new();
    if permissions.privileged {
        grants.push(Grant { field: "permissions.privileged".to_owned(), reason: "gives full access to the host" });
    }
    for (name, reason) in CAPABILITIES.into_iter().filter(|_| !permissions.privileged) {
        if permissions.capabilities.iter().any(|kept| kept == name) {
            grants.push(Grant { field: format!("permissions.cap_add ({name})"), reason });
        }
    }
    grants.extend(filter(&permissions.seccomp, host));
    grants.extend(component.mounts.iter().filter_map(|mount| bind("volumes", mount, host)));
    grants.extend(permissions.mounts.iter().filter_map(|mount| bind("permissions", mount, host)));
    grants.extend(component.devices.iter().filter_map(|device| self::device(device, host)));
    grants
}

fn filter(seccomp: &Seccomp, host: &Host<'_>) -> Option<Grant> {
    let (what, reason) = match seccomp {
        Seccomp::Unconfined => ("unconfined".to_owned(), "opens every system call of the kernel"),
        Seccomp::File(path) if (host.allows_by_default)(path) => {
            (path.clone(), "the filter allows every system call that it does not name")
        }
        Seccomp::Default | Seccomp::File(_) => return None,
    };
    Some(Grant { field: format!("permissions.seccomp ({what})"), reason })
}

/// What is not known to be harmless may be anything.
fn device(device: &Device, host: &Host<'_>) -> Option<Grant> {
    let reason = match device {
        Device::Path { path, .. } => {
            let resolved = (host.resolve)(path);
            let is_known = |path: &str| DEVICES.contains(&path) || HARMLESS.contains(&path);
            if is_known(path) && is_known(&resolved) {
                return None;
            }
            // A directory is no more than what is in it.
            let inside = (host.devices)(&resolved).unwrap_or_default();
            if !inside.is_empty() && inside.iter().all(|path| is_known(path)) {
                return None;
            }
            "a device that is not known to be harmless may reach the host's disks, memory or kernel"
        }
        Device::Cdi { .. } => "a CDI name stands for devices, mounts and programs of the host",
    };
    Some(Grant { field: format!("devices ({device})"), reason })
}

fn bind(list: &str, mount: &Mount, host: &Host<'_>) -> Option<Grant> {
    let MountSource::Bind { path, .. } = &mount.source else { return None };
    let resolved = (host.resolve)(path);
    let reason =
        [path.as_str(), resolved.as_str()].into_iter().find_map(|path| reason(path, mount.read_only, host.own))?;
    Some(Grant { field: format!("{list} ({path})"), reason })
}

fn reason(path: &str, read_only: bool, own: &[String]) -> Option<&'static str> {
    // The older name of the same directory.
    let moved = path.strip_prefix("/var/run").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = moved.map_or(path.to_owned(), |rest| format!("/run{rest}"));
    if HARMLESS.iter().any(|harmless| contains(harmless, &path)) {
        return None;
    }
    if own.iter().any(|own| contains(own, &path) || contains(&path, own)) {
        return Some(OWN);
    }
    if SOCKETS.iter().any(|name| path.rsplit('/').next() == Some(name)) {
        return Some(ENGINE);
    }
    let known = PATHS.into_iter().find(|(known, reach, _)| {
        let concerns = contains(&path, known) || *reach != Reach::Itself && contains(known, &path);
        concerns && (!read_only || *reach == Reach::Any)
    });
    known.map(|(_, _, reason)| reason)
}

/// Whether the path is the directory or lies below it.
fn contains(directory: &str, path: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

//! What this machine can do, found once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_oci::{Options, Registry, RegistryConfig, Store, auth::Files};
use hythe_runtime::{Capability, Error, ErrorKind, Feature, Result, RuntimeInfo};
use hythe_shim::outward;
use hythe_spec::RuntimeKind;
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;
use rustix::thread::{CapabilitySet, capabilities};

use crate::core::Core;
use crate::driver::Embedded;
use crate::errand::{self, Change};
use crate::error::{Doing, blocking, of_fault, of_store};
use crate::hands::{self, Settled};
use crate::instances::Instances;
use crate::network::{self, Networks};
use crate::translate::Machine;
use crate::{Config, NetworkBy};

const OPERATION: &str = "connect";
/// What runs, whatever an upgrade has put at its path meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Opens the embedded runtime below the configured root.
///
/// # Errors
/// `Unavailable` where this machine or this user cannot run containers, with the reason.
pub async fn connect(config: Config) -> Result<Embedded> {
    blocking(OPERATION, move || open(config)).await
}

fn open(config: Config) -> Result<Embedded> {
    let root = config.root.clone();
    nobody_is_lost(&root)?;
    fs::create_dir_all(&root).doing(OPERATION, format_args!("make `{}`", root.display()))?;
    let root = fs::canonicalize(&root).doing(OPERATION, format_args!("find `{}`", root.display()))?;
    // Environments hold secrets, and layers programs that gain rights.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).doing(OPERATION, "close the root to others")?;
    let shim = config.shim.clone().unwrap_or_else(|| PathBuf::from(THIS_PROGRAM));
    let user_namespace = (!rustix::process::geteuid().is_root()).then(|| root.join("user"));
    let mut owners = Settled::default();
    let outward = user_namespace.as_deref().map(outward).transpose()?.unwrap_or(false);
    let bridges = match &user_namespace {
        None => stacks(&root, false).and_then(|()| bridges(&config))?,
        Some(_) if config.network == NetworkBy::Cni => {
            let message = "networks by CNI are unavailable because its plugins have to run as root";
            let error = Error::new(ErrorKind::Unavailable, OPERATION, message);
            return Err(error.hint("run the agent as root, or use `network = \"native\"`"));
        }
        Some(place) => {
            owners = hands::settle(&root, &shim, place).map_err(impossible)?;
            errand::stack(&shim, place, &root).map_err(impossible)?;
            errand::bridge(&shim, place)
        }
    };
    let mut networks = bridges.is_ok().then(|| Networks::open(&root.join("networks"))).transpose()?;
    if config.network == NetworkBy::Cni {
        let plugins = std::path::absolute(&config.cni_path).doing(OPERATION, "find the CNI plugins")?;
        networks = networks.map(|networks| networks.by_plugins(plugins)).transpose()?;
    }
    let registry = Registry::new(RegistryConfig {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        auth: Files::from_env(&|name| std::env::var(name).ok()),
        ..RegistryConfig::default()
    });
    let (capability, mut warnings) = capability(&config, bridges.err(), user_namespace.is_some());
    if user_namespace.is_some() && owners.hands.is_none() {
        warnings.push(owners.warning.unwrap_or_else(|| ONE_OWNER.to_owned()));
    }
    let hands = owners.hands;
    let options = Options { hands: hands.clone(), ..Options::default() };
    let core = Core {
        info: RuntimeInfo {
            name: config.name.clone(),
            kind: RuntimeKind::Embedded,
            endpoint: root.display().to_string(),
            engine: "hythe".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // One root is one runtime, by whatever names it is configured.
            engine_id: Some(format!("{}:{}", uname().nodename().to_string_lossy(), root.display())),
            rootless: user_namespace.is_some(),
        },
        capability,
        warnings,
        instances: Instances::open(&root, hands.as_deref())?,
        store: Store::open_with(&root.join("images"), options).map_err(of_store(OPERATION))?,
        registry: registry.map_err(of_store(OPERATION))?,
        networks,
        machine: machine(config.log_max_size.0, user_namespace, outward),
        hands,
        shim,
        root,
    };
    sweep_builds(&core)?;
    reclaim(&core)?;
    Ok(Embedded { core: Arc::new(core) })
}

/// Whether there is a program by which an ordinary user's networks lead out, which whoever makes their namespaces is told of.
fn outward(place: &Path) -> Result<bool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    outward::choose(place, &path).map_err(|fault| of_fault(OPERATION, &fault))
}

/// Why there are no bridge networks, or that there are. An operator who wants plugins is not served without them.
fn bridges(config: &Config) -> Result<Result<()>> {
    match config.network {
        NetworkBy::Native => Ok(network::supported()),
        NetworkBy::Cni => network::plugins_supported(&config.cni_path).map(Ok).map_err(impossible),
    }
}

/// A root that is not there is made, unless supervisors of its instances live: then it is only away, as the disk that it is on, and what would be made in
/// its place would run beside what is there.
fn nobody_is_lost(root: &Path) -> Result<()> {
    let instances = root.join("instances");
    if instances.exists() {
        return Ok(());
    }
    let parent = root.parent().and_then(|parent| fs::canonicalize(parent).ok());
    let known = match (parent, root.file_name()) {
        (Some(parent), Some(name)) => parent.join(name).join("instances"),
        _ => instances,
    };
    let processes = fs::read_dir("/proc").doing(OPERATION, "list processes")?.flatten();
    let supervises = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.get(1) == Some(&&b"shim"[..])
            && words.get(3).is_some_and(|path| Path::new(std::ffi::OsStr::from_bytes(path)).starts_with(&known))
    };
    let living = processes.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| supervises(&line)));
    match living.count() {
        0 => Ok(()),
        count => {
            let message = format!("`{}` is not there, and {count} supervisors of its instances run", root.display());
            Err(Error::new(ErrorKind::Unavailable, OPERATION, message)
                .hint("bring back the disk or directory that held it, or end those processes"))
        }
    }
}

/// Why an ordinary user can have no containers here.
fn impossible(error: Error) -> Error {
    let told = Error::new(ErrorKind::Unavailable, OPERATION, error.message());
    let usual = match error.kind() {
        ErrorKind::Unauthorized => {
            "list the ids that files here belong to in `/etc/subuid` and `/etc/subgid` again, or use another `root`"
        }
        _ => "run the agent as root, or let ordinary users make user namespaces",
    };
    told.hint(error.next_step().unwrap_or(usual)).source(error)
}

/// Instances of builds that nobody finished.
fn sweep_builds(core: &Core) -> Result<()> {
    let old = Timestamp::now() - SignedDuration::from_hours(1);
    for record in core.instances.all(OPERATION)? {
        let is_build = record.name.starts_with(crate::build::PREFIX) && record.identity().is_none();
        let is_idle = core.instances.directory(&record.id).shim().doing(OPERATION, "look for a supervisor")?.is_none();
        if is_build && is_idle && record.created < old {
            crate::lifecycle::remove(core, OPERATION, &record)?;
        }
    }
    Ok(())
}

/// Addresses and links of instances that are gone.
fn reclaim(core: &Core) -> Result<()> {
    if core.networks.is_none() {
        return Ok(());
    }
    let _turn = core.instances.turn(OPERATION)?;
    let records = core.instances.all(OPERATION)?;
    core.change_networks(OPERATION, Change::Reclaim(records.into_iter().map(|record| record.id).collect()))
}

/// Whether overlayfs works on the root's file system, tried where nobody sees it.
pub(crate) fn stacks(root: &Path, in_user_namespace: bool) -> Result<()> {
    let trial =
        tempfile::Builder::new().prefix("trial-").tempdir_in(root).doing(OPERATION, "make a trial directory")?;
    for name in ["lower", "upper", "work", "root"] {
        fs::create_dir(trial.path().join(name)).doing(OPERATION, "make a trial directory")?;
    }
    let at = trial.path().to_owned();
    let tried = std::thread::spawn(move || {
        use nix::sched::{CloneFlags, unshare};
        use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
        std::env::set_current_dir(&at)?;
        let options = if in_user_namespace {
            c"userxattr,lowerdir=lower,upperdir=upper,workdir=work"
        } else {
            c"lowerdir=lower,upperdir=upper,workdir=work"
        };
        mount("overlay", "root", "overlay", MountFlags::empty(), Some(options))?;
        unmount("root", UnmountFlags::DETACH)?;
        std::io::Result::Ok(())
    });
    let outcome = tried.join().unwrap_or_else(|_| Err(std::io::Error::other("the trial died")));
    // Overlayfs leaves a directory that is closed to an ordinary user.
    hythe_oci::remove_tree(trial.path()).doing(OPERATION, "remove the trial directory")?;
    outcome.map_err(|error| {
        let message = format!("layers cannot be stacked with overlayfs at `{}`: {error}", root.display());
        Error::new(ErrorKind::Unavailable, OPERATION, message)
            .hint("load the `overlay` module, or set `root` to a directory on ext4, xfs or tmpfs")
            .source(error)
    })
}

fn machine(log_segment: u64, user_namespace: Option<PathBuf>, outward: bool) -> Machine {
    let resources = [
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];
    let had = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let raises = had.contains(CapabilitySet::SYS_RESOURCE);
    let ceiling = |(name, resource): (&str, Resource)| {
        getrlimit(resource).maximum.filter(|_| !raises).map(|most| (name.to_owned(), most))
    };
    let ceilings: BTreeMap<String, u64> = resources.into_iter().filter_map(ceiling).collect();
    let capabilities = had.iter_names().map(|(name, _)| name.to_owned()).collect();
    let name = uname().nodename().to_string_lossy().into_owned();
    Machine { name, ceilings, capabilities, log_segment, user_namespace, outward }
}

const NO_GROUPS: &str =
    "an ordinary user has no control groups here; run the agent as root, or use rootless podman with cgroup v2";

/// What an ordinary user cannot have.
const WITHOUT_ROOT: [(Feature, &str); 5] = [
    (Feature::MemoryLimit, NO_GROUPS),
    (Feature::CpuLimit, NO_GROUPS),
    (Feature::PidsLimit, NO_GROUPS),
    (Feature::HostGateway, "an ordinary user's networks have no address for the host; use `network = \"host\"`"),
    (Feature::Privileged, "an ordinary user has no privileges to give; run the agent as root"),
];

/// Where the user has no other ids.
const ONE_OWNER: &str = "as an ordinary user: all files of images and volumes belong to this user; with `newuidmap` and ranges for it in `/etc/subuid` and `/etc/subgid` a new root keeps their owners";

/// What is different for an ordinary user and asked for by no field.
const ROOTLESS: [&str; 2] = [
    "as an ordinary user: resources are neither limited nor measured",
    "as an ordinary user: nothing is held still while a snapshot of it is made",
];

fn capability(config: &Config, no_bridges: Option<Error>, rootless: bool) -> (Capability, Vec<String>) {
    let mut missing: Vec<(Feature, String)> = vec![
        (Feature::PublishSctp, "published ports are relayed, and SCTP is not".to_owned()),
        (Feature::EgressAllowList, "connections are not filtered by host name; not built yet".to_owned()),
        (Feature::IngressAllowList, "connections are not filtered by host name; not built yet".to_owned()),
    ];
    if !config.allow_privileged && !rootless {
        let reason = "not allowed in the agent's configuration (`allow_privileged`)".to_owned();
        missing.push((Feature::Privileged, reason));
    }
    let mut warnings = Vec::new();
    if let Some(error) = no_bridges {
        let needed = [
            Feature::BridgeNetwork,
            Feature::IsolatedNetworks,
            Feature::PublishTcp,
            Feature::PublishUdp,
            Feature::PublishIpv6,
            Feature::HostGateway,
        ];
        missing.extend(needed.map(|feature| (feature, error.message().to_owned())));
        warnings.push(error.message().to_owned());
    }
    if rootless {
        missing.extend(WITHOUT_ROOT.map(|(feature, reason)| (feature, reason.to_owned())));
        warnings.extend(ROOTLESS.map(str::to_owned));
    }
    for (feature, controller) in
        [(Feature::MemoryLimit, "memory"), (Feature::CpuLimit, "cpu"), (Feature::PidsLimit, "pids")]
    {
        if !rootless && !has_controller(controller) {
            let reason = format!("this machine has no cgroup controller `{controller}`");
            warnings.push(format!("{}: {reason}", feature.describe()));
            missing.push((feature, reason));
        }
    }
    let capability = Capability::of(Feature::ALL);
    (missing.into_iter().fold(capability, |all, (feature, reason)| all.without(feature, reason)), warnings)
}

fn has_controller(name: &str) -> bool {
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_one = |line: &str| {
        line.split_once(" - cgroup ").is_some_and(|(_, rest)| rest.split([' ', ',']).any(|option| option == name))
    };
    unified.split_whitespace().any(|controller| controller == name) || mounts.lines().any(is_one)
}

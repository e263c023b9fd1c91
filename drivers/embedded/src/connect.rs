//! What this machine can do, found once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hythe_network::Networks;
use hythe_oci::{Options, Registry, RegistryConfig, Store, auth::Files};
use hythe_oci_spec::Host;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, Feature, Result, RuntimeInfo};
use hythe_shim::{AppArmor, rootless_net};
use hythe_spec::RuntimeKind;
use jiff::SignedDuration;
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;
use rustix::thread::{CapabilitySet, capabilities};

use crate::capability::{Groups, NO_APPARMOR, NO_GROUPS_TO_GIVE, ONE_OWNER, capability};
use crate::context::Context;
use crate::driver::Embedded;
use crate::error::{IoContext, from_shim, of_store};
use crate::idmap::{self, FileOwners};
use crate::instances::Instances;
use crate::translate::HostFacts;
use crate::userns_exec::{self, Change};
use crate::{Config, NetworkBy};
use hythe_local::program::Program;

const OPERATION: &str = "connect";

/// Opens the embedded runtime below the configured root.
///
/// # Errors
/// `Unavailable` where this machine or this user cannot run containers, with the reason.
pub async fn connect(config: Config) -> Result<Embedded> {
    run_blocking(OPERATION, move || open(config)).await
}

fn open(config: Config) -> Result<Embedded> {
    let root = config.root.clone();
    nobody_is_lost(&root)?;
    fs::create_dir_all(&root).context(OPERATION, format_args!("make `{}`", root.display()))?;
    let root = fs::canonicalize(&root).context(OPERATION, format_args!("find `{}`", root.display()))?;
    // Environments hold secrets, and layers programs that gain rights.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).context(OPERATION, "close the root to others")?;
    let (shim, as_it_is) = Program::choose(config.shim.clone());
    let user_namespace = (!rustix::process::geteuid().is_root()).then(|| root.join("user"));
    let mut owners = FileOwners::default();
    let outward = user_namespace.as_deref().map(outward).transpose()?.unwrap_or(false);
    let bridges = match &user_namespace {
        None => stacks(&root, false).and_then(|()| bridges(&config))?,
        Some(_) if config.network == NetworkBy::Cni => {
            let message = "networks by CNI are unavailable because its plugins have to run as root";
            let error = Error::new(ErrorKind::Unavailable, OPERATION, message);
            return Err(error.hint("run the agent as root, or use `network = \"native\"`"));
        }
        Some(place) => {
            owners = idmap::adopt_mapping(&root, &shim, place).map_err(impossible)?;
            userns_exec::stack(&shim, place, &root).map_err(impossible)?;
            userns_exec::bridge(&shim, place)
        }
    };
    let mut networks = bridges.is_ok().then(|| Networks::open(&root.join("networks"))).transpose()?;
    if config.network == NetworkBy::Cni {
        let plugins = std::path::absolute(&config.cni_path).context(OPERATION, "find the CNI plugins")?;
        networks = networks.map(|networks| networks.by_plugins(plugins)).transpose()?;
    }
    let registry = Registry::new(RegistryConfig {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        auth: Files::from_env(&|name| std::env::var(name).ok()),
        ..RegistryConfig::default()
    });
    let rootless = user_namespace.is_some();
    let groups = Groups::found(rootless).context(OPERATION, "look for cgroups")?;
    let (mut capability, mut warnings) = capability(&config, bridges.err(), rootless, &groups);
    warnings.extend(as_it_is);
    if user_namespace.is_some() && owners.userns_fs.is_none() {
        capability = capability.without(Feature::GroupAdd, NO_GROUPS_TO_GIVE);
        warnings.push(owners.warning.unwrap_or_else(|| ONE_OWNER.to_owned()));
    }
    if user_namespace.is_none()
        && let Some(reason) = hythe_shim::missing_device_filter()
    {
        warnings.push(format!("{reason}; only privileged components are started"));
    }
    if AppArmor::of_host() == AppArmor::NoProfile {
        warnings.push(NO_APPARMOR.to_owned());
    }
    let userns_fs = owners.userns_fs;
    let options = Options { hands: userns_fs.clone(), ..Options::default() };
    let context = Context {
        info: RuntimeInfo {
            name: config.name.clone(),
            kind: RuntimeKind::Embedded,
            endpoint: root.display().to_string(),
            engine: "hythe".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // One root is one runtime, by whatever names it is configured.
            engine_id: Some(format!("{}:{}", uname().nodename().to_string_lossy(), root.display())),
            rootless,
        },
        capability,
        warnings,
        instances: Instances::open(&root, userns_fs.as_deref())?,
        store: Store::open_with(&root.join("images"), options).map_err(of_store(OPERATION))?,
        registry: registry.map_err(of_store(OPERATION))?,
        networks,
        host: host_facts(config.log_max_size.0, user_namespace, &groups, outward),
        userns_fs,
        shim,
        root,
    };
    sweep_builds(&context)?;
    reclaim(&context)?;
    crate::build::sweep_networks(&context, OPERATION)?;
    Ok(Embedded { context: Arc::new(context) })
}

/// Whether there is a program by which an unprivileged user's networks lead out, which whoever makes their namespaces is told of.
fn outward(place: &Path) -> Result<bool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    rootless_net::choose(place, &path).map_err(|fault| from_shim(OPERATION, &fault))
}

/// Why there are no bridge networks, or that there are. An operator who wants plugins is not served without them.
fn bridges(config: &Config) -> Result<Result<()>> {
    match config.network {
        NetworkBy::Native => Ok(hythe_network::supported()),
        NetworkBy::Cni => hythe_network::plugins_supported(&config.cni_path).map(Ok).map_err(impossible),
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
    let processes = fs::read_dir("/proc").context(OPERATION, "list processes")?.flatten();
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
                .hint("restore its disk or directory, or end those processes"))
        }
    }
}

/// Why an unprivileged user can have no containers here.
fn impossible(error: Error) -> Error {
    let told = Error::new(ErrorKind::Unavailable, OPERATION, error.message());
    let usual = match error.kind() {
        ErrorKind::Unauthorized => {
            "list the ids that files here belong to in `/etc/subuid` and `/etc/subgid` again, or use another `root`"
        }
        _ => "run the agent as root, or allow unprivileged user namespaces",
    };
    told.hint(error.next_step().unwrap_or(usual)).source(error)
}

/// Instances of builds that nobody finished.
fn sweep_builds(context: &Context) -> Result<()> {
    let old = hythe_runtime::Clock::system().now() - SignedDuration::from_hours(1);
    for record in context.instances.all(OPERATION)? {
        let is_build = record.name.starts_with(crate::build::PREFIX) && record.identity().is_none();
        let is_idle =
            context.instances.directory(&record.id).shim().context(OPERATION, "look for a supervisor")?.is_none();
        if is_build && is_idle && record.created < old {
            crate::lifecycle::remove(context, OPERATION, &record)?;
        }
    }
    Ok(())
}

/// Addresses and links of instances that are gone.
fn reclaim(context: &Context) -> Result<()> {
    if context.networks.is_none() {
        return Ok(());
    }
    let _lock = context.instances.lock(OPERATION)?;
    let records = context.instances.all(OPERATION)?;
    context.change_networks(OPERATION, Change::Reclaim(records.into_iter().map(|record| record.id).collect()))
}

/// Whether overlayfs works on the root's file system, tried where nobody sees it.
pub(crate) fn stacks(root: &Path, in_user_namespace: bool) -> Result<()> {
    let trial =
        tempfile::Builder::new().prefix("trial-").tempdir_in(root).context(OPERATION, "make a trial directory")?;
    for name in ["lower", "upper", "work", "root"] {
        fs::create_dir(trial.path().join(name)).context(OPERATION, "make a trial directory")?;
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
    // Overlayfs leaves a directory that is closed to an unprivileged user.
    hythe_oci::remove_tree(trial.path()).context(OPERATION, "remove the trial directory")?;
    outcome.map_err(|error| {
        let message = format!("layers cannot be stacked with overlayfs at `{}`: {error}", root.display());
        Error::new(ErrorKind::Unavailable, OPERATION, message)
            .hint("load the `overlay` module, or set `root` to a directory on ext4, xfs or tmpfs")
            .source(error)
    })
}

fn host_facts(log_segment: u64, user_namespace: Option<PathBuf>, groups: &Groups, outward: bool) -> HostFacts {
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
    let rlimit_ceilings: BTreeMap<String, u64> = resources.into_iter().filter_map(ceiling).collect();
    let capabilities = had.iter_names().map(|(name, _)| name.to_owned()).collect();
    let name = uname().nodename().to_string_lossy().into_owned();
    let limits_pids = groups.limit_pids();
    let apparmor = match AppArmor::of_host() {
        AppArmor::Profile(name) => Some(name).filter(|_| user_namespace.is_none()),
        AppArmor::Absent | AppArmor::NoProfile => None,
    };
    let rootless = user_namespace.is_some();
    let spec = Host { name, rlimit_ceilings, capabilities, apparmor, limits_pids, rootless };
    HostFacts { spec, log_segment, user_namespace, cgroups: groups.above(), outward }
}

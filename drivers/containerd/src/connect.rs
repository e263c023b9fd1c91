//! What this machine and this containerd can do, found once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use hythe_local::IoContext;
use hythe_network::Networks;
use hythe_oci::{Registry, RegistryConfig, auth::Files};
use hythe_oci_spec::Host;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, Result, RuntimeInfo};
use hythe_shim::AppArmor;
use hythe_spec::RuntimeKind;
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;
use rustix::thread::{CapabilitySet, capabilities};

use crate::Config;
use crate::api_types::{Empty, ServerResponse, VersionResponse};
use crate::capability::capability;
use crate::client::Client;
use crate::context::Context;
use crate::driver::Containerd;
use crate::error::of_store;
use crate::{init, sweep};

const OPERATION: &str = "connect";

/// Connects to containerd.
///
/// # Errors
/// `Unavailable` where it does not answer, or where this user is not root.
pub async fn connect(config: Config) -> Result<Containerd> {
    let client = Client::new(&config.socket, &config.namespace);
    let version = version(&client, OPERATION).await?;
    let server: ServerResponse = client.call(OPERATION, "introspection.v1.Introspection/Server", &Empty {}).await?;
    if !rustix::process::geteuid().is_root() {
        let message = "the files of containers of containerd belong to root, and the agent does not run as root";
        return Err(Error::new(ErrorKind::Unavailable, OPERATION, message)
            .hint("run the agent as root, or use a rootless runtime"));
    }
    let root = config.root.clone();
    let instances = root.join("instances");
    fs::create_dir_all(&instances).context(OPERATION, format_args!("make `{}`", instances.display()))?;
    let root = fs::canonicalize(&root).context(OPERATION, format_args!("find `{}`", root.display()))?;
    // Environments hold secrets.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).context(OPERATION, "close the root to others")?;
    let registry = Registry::new(RegistryConfig {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        auth: Files::from_env(&|name| std::env::var(name).ok()),
        ..RegistryConfig::default()
    });
    let bridges = run_blocking(OPERATION, || Ok(hythe_network::supported())).await?;
    let networks = bridges.is_ok().then(|| Networks::open(&root.join("networks"))).transpose()?;
    let init = config.init.clone().or_else(init::find);
    let (capability, warnings) = capability(&config, bridges.err(), init.is_some());
    let info = RuntimeInfo {
        name: config.name.clone(),
        kind: RuntimeKind::Containerd,
        endpoint: config.socket.display().to_string(),
        engine: "containerd".to_owned(),
        version,
        // One namespace of one daemon is one runtime.
        engine_id: Some(format!("{}:{}", server.uuid, config.namespace)),
        rootless: false,
    };
    let registry = registry.map_err(of_store(OPERATION))?;
    let hub = tokio::sync::Mutex::default();
    let host = host();
    let context = Context { hub, info, capability, warnings, config, root, client, registry, host, init, networks };
    let context = Arc::new(context);
    sweep::sweep(&context).await?;
    Ok(Containerd { context })
}

/// What the daemon says it is.
pub(crate) async fn version(client: &Client, operation: &'static str) -> Result<String> {
    let answer: VersionResponse = client.call(operation, "version.v1.Version/Version", &Empty {}).await?;
    Ok(answer.version)
}

fn host() -> Host {
    let had = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let raises = had.contains(CapabilitySet::SYS_RESOURCE);
    let resources = [
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("memlock", Resource::Memlock),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rtprio", Resource::Rtprio),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ];
    let ceiling = |(name, resource): (&str, Resource)| {
        getrlimit(resource).maximum.filter(|_| !raises).map(|most| (name.to_owned(), most))
    };
    let rlimit_ceilings: BTreeMap<String, u64> = resources.into_iter().filter_map(ceiling).collect();
    let apparmor = match AppArmor::of_host() {
        AppArmor::Profile(name) => Some(name),
        AppArmor::Absent | AppArmor::NoProfile => None,
    };
    Host {
        name: uname().nodename().to_string_lossy().into_owned(),
        rlimit_ceilings,
        capabilities: had.iter_names().map(|(name, _)| name.to_owned()).collect(),
        apparmor,
        limits_pids: true,
        rootless: false,
    }
}

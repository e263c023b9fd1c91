//! What this host has for virtual machines, found once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hythe_guest::{Kernel, initrd};
use hythe_local::instances::Instances;
use hythe_local::program::Program;
use hythe_network::Networks;
use hythe_oci::{Options, Registry, RegistryConfig, Store, auth::Files};
use hythe_runtime::context::run_blocking;
use hythe_runtime::{Error, ErrorKind, Result, RuntimeInfo};
use hythe_spec::RuntimeKind;
use rustix::system::uname;

use crate::capability::capability;
use crate::context::Context;
use crate::driver::Vm;
use crate::error::{IoContext, of_guest, of_store};
use crate::translate::Host;
use crate::{Accelerator, Config};

const OPERATION: &str = "connect";
const QEMU: &str = "qemu-system-x86_64";
const EMULATED: &str = "virtual machines are emulated, which is ten times slower or more; set `accelerator = \"kvm\"` \
                        where the host has a fast `/dev/kvm`";

/// Opens virtual machines below the configured root.
///
/// # Errors
/// `Unavailable` where this host has no QEMU or no kernel for guests, with what is missing.
pub async fn connect(config: Config) -> Result<Vm> {
    run_blocking(OPERATION, move || open(config)).await
}

fn open(config: Config) -> Result<Vm> {
    let root = config.root.clone();
    fs::create_dir_all(&root).context(OPERATION, format_args!("make `{}`", root.display()))?;
    let root = fs::canonicalize(&root).context(OPERATION, format_args!("find `{}`", root.display()))?;
    // Environments hold secrets, and disks the files of workloads.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).context(OPERATION, "close the root to others")?;
    let qemu = find_qemu(&config)?;
    let version = version(&qemu)?;
    let kernel = Kernel::find(config.kernel.as_deref()).map_err(of_guest(OPERATION))?;
    let cache = root.join("cache");
    fs::create_dir_all(&cache).context(OPERATION, "make the cache")?;
    initrd(&cache, &kernel).map_err(of_guest(OPERATION))?;
    let (networks, no_networks) = networks(&root)?;
    let (shim, as_it_is) = Program::choose(config.shim.clone());
    let kvm = config.accelerator == Accelerator::Kvm;
    let mut warnings: Vec<String> = as_it_is.into_iter().chain(no_networks.clone()).collect();
    if kvm {
        check_kvm()?;
    } else {
        warnings.push(EMULATED.to_owned());
    }
    let registry = Registry::new(RegistryConfig {
        insecure: config.insecure_registries.clone(),
        mirrors: config.registry_mirrors.clone(),
        auth: Files::from_env(&|name| std::env::var(name).ok()),
        ..RegistryConfig::default()
    });
    let context = Context {
        info: RuntimeInfo {
            name: config.name.clone(),
            kind: RuntimeKind::Vm,
            endpoint: root.display().to_string(),
            engine: "qemu".to_owned(),
            version,
            // One root is one runtime, by whatever names it is configured.
            engine_id: Some(format!("{}:{}", uname().nodename().to_string_lossy(), root.display())),
            rootless: !rustix::process::geteuid().is_root(),
        },
        capability: capability(no_networks.as_deref()),
        warnings,
        host: Host {
            qemu,
            kernel: kernel.image.clone(),
            kvm,
            memory: config.memory.0,
            log_segment: config.log_max_size.0,
            start_timeout: config.start_timeout,
        },
        instances: Instances::open(&root, None)?,
        store: Store::open_with(&root.join("images"), Options::default()).map_err(of_store(OPERATION))?,
        registry: registry.map_err(of_store(OPERATION))?,
        networks,
        kernel,
        shim,
        config,
        root,
    };
    Ok(Vm { context: Arc::new(context) })
}

fn find_qemu(config: &Config) -> Result<PathBuf> {
    if let Some(path) = &config.qemu {
        return Ok(path.clone());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(QEMU)).find(|file| file.is_file());
    found.ok_or_else(|| {
        let error = Error::new(ErrorKind::Unavailable, OPERATION, format!("`{QEMU}` is not installed"));
        error.hint("install `qemu-system-x86`, or set `qemu` in the runtime's configuration")
    })
}

/// The version that it tells of itself: `7.2.22`.
fn version(qemu: &Path) -> Result<String> {
    let what = || format!("run `{}`", qemu.display());
    let output = Command::new(qemu).arg("--version").env_clear().output().context(OPERATION, what())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1);
    version.map(|version| version.trim_end_matches(',').to_owned()).ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, OPERATION, format!("`{}` does not tell its version", qemu.display()))
    })
}

/// Networks of the host's kernel, or why there are none.
fn networks(root: &Path) -> Result<(Option<Networks>, Option<String>)> {
    if !rustix::process::geteuid().is_root() {
        let reason =
            "rootless, virtual machines have no networks yet; use `network = \"none\"`, or run the agent as root";
        return Ok((None, Some(reason.to_owned())));
    }
    match hythe_network::supported() {
        Ok(()) => Ok((Some(Networks::open(&root.join("networks"))?), None)),
        Err(error) => Ok((None, Some(error.message().to_owned()))),
    }
}

fn check_kvm() -> Result<()> {
    let opened = fs::File::options().read(true).write(true).open("/dev/kvm");
    opened.map(drop).map_err(|error| {
        let message = format!("`accelerator = \"kvm\"` is configured, and `/dev/kvm` cannot be opened: {error}");
        Error::new(ErrorKind::Unavailable, OPERATION, message)
            .hint("add the agent's user to the group `kvm`, or use `tcg`")
    })
}

//! The composition root: the one place that names every driver.

use std::ffi::OsString;
use std::sync::Arc;

use hythe_controller::{Connect, Connector};
use hythe_driver_containerd::Containerd;
use hythe_driver_docker::Docker;
use hythe_driver_embedded::Embedded;
use hythe_driver_podman::Podman;
use hythe_driver_vm::Vm;
use hythe_runtime::layers::{Fault, FaultScript, Layered};
use hythe_runtime::{Error, ErrorKind, Result, Runtime, layers};
use hythe_spec::RuntimeKind;
use serde::Deserialize;

use crate::{Config, StartError};

/// One runtime of the configuration file: its kind and its driver's own keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum RuntimeConfig {
    Podman(hythe_driver_podman::Config),
    Docker(hythe_driver_docker::Config),
    Containerd(hythe_driver_containerd::Config),
    Embedded(hythe_driver_embedded::Config),
    Vm(hythe_driver_vm::Config),
    Memory(hythe_driver_memory::Config),
}

impl RuntimeConfig {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Podman(config) => &config.name,
            Self::Docker(config) => &config.name,
            Self::Containerd(config) => &config.name,
            Self::Embedded(config) => &config.name,
            Self::Vm(config) => &config.name,
            Self::Memory(config) => &config.name,
        }
    }

    const fn kind(&self) -> RuntimeKind {
        match self {
            Self::Podman(_) => RuntimeKind::Podman,
            Self::Docker(_) => RuntimeKind::Docker,
            Self::Containerd(_) => RuntimeKind::Containerd,
            Self::Embedded(_) => RuntimeKind::Embedded,
            Self::Vm(_) => RuntimeKind::Vm,
            Self::Memory(_) => RuntimeKind::Memory,
        }
    }
}

/// Runs this process as the supervisor of an instance where its arguments (without the program) say so; gives its exit code.
/// `None`: they do not. Must be called first, while the process has one thread.
#[must_use]
pub fn shim(arguments: impl IntoIterator<Item = OsString>) -> Option<i32> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    hythe_driver_vm::shim(arguments.clone()).or_else(|| hythe_driver_embedded::shim(arguments))
}

/// Faults around every driver, for tests and therefore in debug builds only: a script as [`layers::FaultScript`] reads it, counted over the life of this agent.
const FAULTS: &str = "HYTHE_FAULTS";

/// A connector per configured runtime; where none is configured, Podman and Docker as they are found, and the embedded runtime, which placement prefers last.
pub(crate) fn connectors(config: &Config) -> std::result::Result<Vec<Connector>, StartError> {
    let found = || {
        vec![
            RuntimeConfig::Podman(hythe_driver_podman::Config::default()),
            RuntimeConfig::Docker(hythe_driver_docker::Config::default()),
            RuntimeConfig::Embedded(hythe_driver_embedded::Config::default()),
        ]
    };
    let search = config.runtimes.is_empty();
    let runtimes = if search { found() } else { config.runtimes.clone() };
    let runtimes = runtimes.into_iter().map(|runtime| placed(runtime, config));
    let allow_privileged = config.allow_privileged;
    let script = faults()?;
    let connectors = runtimes
        .map(|runtime| Connector {
            name: runtime.name().to_owned(),
            kind: runtime.kind(),
            connect: connect(runtime, allow_privileged, search, script.clone().map(Fault::new)),
        })
        .collect();
    Ok(connectors)
}

fn connect(runtime: RuntimeConfig, allow_privileged: bool, search: bool, fault: Option<Fault>) -> Connect {
    match runtime {
        RuntimeConfig::Podman(mut config) => {
            config.allow_privileged &= allow_privileged;
            Arc::new(move || {
                let (config, fault) = (config.clone(), fault.clone());
                Box::pin(
                    async move { Ok(layered(Arc::<Podman>::new(hythe_driver_podman::connect(config).await?), fault)) },
                )
            })
        }
        RuntimeConfig::Docker(mut config) => {
            config.allow_privileged &= allow_privileged;
            Arc::new(move || {
                let (config, fault) = (config.clone(), fault.clone());
                Box::pin(async move {
                    let docker = one_engine_once(hythe_driver_docker::connect(config).await?, search)?;
                    Ok(layered(Arc::new(docker), fault))
                })
            })
        }
        RuntimeConfig::Containerd(mut config) => {
            config.allow_privileged &= allow_privileged;
            Arc::new(move || {
                let (config, fault) = (config.clone(), fault.clone());
                Box::pin(async move {
                    Ok(layered(Arc::<Containerd>::new(hythe_driver_containerd::connect(config).await?), fault))
                })
            })
        }
        RuntimeConfig::Embedded(mut config) => {
            config.allow_privileged &= allow_privileged;
            Arc::new(move || {
                let (config, fault) = (config.clone(), fault.clone());
                Box::pin(async move {
                    Ok(layered(Arc::<Embedded>::new(hythe_driver_embedded::connect(config).await?), fault))
                })
            })
        }
        RuntimeConfig::Vm(config) => Arc::new(move || {
            let (config, fault) = (config.clone(), fault.clone());
            Box::pin(async move { Ok(layered(Arc::<Vm>::new(hythe_driver_vm::connect(config).await?), fault)) })
        }),
        RuntimeConfig::Memory(config) => {
            // Whoever connects again meets the same instances.
            let memory = hythe_driver_memory::connect(config);
            Arc::new(move || {
                let (memory, fault): (Arc<dyn Runtime>, _) = (memory.clone(), fault.clone());
                Box::pin(async move { Ok(layered(memory, fault)) })
            })
        }
    }
}

/// What a runtime keeps on this host is below the agent's own directory, unless another is configured.
fn placed(runtime: RuntimeConfig, config: &Config) -> RuntimeConfig {
    match runtime {
        RuntimeConfig::Embedded(mut embedded) if embedded.root.as_os_str().is_empty() => {
            embedded.root = config.state_dir.join("embedded");
            RuntimeConfig::Embedded(embedded)
        }
        RuntimeConfig::Containerd(mut containerd) if containerd.root.as_os_str().is_empty() => {
            containerd.root = config.state_dir.join("containerd");
            RuntimeConfig::Containerd(containerd)
        }
        RuntimeConfig::Vm(mut vm) if vm.root.as_os_str().is_empty() => {
            vm.root = config.state_dir.join("vm");
            RuntimeConfig::Vm(vm)
        }
        other => other,
    }
}

fn layered(driver: Arc<dyn Runtime>, fault: Option<Fault>) -> Arc<dyn Runtime> {
    let runtime = match fault {
        Some(fault) => Layered::around(driver, fault),
        None => driver,
    };
    layers::standard(runtime, &layers::Settings::default())
}

fn faults() -> std::result::Result<Option<FaultScript>, StartError> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let Ok(text) = std::env::var(FAULTS) else { return Ok(None) };
    let script = text.parse().map_err(|wrong| StartError::TestAid(format!("`{FAULTS}`: {wrong}")))?;
    tracing::warn!("faults are injected as `{FAULTS}` says: for tests only");
    Ok(Some(script))
}

/// A search that ends at Podman's own socket has found the engine that the podman driver drives already.
fn one_engine_once(docker: Docker, search: bool) -> Result<Docker> {
    let info = docker.info();
    if search && info.engine == "podman" {
        let text = format!("no Docker answers (`{}` is Podman, which has a driver of its own)", info.endpoint);
        return Err(Error::new(ErrorKind::Unavailable, "connect", text));
    }
    Ok(docker)
}

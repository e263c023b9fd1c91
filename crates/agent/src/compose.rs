//! The composition root: the one place that names every driver.

use std::sync::Arc;

use hythe_controller::{Connect, Connector};
use hythe_driver_docker::Docker;
use hythe_driver_podman::Podman;
use hythe_runtime::memory::MemoryBuilder;
use hythe_runtime::{Error, ErrorKind, Result, Runtime, layers};
use hythe_spec::RuntimeKind;
use serde::Deserialize;

use crate::Config;

/// One runtime of the configuration file: its kind and its driver's own keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum RuntimeConfig {
    Podman(hythe_driver_podman::Config),
    Docker(hythe_driver_docker::Config),
    Memory(MemoryConfig),
}

/// The in-process runtime, for demonstrations: it keeps nothing when the agent ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MemoryConfig {
    name: String,
    images: Vec<String>,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { name: "memory".to_owned(), images: Vec::new() }
    }
}

impl RuntimeConfig {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Podman(config) => &config.name,
            Self::Docker(config) => &config.name,
            Self::Memory(config) => &config.name,
        }
    }

    const fn kind(&self) -> RuntimeKind {
        match self {
            Self::Podman(_) => RuntimeKind::Podman,
            Self::Docker(_) => RuntimeKind::Docker,
            Self::Memory(_) => RuntimeKind::Memory,
        }
    }
}

/// A connector per configured runtime; where none is configured, Podman and Docker as they are found.
pub(crate) fn connectors(config: &Config) -> Vec<Connector> {
    let found = || {
        vec![
            RuntimeConfig::Podman(hythe_driver_podman::Config::default()),
            RuntimeConfig::Docker(hythe_driver_docker::Config::default()),
        ]
    };
    let search = config.runtimes.is_empty();
    let runtimes = if search { found() } else { config.runtimes.clone() };
    let allow_privileged = config.allow_privileged;
    runtimes
        .into_iter()
        .map(|runtime| Connector {
            name: runtime.name().to_owned(),
            kind: runtime.kind(),
            connect: connect(runtime, allow_privileged, search),
        })
        .collect()
}

fn connect(runtime: RuntimeConfig, allow_privileged: bool, search: bool) -> Connect {
    match runtime {
        RuntimeConfig::Podman(mut config) => {
            config.allow_privileged &= allow_privileged;
            Arc::new(move || {
                let config = config.clone();
                Box::pin(async move { Ok(layered(Arc::<Podman>::new(hythe_driver_podman::connect(config).await?))) })
            })
        }
        RuntimeConfig::Docker(mut config) => {
            config.allow_privileged &= allow_privileged;
            Arc::new(move || {
                let config = config.clone();
                Box::pin(async move {
                    Ok(layered(Arc::new(one_engine_once(hythe_driver_docker::connect(config).await?, search)?)))
                })
            })
        }
        RuntimeConfig::Memory(config) => {
            let start = MemoryBuilder::default().name(config.name);
            let memory = config.images.into_iter().fold(start, MemoryBuilder::image).build();
            Arc::new(move || {
                let memory: Arc<dyn Runtime> = memory.clone();
                Box::pin(async move { Ok(layered(memory)) })
            })
        }
    }
}

fn layered(runtime: Arc<dyn Runtime>) -> Arc<dyn Runtime> {
    layers::standard(runtime, &layers::Settings::default())
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

//! The seam, implemented: each method hands over to the module that does it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hythe_runtime::{
    Archives, Capability, Cursor, EndedInputs, EventStream, Exec, Filter, Health, Images, InstanceId, InstanceRef,
    Listed, Logs, Networks, Observed, OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes,
    check_signal,
};

use hythe_spec::{Signal, Ulimit};
use tokio::sync::Mutex;

use crate::client::{About, Client};
use crate::lifecycle::Interrupted;
use crate::program::Program;
use crate::stdin_holder::StdinHolders;
use crate::translate::{self, Settings, Verb};
use crate::{Config, capability, connect, rlimits};

/// One connected podman.
#[derive(Debug)]
pub struct Podman {
    pub(crate) client: Client,
    /// For what the API has no way to do.
    pub(crate) program: Program,
    pub(crate) config: Config,
    /// Registries asked directly, for what podman cannot tell apart.
    pub(crate) registry: hythe_oci::Registry,
    pub(crate) stdin_holders: StdinHolders,
    pub(crate) ended_inputs: EndedInputs,
    pub(crate) interrupted: Interrupted,
    /// Held by whoever changes the names of images.
    pub(crate) image_names: Arc<Mutex<()>>,
    /// What podman may not raise here.
    rlimits: Vec<Ulimit>,
    default_capabilities: Vec<String>,
    /// What of it lies on this host; `None`: podman speaks to another one.
    pub(crate) local: Option<Local>,
    info: RuntimeInfo,
    capability: Capability,
    warnings: Vec<String>,
}

/// Files of podman on this host.
#[derive(Debug)]
pub(crate) struct Local {
    /// Directory with one directory per local volume.
    pub(crate) volumes: PathBuf,
}

/// What connecting found.
pub(crate) struct Parts {
    pub(crate) client: Client,
    /// For what the API has no way to do.
    pub(crate) program: Program,
    pub(crate) config: Config,
    pub(crate) info: RuntimeInfo,
    pub(crate) capability: Capability,
    pub(crate) warnings: Vec<String>,
    pub(crate) local: Option<Local>,
    pub(crate) registry: hythe_oci::Registry,
    /// What podman gives where it is told nothing.
    pub(crate) default_capabilities: Vec<String>,
}

impl Podman {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { client, program, config, info, capability, warnings, local, registry, default_capabilities } =
            parts;
        Self {
            rlimits: local.as_ref().filter(|_| !info.rootless).map_or_else(Vec::new, |_| rlimits::of_this_host()),
            client,
            program,
            stdin_holders: StdinHolders::default(),
            ended_inputs: EndedInputs::default(),
            interrupted: Interrupted::default(),
            image_names: Arc::default(),
            default_capabilities,
            config,
            registry,
            local,
            info,
            capability,
            warnings,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            rootless: self.info.rootless,
            log_max_size: self.config.log_max_size,
            host: capability::host_address(),
            rlimits: self.rlimits.clone(),
            default_capabilities: self.default_capabilities.clone(),
            read_only_shm: major(&self.info.version).is_none_or(|major| major >= 5),
        }
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[async_trait]
impl Runtime for Podman {
    fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        let version = connect::answers(self, cx, About { operation: "probe", subject: "podman" }).await?;
        Ok(Health { version, warnings: self.warnings.clone() })
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        self.make(cx, plan, Verb::Create).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        self.make(cx, plan, Verb::Run).await
    }

    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let own = self.own(cx, "start", instance).await?;
        self.start_instance(cx, &own).await
    }

    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        self.stop_instance(cx, instance, how).await
    }

    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        check_signal("signal", signal)?;
        let own = self.own(cx, "signal", instance).await?;
        self.signal_instance(cx, &own, signal).await
    }

    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        match self.own(cx, "remove", instance).await {
            Err(error) if error.is_not_found() => Ok(()),
            own => self.remove_instance(cx, &own?).await,
        }
    }

    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed> {
        let container = self.container(cx, "inspect", instance).await?;
        Ok(self.observed(container).await)
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        self.list_instances(cx, filter).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        self.watch_events(cx, &from).await
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(self)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        Some(self)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        Some(self)
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn archives(&self) -> Option<&dyn Archives> {
        Some(self)
    }

    fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        translate::explained(&translate::container_spec(plan, &self.settings())?)
    }
}

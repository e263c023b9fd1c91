//! The seam, for Docker.

use async_trait::async_trait;
use hythe_runtime::{
    Capability, Cursor, EventStream, Exec, Filter, Health, Images, InstanceId, Listed, Logs, Networks, Observed,
    OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes,
};

use crate::core::Core;
use crate::error::{bounded, carried};

/// A connected engine that speaks Docker's API.
#[derive(Debug)]
pub struct Docker {
    info: RuntimeInfo,
    capability: Capability,
    core: Core,
}

impl Docker {
    pub(crate) fn new(info: RuntimeInfo, capability: Capability, core: Core) -> Self {
        Self { info, capability, core }
    }
}

#[async_trait]
impl Runtime for Docker {
    fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        bounded(cx, "probe", self.core.probe()).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (core, plan) = (self.core.clone(), plan.clone());
        carried(cx, "create", async move { Ok(core.create("create", &plan).await?.id) }).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (core, plan) = (self.core.clone(), plan.clone());
        carried(cx, "run", async move {
            let attempt = core.create("run", &plan).await?;
            if !attempt.has_run {
                core.start("run", &attempt.id).await?;
            }
            Ok(attempt.id)
        })
        .await
    }

    async fn start(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let (core, id) = (self.core.clone(), id.clone());
        carried(cx, "start", async move {
            let own = core.own("start", &id).await?;
            core.start("start", &InstanceId(own.id)).await
        })
        .await
    }

    async fn stop(&self, cx: &OpContext, id: &InstanceId, how: &Stop) -> Result<()> {
        let (core, id, how) = (self.core.clone(), id.clone(), *how);
        carried(cx, "stop", async move { core.stop(&id, how).await }).await
    }

    async fn remove(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let (core, id) = (self.core.clone(), id.clone());
        carried(cx, "remove", async move { core.remove(&id).await }).await
    }

    async fn inspect(&self, cx: &OpContext, id: &InstanceId) -> Result<Observed> {
        bounded(cx, "inspect", self.core.observe(id)).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        bounded(cx, "list", self.core.list(filter)).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        bounded(cx, "watch", self.core.watch(from)).await
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(&self.core)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        Some(&self.core)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        Some(&self.core)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        Some(&self.core)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        Some(&self.core)
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(&self.core)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(&self.core)
    }

    fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        self.core.explain(plan)
    }
}

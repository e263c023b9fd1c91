//! The seam, for Docker.

use async_trait::async_trait;
use hythe_runtime::{
    Archives, Capability, Cursor, EventStream, Exec, Filter, Health, Images, InstanceId, InstanceRef, Listed, Logs,
    Networks, Observed, OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes, check_signal,
};
use hythe_spec::Signal;

use crate::context::Context;

/// A connected engine that speaks Docker's API.
#[derive(Debug)]
pub struct Docker {
    info: RuntimeInfo,
    capability: Capability,
    pub(crate) context: Context,
}

impl Docker {
    pub(crate) fn new(info: RuntimeInfo, capability: Capability, context: Context) -> Self {
        Self { info, capability, context }
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
        cx.with_deadline("probe", self.context.probe()).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (context, plan) = (self.context.clone(), plan.clone());
        cx.run_detached("create", async move { Ok(context.create("create", &plan).await?.id) }).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (context, plan) = (self.context.clone(), plan.clone());
        cx.run_detached("run", async move {
            let attempt = context.create("run", &plan).await?;
            if !attempt.has_run {
                context.start("run", &attempt.id.to_ref()).await?;
            }
            Ok(attempt.id)
        })
        .await
    }

    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let (context, instance) = (self.context.clone(), instance.clone());
        cx.run_detached("start", async move {
            let own = context.own("start", &instance).await?;
            context.start("start", &InstanceRef::id(own.id)).await
        })
        .await
    }

    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        let (context, instance, how) = (self.context.clone(), instance.clone(), *how);
        cx.run_detached("stop", async move { context.stop(&instance, how).await }).await
    }

    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        check_signal("signal", signal)?;
        let (context, instance) = (self.context.clone(), instance.clone());
        cx.run_detached("signal", async move { context.signal(&instance, signal).await }).await
    }

    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let (context, instance) = (self.context.clone(), instance.clone());
        cx.run_detached("remove", async move { context.remove(&instance).await }).await
    }

    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed> {
        cx.with_deadline("inspect", self.context.observe(instance)).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        cx.with_deadline("list", self.context.list(filter)).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        cx.with_deadline("watch", self.context.watch(from)).await
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
        self.context.explain(plan)
    }
}

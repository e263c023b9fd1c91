//! The seam, for containerd.

use async_trait::async_trait;
use hythe_runtime::{
    Archives, Capability, Cursor, EventStream, Exec, Filter, Health, Images, InstanceId, InstanceRef, Listed, Logs,
    Networks, Observed, OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes, check_signal,
};
use hythe_spec::Signal;

use crate::context::SharedContext;
use crate::{connect, lifecycle, observe, record, watch};

/// One namespace of one containerd.
#[derive(Debug, Clone)]
pub struct Containerd {
    pub(crate) context: SharedContext,
}

#[async_trait]
impl Runtime for Containerd {
    fn info(&self) -> &RuntimeInfo {
        &self.context.info
    }

    fn capability(&self) -> &Capability {
        &self.context.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        let version = cx.with_deadline("probe", connect::version(&self.context.client, "probe")).await?;
        Ok(Health { version, warnings: self.context.warnings.clone() })
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (context, plan) = (self.context.clone(), plan.clone());
        let work = async move {
            let found = lifecycle::create(&context, "create", &plan).await?;
            Ok(InstanceId(found.id().to_owned()))
        };
        cx.run_detached("create", work).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (context, plan) = (self.context.clone(), plan.clone());
        let work = async move {
            let found = lifecycle::create(&context, "run", &plan).await?;
            lifecycle::start(&context, "run", &found, true).await?;
            Ok(InstanceId(found.id().to_owned()))
        };
        cx.run_detached("run", work).await
    }

    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let (context, instance) = (self.context.clone(), instance.clone());
        let work = async move {
            let found = record::own(&context, "start", &instance).await?;
            lifecycle::start(&context, "start", &found, false).await
        };
        cx.run_detached("start", work).await
    }

    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        let (context, instance, how) = (self.context.clone(), instance.clone(), *how);
        cx.run_detached("stop", async move { lifecycle::stop(&context, "stop", &instance, how).await }).await
    }

    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        check_signal("signal", signal)?;
        let (context, instance) = (self.context.clone(), instance.clone());
        cx.run_detached("signal", async move { lifecycle::signal(&context, "signal", &instance, signal).await }).await
    }

    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let (context, instance) = (self.context.clone(), instance.clone());
        let work = async move {
            match record::own(&context, "remove", &instance).await {
                Ok(found) => lifecycle::remove(&context, "remove", &found).await,
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error),
            }
        };
        cx.run_detached("remove", work).await
    }

    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed> {
        let inspect = async {
            let found = record::find(&self.context, "inspect", instance).await?;
            observe::inspect(&self.context, "inspect", &found).await
        };
        cx.with_deadline("inspect", inspect).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        cx.with_deadline("list", observe::list(&self.context, "list", filter)).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        cx.with_deadline("watch", watch::watch(&self.context, &from, cx.cancel.clone())).await
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
        self.context.networks.is_some().then_some(self)
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
        lifecycle::explain(&self.context, plan)
    }
}

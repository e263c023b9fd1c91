//! The seam, for the embedded runtime.

use async_trait::async_trait;
use hythe_local::supervised;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{
    Archives, Capability, Cursor, EventStream, Exec, Filter, Health, Images, InstanceId, InstanceRef, Listed, Logs,
    Networks, Observed, OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes, check_signal,
};
use hythe_spec::Signal;

use crate::context::SharedContext;
use crate::error::IoContext;
use crate::{lifecycle, observe, watch};

/// Containers with nothing installed.
#[derive(Debug, Clone)]
pub struct Embedded {
    pub(crate) context: SharedContext,
}

#[async_trait]
impl Runtime for Embedded {
    fn info(&self) -> &RuntimeInfo {
        &self.context.info
    }

    fn capability(&self) -> &Capability {
        &self.context.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        let context = self.context.clone();
        let work = run_blocking("probe", move || {
            let path = context.root.join("instances");
            std::fs::read_dir(&path).context("probe", format_args!("read `{}`", path.display()))?;
            std::fs::metadata(&*context.shim)
                .context("probe", format_args!("find the supervisor `{}`", context.shim.display()))?;
            Ok(Health { version: context.info.version.clone(), warnings: context.warnings() })
        });
        cx.with_deadline("probe", work).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (context, plan) = (self.context.clone(), plan.clone());
        let work = run_blocking("create", move || Ok(InstanceId(lifecycle::create(&context, "create", &plan)?.id)));
        cx.run_detached("create", work).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (context, plan) = (self.context.clone(), plan.clone());
        let work = run_blocking("run", move || {
            let record = lifecycle::create(&context, "run", &plan)?;
            if observe::state(&context, "run", &record)?.state == hythe_runtime::State::Created {
                lifecycle::start(&context, "run", &record)?;
            }
            Ok(InstanceId(record.id))
        });
        cx.run_detached("run", work).await
    }

    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let (context, instance) = (self.context.clone(), instance.clone());
        let work = run_blocking("start", move || {
            let record = context.instances.own("start", &instance)?;
            lifecycle::start(&context, "start", &record)
        });
        cx.run_detached("start", work).await
    }

    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        let (context, instance, how) = (self.context.clone(), instance.clone(), *how);
        cx.run_detached("stop", async move { supervised::stop(&context, "stop", &instance, how).await }).await
    }

    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        check_signal("signal", signal)?;
        let (context, instance) = (self.context.clone(), instance.clone());
        cx.run_detached("signal", async move { supervised::signal(&context, "signal", &instance, signal).await }).await
    }

    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let (context, instance) = (self.context.clone(), instance.clone());
        let work = run_blocking("remove", move || match context.instances.own("remove", &instance) {
            Ok(record) => lifecycle::remove(&context, "remove", &record),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        });
        cx.run_detached("remove", work).await
    }

    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed> {
        let (context, instance) = (self.context.clone(), instance.clone());
        let work = run_blocking("inspect", move || {
            let record = context.instances.find("inspect", &instance)?;
            observe::observe(&context, "inspect", &record)
        });
        cx.with_deadline("inspect", work).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        let (context, filter) = (self.context.clone(), filter.clone());
        cx.with_deadline("list", run_blocking("list", move || observe::list(&context, "list", &filter))).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        watch::watch(&self.context, &from, cx.cancel.clone())
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
        self.context.host.cgroups.is_some().then_some(self)
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

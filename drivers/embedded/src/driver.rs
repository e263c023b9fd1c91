//! The seam, for the embedded runtime.

use async_trait::async_trait;
use hythe_runtime::{
    Capability, Cursor, EventStream, Exec, Filter, Health, Images, InstanceId, Listed, Logs, Networks, Observed,
    OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes,
};

use crate::core::Shared;
use crate::error::{Doing, blocking, bounded, carried};
use crate::{lifecycle, observe, watch};

/// Containers with nothing installed.
#[derive(Debug, Clone)]
pub struct Embedded {
    pub(crate) core: Shared,
}

#[async_trait]
impl Runtime for Embedded {
    fn info(&self) -> &RuntimeInfo {
        &self.core.info
    }

    fn capability(&self) -> &Capability {
        &self.core.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        let core = self.core.clone();
        let work = blocking("probe", move || {
            let path = core.root.join("instances");
            std::fs::read_dir(&path).doing("probe", format_args!("read `{}`", path.display()))?;
            std::fs::metadata(&core.shim)
                .doing("probe", format_args!("find the supervisor `{}`", core.shim.display()))?;
            Ok(Health { version: core.info.version.clone(), warnings: core.warnings() })
        });
        bounded(cx, "probe", work).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (core, plan) = (self.core.clone(), plan.clone());
        let work = blocking("create", move || Ok(InstanceId(lifecycle::create(&core, "create", &plan)?.id)));
        carried(cx, "create", work).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let (core, plan) = (self.core.clone(), plan.clone());
        let work = blocking("run", move || {
            let record = lifecycle::create(&core, "run", &plan)?;
            if observe::state(&core, "run", &record)?.state == hythe_runtime::State::Created {
                lifecycle::start(&core, "run", &record)?;
            }
            Ok(InstanceId(record.id))
        });
        carried(cx, "run", work).await
    }

    async fn start(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let (core, id) = (self.core.clone(), id.clone());
        let work = blocking("start", move || {
            let record = core.instances.own("start", &id)?;
            lifecycle::start(&core, "start", &record)
        });
        carried(cx, "start", work).await
    }

    async fn stop(&self, cx: &OpContext, id: &InstanceId, how: &Stop) -> Result<()> {
        let (core, id, how) = (self.core.clone(), id.clone(), *how);
        carried(cx, "stop", async move { lifecycle::stop(&core, "stop", &id, how).await }).await
    }

    async fn remove(&self, cx: &OpContext, id: &InstanceId) -> Result<()> {
        let (core, id) = (self.core.clone(), id.clone());
        let work = blocking("remove", move || match core.instances.own("remove", &id) {
            Ok(record) => lifecycle::remove(&core, "remove", &record),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        });
        carried(cx, "remove", work).await
    }

    async fn inspect(&self, cx: &OpContext, id: &InstanceId) -> Result<Observed> {
        let (core, id) = (self.core.clone(), id.clone());
        let work = blocking("inspect", move || {
            let (record, _) = core.instances.find("inspect", &id)?;
            observe::observe(&core, "inspect", &record)
        });
        bounded(cx, "inspect", work).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        let (core, filter) = (self.core.clone(), filter.clone());
        bounded(cx, "list", blocking("list", move || observe::list(&core, "list", &filter))).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        watch::watch(&self.core, &from, cx.cancel.clone())
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
        // An ordinary user's instances have no control groups to read.
        self.core.machine.user_namespace.is_none().then_some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        self.core.networks.is_some().then_some(self)
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        lifecycle::explain(&self.core, plan)
    }
}

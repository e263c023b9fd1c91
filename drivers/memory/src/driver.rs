//! The seam, for the in-process runtime.

use std::sync::Arc;

use async_trait::async_trait;
use hythe_runtime::{
    Archives, Capability, Cursor, EventStream, Exec, Filter, Health, Images, InstanceId, InstanceRef, Listed, Logs,
    Networks, Observed, OpContext, Plan, Result, Runtime, RuntimeInfo, Snapshots, Stats, Stop, Volumes,
};
use hythe_spec::Signal;

use crate::engine::Engine;
use crate::{MemoryBuilder, MemoryControl, connect, lifecycle, observe, scheduling, translate, watch};

/// The in-process runtime; made by [`connect`](crate::connect()) or [`Memory::builder`].
#[derive(Debug)]
pub struct Memory {
    info: RuntimeInfo,
    capability: Capability,
    pub(crate) engine: Arc<Engine>,
}

impl Memory {
    /// The image that is present unless the builder says otherwise: a busybox with the users `root` and `app` (1000).
    pub const TEST_IMAGE: &str = "localhost/hythe-test:1";

    pub(crate) const fn of(info: RuntimeInfo, capability: Capability, engine: Arc<Engine>) -> Self {
        Self { info, capability, engine }
    }

    /// A runtime with nothing but [`Memory::TEST_IMAGE`] and the standard capability.
    pub fn new() -> Arc<Self> {
        Self::builder().build()
    }

    /// Starts a configuration.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    /// Out-of-band changes: what an administrator, the kernel or a failure does to a real engine.
    pub fn control(&self) -> MemoryControl {
        MemoryControl::new(Arc::clone(&self.engine))
    }
}

#[async_trait]
impl Runtime for Memory {
    fn info(&self) -> &RuntimeInfo {
        &self.info
    }

    fn capability(&self) -> &Capability {
        &self.capability
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        self.engine.answer(cx, "probe", async { Ok(connect::probe(&self.info)) }).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        self.engine.answer(cx, "create", async { lifecycle::create(&self.engine, "create", plan) }).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        self.engine.answer(cx, "run", async { lifecycle::run(&self.engine, cx, plan).await }).await
    }

    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let act = async {
            lifecycle::ensure_owned(&self.engine, "start", instance)?;
            lifecycle::ensure_restartable(&self.engine, &self.capability, instance)?;
            scheduling::start(&self.engine, cx, "start", instance).await
        };
        self.engine.answer(cx, "start", act).await
    }

    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        let act = async {
            lifecycle::ensure_owned(&self.engine, "stop", instance)?;
            lifecycle::stop(&self.engine, instance, how).await
        };
        self.engine.answer(cx, "stop", act).await
    }

    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        let act = async {
            lifecycle::ensure_owned(&self.engine, "signal", instance)?;
            lifecycle::send(&self.engine, "signal", instance, signal)
        };
        self.engine.answer(cx, "signal", act).await
    }

    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        let act = async {
            lifecycle::ensure_owned(&self.engine, "remove", instance)?;
            lifecycle::remove(&self.engine, instance)
        };
        self.engine.answer(cx, "remove", act).await
    }

    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed> {
        self.engine.answer(cx, "inspect", async { observe::inspect(&self.engine, instance) }).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        self.engine.answer(cx, "list", async { Ok(observe::list(&self.engine, filter)) }).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        self.engine.answer(cx, "watch", async { Ok(watch::watch(&self.engine, &from)) }).await
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
        Ok(translate::explain(plan))
    }
}

//! The one place where every method is forwarded.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hythe_spec::{ImageRef, Platform, Signal};

use super::{Call, Operation};
use crate::{
    ArchiveInput, ArchiveStream, Archives, AttachRequest, BuildOutput, BuildRequest, Capability, Cursor, Error,
    ErrorKind, EventStream, Exec, ExecRequest, FileInfo, Filter, Health, Image, Images, InstanceId, InstanceRef,
    Listed, LogOptions, LogStream, Logs, NetworkInfo, NetworkSpec, Networks, Observed, OpContext, Plan, ProgressSink,
    RemoteImage, Result, Runtime, RuntimeInfo, Session, Snapshot, SnapshotMount, SnapshotRequest, Snapshots, Stats,
    StatsSample, Stop, VolumeInfo, VolumeSpec, Volumes,
};

/// What a layer does around every call.
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Answers a call, by acting as often as it sees fit: not at all, once, or again.
    fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a;
}

/// A runtime with a policy around it.
#[derive(Debug)]
pub struct Layered<P> {
    inner: Arc<dyn Runtime>,
    policy: P,
}

impl<P: Policy> Layered<P> {
    /// Puts a policy around a runtime.
    pub fn around(inner: Arc<dyn Runtime>, policy: P) -> Arc<dyn Runtime> {
        Arc::new(Self { inner, policy })
    }

    fn call<'a>(&'a self, operation: Operation, cx: &'a OpContext) -> Call<'a> {
        let (info, capability) = (self.inner.info(), self.inner.capability());
        Call { operation, info, capability, cx, instance: None, plan: None, stop: None }
    }

    fn on<'a>(&'a self, operation: Operation, cx: &'a OpContext, instance: &'a InstanceRef) -> Call<'a> {
        Call { instance: Some(instance), ..self.call(operation, cx) }
    }
}

/// A facet is only handed out where the runtime has it; this covers one that lost it meanwhile.
fn facet<T: ?Sized>(facet: Option<&T>, operation: Operation) -> Result<&T> {
    let words = "this runtime does not have the operation";
    facet.ok_or_else(|| Error::new(ErrorKind::Unsupported, operation.name(), words))
}

#[async_trait]
impl<P: Policy> Runtime for Layered<P> {
    fn info(&self) -> &RuntimeInfo {
        self.inner.info()
    }

    fn capability(&self) -> &Capability {
        self.inner.capability()
    }

    async fn probe(&self, cx: &OpContext) -> Result<Health> {
        self.policy.around(self.call(Operation::Probe, cx), || self.inner.probe(cx)).await
    }

    async fn create(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let call = Call { plan: Some(plan), ..self.call(Operation::Create, cx) };
        self.policy.around(call, || self.inner.create(cx, plan)).await
    }

    async fn run(&self, cx: &OpContext, plan: &Plan) -> Result<InstanceId> {
        let call = Call { plan: Some(plan), ..self.call(Operation::Run, cx) };
        self.policy.around(call, || self.inner.run(cx, plan)).await
    }

    async fn start(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        self.policy.around(self.on(Operation::Start, cx, instance), || self.inner.start(cx, instance)).await
    }

    async fn stop(&self, cx: &OpContext, instance: &InstanceRef, how: &Stop) -> Result<()> {
        let call = Call { stop: Some(how), ..self.on(Operation::Stop, cx, instance) };
        self.policy.around(call, || self.inner.stop(cx, instance, how)).await
    }

    async fn signal(&self, cx: &OpContext, instance: &InstanceRef, signal: Signal) -> Result<()> {
        self.policy.around(self.on(Operation::Signal, cx, instance), || self.inner.signal(cx, instance, signal)).await
    }

    async fn remove(&self, cx: &OpContext, instance: &InstanceRef) -> Result<()> {
        self.policy.around(self.on(Operation::Remove, cx, instance), || self.inner.remove(cx, instance)).await
    }

    async fn inspect(&self, cx: &OpContext, instance: &InstanceRef) -> Result<Observed> {
        self.policy.around(self.on(Operation::Inspect, cx, instance), || self.inner.inspect(cx, instance)).await
    }

    async fn list(&self, cx: &OpContext, filter: &Filter) -> Result<Vec<Listed>> {
        self.policy.around(self.call(Operation::List, cx), || self.inner.list(cx, filter)).await
    }

    async fn watch(&self, cx: &OpContext, from: Cursor) -> Result<EventStream> {
        self.policy.around(self.call(Operation::Watch, cx), || self.inner.watch(cx, from.clone())).await
    }

    fn images(&self) -> Option<&dyn Images> {
        self.inner.images().map(|_| self as &dyn Images)
    }

    fn logs(&self) -> Option<&dyn Logs> {
        self.inner.logs().map(|_| self as &dyn Logs)
    }

    fn exec(&self) -> Option<&dyn Exec> {
        self.inner.exec().map(|_| self as &dyn Exec)
    }

    fn stats(&self) -> Option<&dyn Stats> {
        self.inner.stats().map(|_| self as &dyn Stats)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        self.inner.networks().map(|_| self as &dyn Networks)
    }

    fn volumes(&self) -> Option<&dyn Volumes> {
        self.inner.volumes().map(|_| self as &dyn Volumes)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.inner.snapshots().map(|_| self as &dyn Snapshots)
    }

    fn archives(&self) -> Option<&dyn Archives> {
        self.inner.archives().map(|_| self as &dyn Archives)
    }

    fn explain(&self, plan: &Plan) -> Result<serde_json::Value> {
        self.inner.explain(plan)
    }
}

#[async_trait]
impl<P: Policy> Images for Layered<P> {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        let inner = facet(self.inner.images(), Operation::Pull)?;
        self.policy.around(self.call(Operation::Pull, cx), || inner.pull(cx, image, platform, progress)).await
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        let inner = facet(self.inner.images(), Operation::Image)?;
        self.policy.around(self.call(Operation::Image, cx), || inner.get(cx, image)).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let inner = facet(self.inner.images(), Operation::Images)?;
        self.policy.around(self.call(Operation::Images, cx), || inner.list(cx)).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let inner = facet(self.inner.images(), Operation::ImageRemove)?;
        self.policy.around(self.call(Operation::ImageRemove, cx), || inner.remove(cx, image)).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let inner = facet(self.inner.images(), Operation::ImagesUnused)?;
        self.policy.around(self.call(Operation::ImagesUnused, cx), || inner.unused(cx)).await
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        let inner = facet(self.inner.images(), Operation::ImageDiscard)?;
        self.policy.around(self.call(Operation::ImageDiscard, cx), || inner.discard(cx, id)).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let inner = facet(self.inner.images(), Operation::Tag)?;
        self.policy.around(self.call(Operation::Tag, cx), || inner.tag(cx, image, name)).await
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        let inner = facet(self.inner.images(), Operation::Push)?;
        self.policy.around(self.call(Operation::Push, cx), || inner.push(cx, image, progress)).await
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        let inner = facet(self.inner.images(), Operation::Build)?;
        self.policy.around(self.call(Operation::Build, cx), || inner.build(cx, request, progress)).await
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        let inner = facet(self.inner.images(), Operation::Load)?;
        self.policy.around(self.call(Operation::Load, cx), || inner.load(cx, archive, name, progress)).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let inner = facet(self.inner.images(), Operation::Resolve)?;
        self.policy.around(self.call(Operation::Resolve, cx), || inner.resolve(cx, image)).await
    }
}

#[async_trait]
impl<P: Policy> Logs for Layered<P> {
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream> {
        let inner = facet(self.inner.logs(), Operation::Logs)?;
        self.policy.around(self.on(Operation::Logs, cx, instance), || inner.logs(cx, instance, options)).await
    }
}

#[async_trait]
impl<P: Policy> Exec for Layered<P> {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        let inner = facet(self.inner.exec(), Operation::Exec)?;
        self.policy.around(self.on(Operation::Exec, cx, instance), || inner.exec(cx, instance, request)).await
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        let inner = facet(self.inner.exec(), Operation::Attach)?;
        self.policy.around(self.on(Operation::Attach, cx, instance), || inner.attach(cx, instance, request)).await
    }
}

#[async_trait]
impl<P: Policy> Stats for Layered<P> {
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample> {
        let inner = facet(self.inner.stats(), Operation::Stats)?;
        self.policy.around(self.on(Operation::Stats, cx, instance), || inner.sample(cx, instance)).await
    }
}

#[async_trait]
impl<P: Policy> Networks for Layered<P> {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let inner = facet(self.inner.networks(), Operation::NetworkEnsure)?;
        self.policy.around(self.call(Operation::NetworkEnsure, cx), || inner.ensure(cx, spec)).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let inner = facet(self.inner.networks(), Operation::NetworkList)?;
        self.policy.around(self.call(Operation::NetworkList, cx), || inner.list(cx)).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let inner = facet(self.inner.networks(), Operation::NetworkRemove)?;
        self.policy.around(self.call(Operation::NetworkRemove, cx), || inner.remove(cx, name, owner)).await
    }
}

#[async_trait]
impl<P: Policy> Volumes for Layered<P> {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let inner = facet(self.inner.volumes(), Operation::VolumeEnsure)?;
        self.policy.around(self.call(Operation::VolumeEnsure, cx), || inner.ensure(cx, spec)).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let inner = facet(self.inner.volumes(), Operation::VolumeList)?;
        self.policy.around(self.call(Operation::VolumeList, cx), || inner.list(cx)).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let inner = facet(self.inner.volumes(), Operation::VolumeRemove)?;
        self.policy.around(self.call(Operation::VolumeRemove, cx), || inner.remove(cx, name, owner)).await
    }
}

#[async_trait]
impl<P: Policy> Snapshots for Layered<P> {
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        let inner = facet(self.inner.snapshots(), Operation::SnapshotCommit)?;
        self.policy
            .around(self.on(Operation::SnapshotCommit, cx, instance), || inner.commit(cx, instance, request))
            .await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        let inner = facet(self.inner.snapshots(), Operation::SnapshotList)?;
        self.policy.around(self.call(Operation::SnapshotList, cx), || inner.list(cx)).await
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        let inner = facet(self.inner.snapshots(), Operation::SnapshotMounts)?;
        self.policy.around(self.call(Operation::SnapshotMounts, cx), || inner.mounts(cx, image)).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let inner = facet(self.inner.snapshots(), Operation::SnapshotRemove)?;
        self.policy.around(self.call(Operation::SnapshotRemove, cx), || inner.remove(cx, image)).await
    }
}

#[async_trait]
impl<P: Policy> Archives for Layered<P> {
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo> {
        let inner = facet(self.inner.archives(), Operation::ArchiveLook)?;
        self.policy.around(self.on(Operation::ArchiveLook, cx, instance), || inner.look(cx, instance, path)).await
    }

    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        let inner = facet(self.inner.archives(), Operation::ArchiveRead)?;
        self.policy.around(self.on(Operation::ArchiveRead, cx, instance), || inner.read(cx, instance, path)).await
    }

    async fn write(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        directory: &str,
        archive: &ArchiveInput,
    ) -> Result<()> {
        let inner = facet(self.inner.archives(), Operation::ArchiveWrite)?;
        let call = self.on(Operation::ArchiveWrite, cx, instance);
        self.policy.around(call, || inner.write(cx, instance, directory, archive)).await
    }
}

//! Files of instances: of a running one through its main process's root, of another by mounting its snapshot.

use std::fs::File;
use std::io;

use async_trait::async_trait;
use hythe_local::IoContext;
use hythe_local::archives::{look_below, read_below, refuse_kernels, write_below};
use hythe_local::image_volumes::binds;
use hythe_oci::OwnershipMode;
use hythe_runtime::archives::{check_path, from_thread, to_thread};
use hythe_runtime::context::run_blocking;
use hythe_runtime::{
    ArchiveInput, ArchiveStream, Archives, Error, ErrorKind, FileInfo, InstanceRef, OpContext, Result,
};
use hythe_shim::Directory;
use hythe_shim::at_rest::{Bind, RootFiles, at_rest};
use hythe_shim::record::RootMount;

use crate::api_types::{OfSnapshot, SnapshotMounts, Status};
use crate::context::Context;
use crate::driver::Containerd;
use crate::record::{self, Found};
use crate::task;

/// An instance whose files are meant.
enum Target {
    /// The root of its main process.
    Running(File),
    /// It is not started as long as this lives.
    AtRest { directory: Directory, root: Vec<RootMount>, binds: Vec<Bind>, read_only: bool, _lock: File },
}

impl Target {
    /// Blocking.
    fn with<T: Send>(self, operation: &'static str, work: impl FnOnce(&File) -> Result<T> + Send) -> Result<T> {
        match self {
            Self::Running(root) => work(&root),
            Self::AtRest { directory, root, binds, read_only, _lock } => {
                at_rest(&directory, RootFiles::Mounts(&root), &binds, read_only, work)
                    .map_err(|fault| Error::new(ErrorKind::Unavailable, operation, fault.message))?
            }
        }
    }
}

async fn target(context: &Context, operation: &'static str, found: &Found) -> Result<Target> {
    let record = found.record.as_ref().ok_or_else(|| {
        let message = format!("`{}` was not made by Hythe, which does not know its mounts", found.name());
        Error::new(ErrorKind::Unsupported, operation, message)
    })?;
    let lock = context.lock_instance(operation, &record.id).await?;
    let process = task::get(context, operation, &record.id).await?;
    let is_running = |status| matches!(status, Status::Running | Status::Paused | Status::Pausing);
    if let Some(process) = process.filter(|process| is_running(process.status())) {
        let root = File::open(format!("/proc/{}/root", process.pid));
        let root = root.context(operation, "open the root of the instance")?;
        // Its number may have become another's.
        if !task::has_process(&record.id, process.pid) {
            let message = format!("`{}` ended before its files were opened", record.name);
            return Err(Error::new(ErrorKind::Conflict, operation, message).temporary(true).hint("try it again"));
        }
        return Ok(Target::Running(root));
    }
    let (snapshotter, key) = (found.container.snapshotter.clone(), found.container.snapshot_key.clone());
    let request = OfSnapshot { snapshotter, key };
    let mounts: SnapshotMounts = context.client.call(operation, "snapshots.v1.Snapshots/Mounts", &request).await?;
    let root = mounts.mounts.into_iter();
    let root = root.map(|mount| RootMount { kind: mount.kind, source: mount.source, options: mount.options });
    let directory = context.directory(&record.id);
    Ok(Target::AtRest {
        root: root.collect(),
        binds: binds(&context.volumes(), &record.plan, &record.volumes, &directory),
        directory,
        read_only: record.plan.read_only,
        _lock: lock,
    })
}

#[async_trait]
impl Archives for Containerd {
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo> {
        const OPERATION: &str = "archive-look";
        check_path(OPERATION, path)?;
        refuse_kernels(OPERATION, path)?;
        let look = async {
            let found = record::find(&self.context, OPERATION, instance).await?;
            let target = target(&self.context, OPERATION, &found).await?;
            let path = path.to_owned();
            run_blocking(OPERATION, move || target.with(OPERATION, |root| look_below(OPERATION, root, &path))).await
        };
        cx.with_deadline(OPERATION, look).await
    }

    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        const OPERATION: &str = "archive-read";
        check_path(OPERATION, path)?;
        refuse_kernels(OPERATION, path)?;
        let read = async {
            let found = record::find(&self.context, OPERATION, instance).await?;
            let target = target(&self.context, OPERATION, &found).await?;
            let path = path.to_owned();
            let read = move |out| target.with(OPERATION, |root| read_below(OPERATION, root, &path, out));
            from_thread(OPERATION, read).await
        };
        cx.with_deadline(OPERATION, read).await
    }

    async fn write(
        &self,
        cx: &OpContext,
        instance: &InstanceRef,
        directory: &str,
        archive: &ArchiveInput,
    ) -> Result<()> {
        const OPERATION: &str = "archive-write";
        check_path(OPERATION, directory)?;
        refuse_kernels(OPERATION, directory)?;
        let write = async {
            let found = record::own(&self.context, OPERATION, instance).await?;
            let target = target(&self.context, OPERATION, &found).await?;
            let (archive, path) = (archive.take(OPERATION)?, directory.to_owned());
            let write = move |archive: hythe_runtime::archives::PieceReader| {
                target.with(OPERATION, |root| {
                    write_below(OPERATION, root, &path, OwnershipMode::Root, io::BufReader::new(archive))
                })
            };
            to_thread(OPERATION, archive, write).await
        };
        cx.with_deadline(OPERATION, write).await
    }
}

//! Files of instances: of a running one through its main process's root, of another by mounting what it is made of.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use hythe_local::archives::{look_below, read_below, refuse_kernels, write_below};
use hythe_local::image_volumes::binds;
use hythe_oci::OwnershipMode;
use hythe_runtime::archives::{check_path, from_thread, to_thread};
use hythe_runtime::context::run_blocking;
use hythe_runtime::{
    ArchiveInput, ArchiveStream, Archives, Error, ErrorKind, FileInfo, InstanceRef, OpContext, Result,
    State as InstanceState,
};
use hythe_shim::Directory;
use hythe_shim::at_rest::{Bind, RootFiles, at_rest};
use hythe_shim::files::read_json;
use hythe_shim::record::{Config, Phase, State};
use serde::{Deserialize, Serialize};

use crate::context::{Context, SharedContext};
use crate::driver::Embedded;
use crate::error::{IoContext, from_shim};
use crate::instances::{Lock, Record};
use crate::{observe, userns_exec};

/// What is asked of an instance's files; a path each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Access {
    Look(String),
    Read(String),
    Write(String),
}

/// An instance whose files are meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    directory: PathBuf,
    /// Its main process; without one it does not run.
    pid: Option<i32>,
    binds: Vec<Bind>,
    read_only: bool,
}

impl Access {
    /// Does it, with the rights of this process. Blocking.
    pub(crate) fn of(
        &self,
        operation: &'static str,
        target: &Target,
        rights: OwnershipMode,
        archive: impl Read + Send,
        mut out: impl Write + Send,
    ) -> Result<()> {
        target.with(operation, |root| match self {
            Self::Look(path) => {
                let found = look_below(operation, root, path)?;
                let found = serde_json::to_vec(&found).context(operation, "say what is there")?;
                out.write_all(&found).and_then(|()| out.flush()).context(operation, "say what is there")
            }
            Self::Read(path) => read_below(operation, root, path, out),
            Self::Write(directory) => write_below(operation, root, directory, rights, archive),
        })
    }
}

impl Target {
    fn with<T: Send>(&self, operation: &'static str, work: impl FnOnce(&File) -> Result<T> + Send) -> Result<T> {
        if let Some(pid) = self.pid {
            let root = File::open(format!("/proc/{pid}/root")).context(operation, "open the root of the instance")?;
            // Its number may have become another's.
            let now = read_json::<State>(&Directory::new(&self.directory).state()).ok();
            if now.is_none_or(|now| now.pid != Some(pid) || now.phase != Phase::Running) {
                let message = "the instance ended before its files were opened";
                return Err(Error::new(ErrorKind::Conflict, operation, message).temporary(true).hint("try it again"));
            }
            return work(&root);
        }
        let directory = Directory::new(&self.directory);
        let config: Config = read_json(&directory.config()).context(operation, "read the instance")?;
        at_rest(&directory, RootFiles::Layers(&config), &self.binds, self.read_only, work)
            .map_err(|fault| from_shim(operation, &fault))?
    }
}

/// An archive between two processes, whose end is told: pieces with their length, an empty one at the end.
pub(crate) struct Framed<R> {
    source: R,
    left: usize,
    is_over: bool,
}

impl Framed<()> {
    /// Writes all that is read; no end where the reading fails.
    pub(crate) fn copy(source: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = source.read(&mut buffer)?;
            let word = u32::try_from(length).unwrap_or(u32::MAX);
            out.write_all(&word.to_le_bytes())?;
            out.write_all(&buffer[..length])?;
            if length == 0 {
                return out.flush();
            }
        }
    }
}

impl<R: Read> Framed<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, left: 0, is_over: false }
    }
}

impl<R: Read> Read for Framed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.is_over {
            let mut length = [0; 4];
            self.source.read_exact(&mut length)?;
            self.left = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
            self.is_over = self.left == 0;
        }
        if self.is_over || buffer.is_empty() {
            return Ok(0);
        }
        let most = buffer.len().min(self.left);
        let length = self.source.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length;
        Ok(length)
    }
}

/// Finds an instance's files; who does not run is not started as long as the lock lives. Blocking.
fn target(context: &Context, operation: &'static str, record: &Record) -> Result<(Target, Option<Lock>)> {
    let lock = context.instances.lock_instance(operation, &record.id)?;
    let seen = observe::state(context, operation, record)?;
    let directory = context.instances.directory(&record.id);
    let is_running = matches!(seen.state, InstanceState::Running | InstanceState::Paused);
    let pid = seen.recorded.and_then(|recorded| recorded.pid).filter(|_| is_running);
    let target = Target {
        binds: binds(&context.volumes(), &record.plan, &record.volumes, &directory),
        directory: directory.path().to_owned(),
        pid,
        read_only: record.plan.read_only,
    };
    Ok((target, pid.is_none().then_some(lock)))
}

/// Blocking.
fn access(
    context: &Context,
    operation: &'static str,
    record: &Record,
    access: Access,
    archive: impl Read + Send,
    out: impl Write + Send,
) -> Result<()> {
    let (target, _lock) = target(context, operation, record)?;
    match &context.host.user_namespace {
        None => access.of(operation, &target, OwnershipMode::Root, archive, out),
        Some(place) => userns_exec::archive(context, place, operation, (target, access), archive, out),
    }
}

#[async_trait]
impl Archives for Embedded {
    async fn look(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<FileInfo> {
        const OPERATION: &str = "archive-look";
        check_path(OPERATION, path)?;
        refuse_kernels(OPERATION, path)?;
        let (context, instance, path) = (self.context.clone(), instance.clone(), path.to_owned());
        let look = run_blocking(OPERATION, move || {
            let record = context.instances.find(OPERATION, &instance)?;
            let mut found = Vec::new();
            access(&context, OPERATION, &record, Access::Look(path), io::empty(), &mut found)?;
            serde_json::from_slice(&found).context(OPERATION, "read what is there")
        });
        cx.with_deadline(OPERATION, look).await
    }

    async fn read(&self, cx: &OpContext, instance: &InstanceRef, path: &str) -> Result<ArchiveStream> {
        const OPERATION: &str = "archive-read";
        check_path(OPERATION, path)?;
        refuse_kernels(OPERATION, path)?;
        let (context, instance, path) = (self.context.clone(), instance.clone(), path.to_owned());
        let read = from_thread(OPERATION, move |out| {
            let record = context.instances.find(OPERATION, &instance)?;
            access(&context, OPERATION, &record, Access::Read(path), io::empty(), out)
        });
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
        let archive = archive.take(OPERATION)?;
        let (context, instance, path): (SharedContext, _, _) =
            (self.context.clone(), instance.clone(), directory.to_owned());
        let write = to_thread(OPERATION, archive, move |archive| {
            let record = context.instances.own(OPERATION, &instance)?;
            access(&context, OPERATION, &record, Access::Write(path), archive, io::sink())
        });
        cx.with_deadline(OPERATION, write).await
    }
}

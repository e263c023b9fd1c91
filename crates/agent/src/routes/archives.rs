//! Files of workloads: what is there, and archives over a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hythe_api::{ArchiveStart, ArchiveWay, FileInfo, FileKind, FileQuery, WorkloadState};
use hythe_runtime::{ArchiveInput, ArchiveStream, Archives, Error, ErrorKind, OpContext, Runtime, Session, StdStream};
use hythe_spec::{Component, MountSource};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::sessions::{LARGEST, serve};
use crate::error::ApiResult;
use crate::{App, view};

/// A client that sends nothing of its archive for so long has forgotten it.
const PATIENCE: Duration = Duration::from_secs(600);
const IN_FLIGHT: usize = 4;

fn facet(runtime: &dyn Runtime) -> Result<&dyn Archives, Error> {
    runtime.archives().ok_or_else(|| {
        let name = &runtime.info().name;
        Error::new(
            ErrorKind::Unsupported,
            "archive",
            format!("runtime `{name}` cannot read or write files of instances"),
        )
    })
}

pub(crate) async fn look(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<FileQuery>,
) -> ApiResult<Json<FileInfo>> {
    let (runtime, id) = app.controller.instance(&name).await?;
    let found = facet(runtime.as_ref())?.look(&OpContext::new("archive"), &id, &query.path).await?;
    let hythe_runtime::FileInfo { kind, size, mode, target, owners } = found;
    let kind = match kind {
        hythe_runtime::FileKind::File => FileKind::File,
        hythe_runtime::FileKind::Directory => FileKind::Directory,
        hythe_runtime::FileKind::Symlink => FileKind::Symlink,
        hythe_runtime::FileKind::Other => FileKind::Other,
    };
    Ok(Json(FileInfo { kind, size, mode, target, owners }))
}

pub(crate) async fn archive(State(app): State<App>, Path(name): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(LARGEST).on_upgrade(move |socket| async move {
        serve(socket, |start: ArchiveStart| async move { begin(&app, &name, start).await }).await;
    })
}

async fn begin(app: &App, name: &str, start: ArchiveStart) -> Result<Session, Error> {
    let ArchiveStart { way, path, at_rest } = start;
    if at_rest {
        check_at_rest(app, name, &path)?;
    }
    let (runtime, id) = app.controller.instance(name).await?;
    let archives = facet(runtime.as_ref())?;
    let cx = OpContext::new("archive");
    match way {
        ArchiveWay::Read => {
            let pieces = archives.read(&cx, &id, &path).await?;
            let output = pieces.map_ok(|piece| (StdStream::Stdout, piece)).boxed();
            Ok(Session { stdin: None, output, resize: None, exit: Box::pin(std::future::ready(Ok(0))) })
        }
        ArchiveWay::Write => {
            // What does not fit at all is said before the client sends anything.
            let found = archives.look(&cx, &id, &format!("{}/", path.trim_end_matches('/'))).await?;
            if found.kind != hythe_runtime::FileKind::Directory {
                return Err(Error::new(ErrorKind::Invalid, "archive", format!("`{path}` is not a directory")));
            }
            let (stdin, pieces) = input();
            // It has no output but its end, and ends with the client.
            let written = async move {
                let archives = facet(runtime.as_ref())?;
                archives.write(&cx, &id, &path, &ArchiveInput::new(pieces)).await
            };
            let output = stream::once(written).filter_map(|written| std::future::ready(written.err().map(Err)));
            let exit = Box::pin(std::future::ready(Ok(0)));
            Ok(Session { stdin: Some(Box::pin(stdin)), output: output.boxed(), resize: None, exit })
        }
    }
}

/// Name and whose, of the volume that a component has at a path.
fn volume<'a>(component: &'a Component, path: &str) -> Option<(&'a str, bool)> {
    let clean = hythe_spec::mount::clean(path);
    let is_above = |target: &str| clean == target || clean.starts_with(&format!("{}/", target.trim_end_matches('/')));
    let mount =
        component.mounts.iter().filter(|mount| is_above(&mount.target)).max_by_key(|mount| mount.target.len())?;
    match &mount.source {
        MountSource::Volume { name, external } => Some((name, *external)),
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } => None,
    }
}

/// Refuses where the workload runs, or one that has the same volume.
fn check_at_rest(app: &App, name: &str, path: &str) -> Result<(), Error> {
    let state = app.controller.workload(name)?;
    let meant = volume(&state.desired.spec.component, path).map(|(name, external)| (name.to_owned(), external));
    let own = view::workload(&state);
    let users = app.controller.each_workload(|state| {
        let workload = view::workload(state);
        let mounts = &state.desired.spec.component.mounts;
        let has_it = meant.as_ref().is_some_and(|(volume, external)| {
            let is_it = |source: &MountSource| {
                matches!(source,
                MountSource::Volume { name, external: other } if name == volume && other == external)
            };
            let is_near = *external || workload.service == own.service;
            is_near && workload.runtime == own.runtime && mounts.iter().any(|mount| is_it(&mount.source))
        });
        let is_at_rest = matches!(
            workload.state,
            WorkloadState::Stopped | WorkloadState::Completed | WorkloadState::Failed | WorkloadState::Pending
        );
        ((has_it || workload.name == own.name) && !is_at_rest).then_some(workload.name)
    });
    let users: Vec<String> = users.into_iter().flatten().collect();
    if users.is_empty() {
        return Ok(());
    }
    let message = format!("`{path}` is in use by `{}`", users.join("`, `"));
    let hint = format!("stop it first (`hythe stop {}`), or write while it runs with `--live`", own.service);
    Err(Error::new(ErrorKind::Conflict, "archive", message).hint(hint))
}

/// What the client sends, and the archive that it is.
fn input() -> (Input, ArchiveStream) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let incomplete = || Error::new(ErrorKind::Cancelled, "archive", "the client left before its archive was complete");
    let silent = || {
        let message = format!("the client sent nothing for {} s", PATIENCE.as_secs());
        Error::new(ErrorKind::Timeout, "archive", message)
    };
    let pieces = stream::unfold(Some(receiver), move |receiver| async move {
        let mut receiver: mpsc::Receiver<Option<Bytes>> = receiver?;
        match tokio::time::timeout(PATIENCE, receiver.recv()).await {
            Ok(Some(Some(piece))) => Some((Ok(piece), Some(receiver))),
            Ok(Some(None)) => None,
            Ok(None) => Some((Err(incomplete()), None)),
            Err(_) => Some((Err(silent()), None)),
        }
    });
    (Input(PollSender::new(sender)), pieces.boxed())
}

/// Shutting it down says that the archive is complete; dropping it does not.
struct Input(PollSender<Option<Bytes>>);

impl Input {
    fn send(&mut self, cx: &mut Context<'_>, piece: Option<Bytes>) -> Poll<io::Result<()>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.0.poll_reserve(cx)).map_err(gone)?;
        Poll::Ready(self.0.send_item(piece).map_err(gone))
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.send(cx, Some(Bytes::copy_from_slice(bytes))))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send(cx, None)
    }
}

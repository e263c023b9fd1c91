//! Processes beside the main one.

mod ended;
mod process;
mod process_io;
mod users;

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hythe_local::IoContext;
use hythe_runtime::context::run_blocking;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{
    AttachRequest, Error, ErrorKind, Exec, ExecRequest, InstanceRef, OpContext, Result, Session, StdStream,
};
use hythe_shim::files::read_json;
use serde_json::Value;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) use self::ended::{Ended, TaskProcess, exit};
pub(crate) use self::process_io::{OnClose, Stdin, make_pipe, open_input};
use self::process_io::{Output, Pipes};
use self::users::Root;
use crate::api_types::{Any, Empty, ExecProcess, Started, Status};
use crate::attach;
use crate::context::{Context, SharedContext};
use crate::driver::Containerd;
use crate::error::exec_code;
use crate::image_load::fresh_id;
use crate::record::{self, Record, internal};
use crate::streams::EXECS;
use crate::task;

const OPERATION: &str = "exec";
/// The type of a process's specification.
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// Pieces of output that wait to be read.
const WAITS: usize = 16;

#[async_trait]
impl Exec for Containerd {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        request.workdir.as_deref().map_or(Ok(()), |path| check_workdir(OPERATION, path))?;
        let (context, instance, request) = (self.context.clone(), instance.clone(), request.clone());
        cx.run_detached(OPERATION, async move { exec(&context, &instance, &request).await }).await
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        cx.with_deadline("attach", attach::attach(&self.context, instance, request)).await
    }
}

/// An instance of ours that runs, with the pid of its main process.
pub(crate) async fn running(
    context: &Context,
    operation: &'static str,
    instance: &InstanceRef,
) -> Result<(Record, u32)> {
    let found = record::find(context, operation, instance).await?;
    let conflict = |what: &str| Error::new(ErrorKind::Conflict, operation, format!("`{}` {what}", found.name()));
    let process = task::get(context, operation, found.id()).await?.ok_or_else(|| conflict("is not running"))?;
    match process.status() {
        Status::Running => {}
        Status::Paused | Status::Pausing => return Err(conflict("is paused").hint("resume it first")),
        Status::Created | Status::Stopped | Status::Unknown => return Err(conflict("is not running")),
    }
    let name = found.name().to_owned();
    let record = found.record.ok_or_else(|| {
        let message = format!("`{name}` was not made by Hythe, which does not know its user and environment");
        Error::new(ErrorKind::Unsupported, operation, message).hint("use `ctr tasks exec` or `ctr tasks attach`")
    })?;
    Ok((record, process.pid))
}

/// What is to be executed, or why it cannot be.
enum Described {
    Process(Value),
    NoWorkdir(String),
}

/// Looks up what only the files of the container know. Blocking.
fn describe(context: &Context, record: &Record, pid: u32, request: &ExecRequest) -> Result<Described> {
    let path = context.directory(&record.id).at("config.json");
    let spec: Value = read_json(&path).context(OPERATION, format_args!("read `{}`", path.display()))?;
    let root = Root::of(pid)?;
    if !task::has_process(&record.id, pid) {
        let message = format!("`{}` is not running", record.name);
        return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
    }
    let user = request.user.as_deref().map(|user| root.user(user, &record.plan.group_add)).transpose()?;
    if let Some(why) = root.unusable(request.workdir.as_ref().unwrap_or(&record.command.workdir)) {
        return Ok(Described::NoWorkdir(why));
    }
    process::described(&record.command, &spec["process"], request, user.as_ref()).map(Described::Process)
}

async fn exec(context: &SharedContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
    let (record, pid) = running(context, OPERATION, instance).await?;
    let described = {
        let (context, record, request) = (context.clone(), record.clone(), request.clone());
        run_blocking(OPERATION, move || describe(&context, &record, pid, &request)).await?
    };
    let spec = match described {
        Described::Process(spec) => serde_json::to_vec(&spec).map_err(|error| internal(OPERATION, &error))?,
        Described::NoWorkdir(why) => return Ok(never_ran(126, &why)),
    };
    let process = TaskProcess {
        context: context.clone(),
        operation: OPERATION,
        container: record.id.clone(),
        exec: fresh_id(OPERATION)?,
    };
    let mut pipes = Pipes::new(&context.directory(&record.id).at(EXECS), &process.exec)?;
    let (to, pieces) = mpsc::channel(WAITS);
    let (stdin, input) = request.stdin.then(|| pipes.input()).transpose()?.unzip();
    let (stdout, out) = pipes.output(StdStream::Stdout, to.clone())?;
    // What has a terminal has one stream.
    let (stderr, err) = (!request.tty).then(|| pipes.output(StdStream::Stderr, to)).transpose()?.unzip();
    let made = ExecProcess {
        container_id: process.container.clone(),
        stdin: stdin.unwrap_or_default(),
        stdout,
        stderr: stderr.unwrap_or_default(),
        terminal: request.tty,
        spec: Some(Any { type_url: SPEC.to_owned(), value: spec }),
        exec_id: process.exec.clone(),
    };
    let (waiting, pid) = match start(&process, &made).await {
        Ok(started) => started,
        Err(error) => {
            process.delete().await;
            // It may have ended or been paused meanwhile, which is what to say then.
            running(context, OPERATION, instance).await?;
            return exec_code(error.message()).map(|code| never_ran(code, error.message())).ok_or(error);
        }
    };
    let ended = process.follow(waiting, request.timeout.map(|limit| (pid, limit)));
    if let Some(size) = request.size.filter(|_| request.tty)
        && let Err(error) = process.resize(size).await
    {
        tracing::debug!(container = %process.container, %error, "it has ended, or keeps its first size");
    }
    tokio::spawn(handed_on(process.clone(), pipes, out, err, ended.clone()));
    let on_close = Beside { process: process.clone(), tty: request.tty };
    let stdin =
        input.map(|pipe| Box::pin(Stdin::new(pipe, ended.clone(), on_close)) as Pin<Box<dyn AsyncWrite + Send>>);
    let resize = request.tty.then(|| process.sizes());
    Ok(Session { stdin, output: ReceiverStream::new(pieces).boxed(), resize, exit: exit(OPERATION, ended) })
}

/// Executes it; its end is waited for before.
async fn start(process: &TaskProcess, made: &ExecProcess) -> Result<(crate::client::Answers, u32)> {
    let client = &process.context.client;
    client.call::<Empty>(OPERATION, "tasks.v1.Tasks/Exec", made).await?;
    let waiting = process.wait().await?;
    let started: Started = client.call(OPERATION, "tasks.v1.Tasks/Start", &process.named()).await?;
    Ok((waiting, started.pid))
}

/// Hands its output on. What it started in the background may hold its streams open: deleting it closes them.
async fn handed_on(process: TaskProcess, pipes: Pipes, mut out: Output, mut err: Option<Output>, ended: ended::Ended) {
    both(&mut out, &mut err, &ended).await;
    ended.await;
    let deleted = {
        use futures_util::FutureExt;
        let process = process.clone();
        async move { process.delete().await }.boxed().shared()
    };
    both(&mut out, &mut err, &deleted).await;
    deleted.await;
    drop(pipes);
}

async fn both(out: &mut Output, err: &mut Option<Output>, ended: &(impl Future + Clone)) {
    let err = async {
        match err {
            Some(err) => err.hand_on(ended).await,
            None => true,
        }
    };
    tokio::join!(out.hand_on(ended), err);
}

/// A program that could not be executed ends as a shell would report it, with the reason on its stderr.
fn never_ran(code: i32, reason: &str) -> Session {
    let exit = Box::pin(std::future::ready(Ok(code)));
    let output = stream::iter([Ok((StdStream::Stderr, Bytes::from(format!("{reason}\n"))))]).boxed();
    Session { stdin: Some(Box::pin(tokio::io::sink())), output, resize: None, exit }
}

/// The stdin of a process beside the main one ends with its session.
struct Beside {
    process: TaskProcess,
    tty: bool,
}

impl OnClose for Beside {
    fn shut_down(&mut self) {
        // The end of a terminal's input would hang the terminal up.
        if !self.tty {
            self.process.close_stdin();
        }
    }

    fn dropped(&mut self) {
        self.shut_down();
    }
}

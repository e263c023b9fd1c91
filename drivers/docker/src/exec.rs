//! Processes inside containers, and the main process's own streams: a connection taken over from HTTP.

mod overdue;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error as Native;
use bollard::models::{ExecConfig, ExecStartConfig};
use futures_util::StreamExt;
use http::Method;
use hyper_util::rt::TokioIo;
use hythe_runtime::plan::check_workdir;
use hythe_runtime::{
    AttachRequest, Exec, ExecRequest, InstanceRef, OpContext, OutputStream, Result, Session, StdStream, TerminalSize,
};
use serde::Serialize;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;

use crate::api_types::{Created, ExecState};
use crate::client::{json, segment};
use crate::context::Context;
use crate::driver::Docker;
use crate::error::{broken, exit_code, said, translate};
use crate::stdcopy::frames;
use crate::translate::Engine;

/// No typed sequence may end a session: keys nobody has on a keyboard in this order.
pub(crate) const NO_DETACH: &str = "ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^";
const REFUSAL: &[u8] = b"OCI runtime exec failed: ";
/// What dockerd 20.10 writes in place of the output.
const NO_USER: [&[u8]; 2] = [b"unable to find user ", b"unable to find group "];
/// What Podman writes before its own words, and its exit code where its OCI runtime did not execute the command.
const PODMANS_REFUSAL: &[u8] = b"Error: ";
const PODMANS_OWN: i32 = 125;
pub(crate) const CHUNK: usize = 64 << 10;
/// The output may end a little before the engine has settled the exit code.
const SETTLE_STEP: Duration = Duration::from_millis(10);
const SETTLE_STEPS: u32 = 500;
/// How long a session waits for its terminal to have its first size.
const SIZING: Duration = Duration::from_secs(2);

#[async_trait]
impl Exec for Docker {
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        cx.with_deadline("exec", self.context.open_exec(instance, request)).await
    }

    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session> {
        cx.with_deadline("attach", self.context.open_attach(instance, *request)).await
    }
}

impl Context {
    async fn open_exec(&self, instance: &InstanceRef, request: &ExecRequest) -> Result<Session> {
        let ExecRequest { command, env, user, workdir, tty, stdin, size, timeout } = request;
        let deadline = timeout.map(|timeout| (tokio::time::Instant::now() + timeout, timeout));
        workdir.as_deref().map_or(Ok(()), |path| check_workdir("exec", path))?;
        let console = size.filter(|_| *tty).map(|size| vec![usize::from(size.rows), usize::from(size.columns)]);
        let config = ExecConfig {
            cmd: Some(command.clone()),
            env: Some(env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            user: user.clone(),
            working_dir: workdir.clone(),
            tty: Some(*tty),
            attach_stdin: Some(*stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            detach_keys: Some(NO_DETACH.to_owned()),
            console_size: console.clone(),
            privileged: None,
        };
        let failed = |error| translate("exec", instance.as_str(), error);
        let path = format!("/containers/{}/exec", segment(&self.whole_id("exec", instance).await?));
        let created: Created = self.client.post(&path, &[], &config).await.map_err(failed)?;
        let path = format!("/exec/{}", segment(&created.id));
        let first = size.filter(|_| *tty);
        let start = ExecStart {
            start: ExecStartConfig { detach: Some(false), tty: Some(*tty), console_size: console },
            rows: first.map(|size| size.rows),
            columns: first.map(|size| size.columns),
        };
        let sizing = |size| AbortOnDropHandle::new(tokio::spawn(self.clone().first_size(path.clone(), size)));
        // Dockerd before API 1.42 does not take the size at start, and has this request wait until then; Podman refuses it before.
        let early = first.filter(|_| self.engine == Engine::Docker).map(sizing);
        let upgraded =
            self.client.upgrade(&format!("{path}/start"), &[], json(&start).map_err(failed)?).await.map_err(failed)?;
        let limit = deadline.map(|(end, timeout)| overdue::limit(self.clone(), path.clone(), end, timeout));
        if let Some(sizing) = early.or_else(|| first.map(sizing)) {
            // What is typed comes after it. One that is not taken in time is no reason to end the process.
            let _ = tokio::time::timeout(SIZING, sizing).await;
        }
        let resize = tty.then(|| self.resizer(path.clone()));
        let context = self.clone();
        let refused = Refused::default();
        let seen = Arc::clone(&refused);
        let exit = Box::pin(async move {
            let code = context.exec_exit(&path).await?;
            limit.map_or(Ok(()), |limit| limit.met())?;
            match seen.get() {
                Some(Refusal::Code(code)) => Ok(*code),
                Some(Refusal::Podmans(known)) if code == PODMANS_OWN => Ok(*known),
                Some(Refusal::User(words)) if code == 126 => Err(said("exec", "", words, Some(400))),
                Some(Refusal::Podmans(_) | Refusal::User(_)) | None => Ok(code),
            }
        });
        let mut session = session("exec", upgraded, *tty, *stdin, resize, exit);
        session.output = note_refusal(session.output, refused);
        Ok(session)
    }

    async fn exec_exit(&self, path: &str) -> Result<i32> {
        for _ in 0..SETTLE_STEPS {
            let state = self.exec_state(path).await?;
            match state.exit_code {
                Some(code) if !state.running => return Ok(code),
                Some(_) | None => tokio::time::sleep(SETTLE_STEP).await,
            }
        }
        Err(broken("exec", "the process still runs although its output has ended"))
    }

    async fn exec_state(&self, path: &str) -> Result<ExecState> {
        self.client.get(&format!("{path}/json"), &[]).await.map_err(|error| translate("exec", "", error))
    }

    /// Gives a terminal its first size, until the engine takes it or the process has ended.
    async fn first_size(self, path: String, size: TerminalSize) {
        while let Err(error) = self.size(&path, size).await {
            let ended = |state: ExecState| !state.running && state.exit_code.is_some();
            if self.exec_state(&path).await.is_ok_and(ended) {
                tracing::debug!(%error, path, "the terminal has ended before it had a size");
                return;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
    }

    pub(crate) async fn size(&self, path: &str, size: TerminalSize) -> std::result::Result<(), Native> {
        let (rows, columns) = (size.rows.to_string(), size.columns.to_string());
        self.client.act(Method::POST, &format!("{path}/resize"), &[("h", &rows), ("w", &columns)]).await.map(drop)
    }

    /// Passes terminal sizes on until the session is dropped.
    pub(crate) fn resizer(&self, path: String) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(8);
        let context = self.clone();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                if let Err(error) = context.size(&path, size).await {
                    tracing::debug!(%error, path, "the terminal was not resized");
                }
            }
        });
        sender
    }
}

/// What starts a process. Podman takes the size of its terminal under names of its own.
#[derive(Debug, Serialize)]
struct ExecStart {
    #[serde(flatten)]
    start: ExecStartConfig,
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    rows: Option<u16>,
    #[serde(rename = "w", skip_serializing_if = "Option::is_none")]
    columns: Option<u16>,
}

/// Why a command could not be executed.
#[derive(Debug)]
enum Refusal {
    /// With the exit code that says so.
    Code(i32),
    /// With the exit code that Podman does not tell from its OCI runtime's words; a command might say that too.
    Podmans(i32),
    /// The image has no such user, in the engine's words; a command might say that too, but not end so.
    User(String),
}

type Refused = Arc<OnceLock<Refusal>>;

/// dockerd writes why a command could not be executed to its stdout, and 20.10 calls each reason 126.
fn note_refusal(output: OutputStream, refused: Refused) -> OutputStream {
    let mut first = true;
    output
        .map(move |part| match part {
            Ok((_, words)) if std::mem::take(&mut first) && words.starts_with(REFUSAL) => {
                let error = said("exec", "", &String::from_utf8_lossy(&words), None);
                if let Some(code) = exit_code(&error) {
                    let _ = refused.set(Refusal::Code(code));
                }
                Ok((StdStream::Stderr, words))
            }
            Ok((StdStream::Stderr, words)) if words.starts_with(PODMANS_REFUSAL) => {
                if let Some(code) = exit_code(&said("exec", "", &String::from_utf8_lossy(&words), None)) {
                    let _ = refused.set(Refusal::Podmans(code));
                }
                Ok((StdStream::Stderr, words))
            }
            Ok((stream, words)) if NO_USER.iter().any(|start| words.starts_with(start)) => {
                let _ = refused.set(Refusal::User(String::from_utf8_lossy(&words).trim().to_owned()));
                Ok((stream, words))
            }
            part => part,
        })
        .boxed()
}

fn session(
    operation: &'static str,
    upgraded: hyper::upgrade::Upgraded,
    tty: bool,
    stdin: bool,
    resize: Option<mpsc::Sender<TerminalSize>>,
    exit: futures_util::future::BoxFuture<'static, Result<i32>>,
) -> Session {
    let (output, input) = tokio::io::split(TokioIo::new(upgraded));
    let bytes = ReaderStream::with_capacity(output, CHUNK).map(|chunk| chunk.map_err(Into::into)).boxed();
    Session {
        stdin: stdin.then(|| Box::pin(input) as Pin<Box<dyn AsyncWrite + Send>>),
        output: frames(operation, bytes, tty).boxed(),
        resize,
        exit,
    }
}

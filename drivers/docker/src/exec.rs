//! Processes inside containers, and the main process's own streams: a connection taken over from HTTP.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ExecConfig, ExecStartConfig};
use futures_util::StreamExt;
use http::Method;
use hyper_util::rt::TokioIo;
use hythe_runtime::{
    AttachRequest, Exec, ExecRequest, InstanceId, OpContext, OutputStream, Result, Session, StdStream, TerminalSize,
};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::client::{json, segment};
use crate::core::Core;
use crate::error::{bounded, broken, exit_code, said, translate};
use crate::frames::frames;
use crate::native::{Created, ExecState};

/// No typed sequence may end a session: keys nobody has on a keyboard in this order.
pub(crate) const NO_DETACH: &str = "ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^";
const REFUSAL: &[u8] = b"OCI runtime exec failed: ";
pub(crate) const CHUNK: usize = 64 << 10;
/// The output may end a little before the engine has settled the exit code.
const SETTLE_STEP: Duration = Duration::from_millis(10);
const SETTLE_STEPS: u32 = 500;

#[async_trait]
impl Exec for Core {
    async fn exec(&self, cx: &OpContext, id: &InstanceId, request: &ExecRequest) -> Result<Session> {
        bounded(cx, "exec", self.open_exec(id, request)).await
    }

    async fn attach(&self, cx: &OpContext, id: &InstanceId, request: &AttachRequest) -> Result<Session> {
        bounded(cx, "attach", self.open_attach(id, *request)).await
    }
}

impl Core {
    async fn open_exec(&self, id: &InstanceId, request: &ExecRequest) -> Result<Session> {
        let ExecRequest { command, env, user, workdir, tty, stdin, size } = request;
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
        let failed = |error| translate("exec", &id.0, error);
        let path = format!("/containers/{}/exec", segment(&id.0));
        let created: Created = self.client.post(&path, &[], &config).await.map_err(failed)?;
        let path = format!("/exec/{}", segment(&created.id));
        let start = ExecStartConfig { detach: Some(false), tty: Some(*tty), console_size: console };
        let upgraded =
            self.client.upgrade(&format!("{path}/start"), &[], json(&start).map_err(failed)?).await.map_err(failed)?;
        let resize = tty.then(|| self.resizer(path.clone()));
        if let (Some(resize), Some(size)) = (&resize, size) {
            // An engine before API 1.42 does not take the size at start.
            let _ = resize.try_send(*size);
        }
        let core = self.clone();
        let refused = Refused::default();
        let seen = Arc::clone(&refused);
        let exit = Box::pin(async move {
            let code = core.exec_exit(&path).await?;
            Ok(seen.get().copied().unwrap_or(code))
        });
        let mut session = session("exec", upgraded, *tty, *stdin, resize, exit);
        session.output = note_refusal(session.output, refused);
        Ok(session)
    }

    async fn exec_exit(&self, path: &str) -> Result<i32> {
        for _ in 0..SETTLE_STEPS {
            let state: ExecState =
                self.client.get(&format!("{path}/json"), &[]).await.map_err(|error| translate("exec", "", error))?;
            match state.exit_code {
                Some(code) if !state.running => return Ok(code),
                Some(_) | None => tokio::time::sleep(SETTLE_STEP).await,
            }
        }
        Err(broken("exec", "the process still runs although its output has ended"))
    }

    /// Passes terminal sizes on until the session is dropped.
    pub(crate) fn resizer(&self, path: String) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(8);
        let client = self.client.clone();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let (rows, columns) = (size.rows.to_string(), size.columns.to_string());
                let resized =
                    client.act(Method::POST, &format!("{path}/resize"), &[("h", &rows), ("w", &columns)]).await;
                if let Err(error) = resized {
                    tracing::debug!(%error, path, "the terminal was not resized");
                }
            }
        });
        sender
    }
}

/// The exit code of a command that could not be executed.
type Refused = Arc<OnceLock<i32>>;

/// dockerd writes why a command could not be executed to its stdout, and 20.10 calls each reason 126.
fn note_refusal(output: OutputStream, refused: Refused) -> OutputStream {
    let mut first = true;
    output
        .map(move |part| match part {
            Ok((_, words)) if std::mem::take(&mut first) && words.starts_with(REFUSAL) => {
                let error = said("exec", "", &String::from_utf8_lossy(&words), None);
                if let Some(code) = exit_code(&error) {
                    let _ = refused.set(code);
                }
                Ok((StdStream::Stderr, words))
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

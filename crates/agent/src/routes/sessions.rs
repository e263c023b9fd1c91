//! Exec and attach over a WebSocket; see [`hythe_api::stream`] for the protocol.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use hythe_api::{AttachStart, ExecStart, SessionEnd, Size, channel};
use hythe_runtime::{AttachRequest, Error, ErrorKind, ExecRequest, OpContext, Session, StdStream, TerminalSize};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::App;
use crate::error::problem;

/// Largest message; bigger writes are split by the client.
pub(super) const LARGEST: usize = 1 << 20;
/// Time that the first message may take: until then a session is no more than a request.
const PATIENCE: Duration = Duration::from_secs(30);

type Stdin = Pin<Box<dyn AsyncWrite + Send>>;

pub(crate) async fn exec(State(app): State<App>, Path(name): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(LARGEST).on_upgrade(move |socket| async move {
        serve(socket, |start: ExecStart| async move { begin_exec(&app, &name, start).await }).await;
    })
}

pub(crate) async fn attach(State(app): State<App>, Path(name): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(LARGEST).on_upgrade(move |socket| async move {
        serve(socket, |start: AttachStart| async move { begin_attach(&app, &name, &start).await }).await;
    })
}

async fn begin_exec(app: &App, name: &str, start: ExecStart) -> Result<Session, Error> {
    let (runtime, id) = app.controller.instance(name).await?;
    let request = ExecRequest {
        command: start.command,
        env: start.env,
        user: start.user,
        workdir: start.workdir,
        tty: start.tty,
        stdin: start.stdin,
        size: start.size.map(terminal_size),
        timeout: None,
    };
    let facet = runtime.exec().ok_or_else(|| unsupported(&runtime.info().name))?;
    facet.exec(&OpContext::new("exec"), &id, &request).await
}

async fn begin_attach(app: &App, name: &str, start: &AttachStart) -> Result<Session, Error> {
    let (runtime, id) = app.controller.instance(name).await?;
    let facet = runtime.exec().ok_or_else(|| unsupported(&runtime.info().name))?;
    let request = AttachRequest { stdin: start.stdin, size: start.size.map(terminal_size) };
    facet.attach(&OpContext::new("attach"), &id, &request).await
}

fn unsupported(runtime: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "exec", format!("runtime `{runtime}` cannot run a process inside"))
}

const fn terminal_size(size: Size) -> TerminalSize {
    TerminalSize { columns: size.columns, rows: size.rows }
}

/// Reads the first message, begins the session, and carries it until the process or the client ends.
pub(super) async fn serve<S, F>(mut socket: WebSocket, begin: impl FnOnce(S) -> F)
where
    S: DeserializeOwned,
    F: Future<Output = Result<Session, Error>>,
{
    let begun = match first_message(&mut socket).await {
        Ok(start) => begin(start).await,
        Err(error) => Err(error),
    };
    let end = match begun {
        Ok(session) => match carry(&mut socket, session).await {
            Some(outcome) => outcome,
            None => return,
        },
        Err(error) => Err(error),
    };
    let end = match end {
        Ok(code) => SessionEnd { exit: Some(code), problem: None },
        Err(error) => SessionEnd { exit: None, problem: Some(problem(&error)) },
    };
    let mut message = vec![channel::END];
    message.extend(serde_json::to_vec(&end).unwrap_or_default());
    // A client that is gone does not care for the end.
    let _ = socket.send(Message::Binary(message.into())).await;
    let _ = socket.close().await;
}

async fn first_message<S: DeserializeOwned>(socket: &mut WebSocket) -> Result<S, Error> {
    let wrong = |text: String| Error::new(ErrorKind::Invalid, "session", text);
    match tokio::time::timeout(PATIENCE, socket.recv()).await {
        Ok(Some(Ok(Message::Text(text)))) => {
            serde_json::from_str(&text).map_err(|error| wrong(format!("the first message cannot be read: {error}")))
        }
        Ok(_) => Err(wrong("the first message must be text".to_owned())),
        Err(_) => Err(wrong(format!("there was no first message within {} s", PATIENCE.as_secs()))),
    }
}

/// Output to the client, input to the process. `None` when the client left first.
async fn carry(socket: &mut WebSocket, session: Session) -> Option<Result<i32, Error>> {
    let Session { stdin, mut output, resize, exit } = session;
    let (mut to_client, from_client) = socket.split();
    let feeding = feed(from_client, stdin, resize);
    tokio::pin!(feeding);
    loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                Some(Ok((stream, bytes))) => {
                    if to_client.send(Message::Binary(framed(stream, &bytes))).await.is_err() {
                        return None;
                    }
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            },
            () = &mut feeding => return None,
        }
    }
    Some(exit.await)
}

fn framed(stream: StdStream, bytes: &[u8]) -> Bytes {
    let channel = match stream {
        StdStream::Stdout => channel::STDOUT,
        StdStream::Stderr => channel::STDERR,
    };
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    message.into()
}

/// Carries the client's messages until it leaves.
async fn feed(
    mut from_client: SplitStream<&mut WebSocket>,
    mut stdin: Option<Stdin>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(Ok(message)) = from_client.next().await {
        let Message::Binary(message) = message else {
            if matches!(message, Message::Close(_)) {
                return;
            }
            continue;
        };
        match message.first() {
            Some(&channel::STDIN) => write(&mut stdin, &message[1..]).await,
            Some(&channel::STDIN_EOF) => close(&mut stdin).await,
            Some(&channel::RESIZE) => {
                if let (Ok(size), Some(resize)) = (serde_json::from_slice::<Size>(&message[1..]), &resize) {
                    // A terminal that is gone needs no size.
                    let _ = resize.send(terminal_size(size)).await;
                }
            }
            _ => {}
        }
    }
}

/// A process that has closed its stdin takes no more; the rest is dropped.
async fn write(stdin: &mut Option<Stdin>, bytes: &[u8]) {
    if let Some(writer) = stdin {
        let written = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            *stdin = None;
        }
    }
}

async fn close(stdin: &mut Option<Stdin>) {
    if let Some(mut writer) = stdin.take() {
        // Closing what the process has closed already is no fault.
        let _ = writer.shutdown().await;
    }
}

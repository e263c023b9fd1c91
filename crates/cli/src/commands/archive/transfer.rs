//! Bytes between a session and a thread that reads or writes an archive.

use std::io::{self, IsTerminal, Read, Write};

use futures_util::StreamExt;
use hythe_api::SessionEnd;
use hythe_client::{ClientError, Output, ProtocolError, Session, SessionInput, SessionOutput};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use crate::report::{Failure, Outcome};

const PIECE: usize = 64 << 10;
const IN_FLIGHT: usize = 4;

type Piece = Vec<u8>;

/// Shows on a terminal how much went through.
#[derive(Debug, Clone)]
pub(crate) struct Meter(ProgressBar);

impl Meter {
    pub(crate) fn new() -> Self {
        let is_shown = io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let style = ProgressStyle::with_template("{spinner} {bytes} ({bytes_per_sec})");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner())))
    }

    fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Reads pieces on a thread. The channel that closes without an empty piece is not complete.
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    piece: Piece,
    at: usize,
    is_complete: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.is_complete {
            self.piece = self
                .receiver
                .blocking_recv()
                .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the rest does not come"))?;
            self.at = 0;
            self.is_complete = self.piece.is_empty();
        }
        let length = buffer.len().min(self.piece.len() - self.at);
        buffer[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Writes pieces from a thread.
struct Sender {
    sender: mpsc::Sender<Piece>,
    piece: Piece,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn ended(end: SessionEnd) -> Outcome {
    match end {
        SessionEnd { problem: Some(problem), .. } => Err(ClientError::from(problem).into()),
        SessionEnd { exit: Some(0), .. } => Ok(()),
        SessionEnd { .. } => Err(truncated()),
    }
}

fn truncated() -> Failure {
    ClientError::from(ProtocolError::Truncated { path: "archive".to_owned() }).into()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|lost| Err(io::Error::other(lost).into()))
}

/// Gives the archive of a session to a thread. What the agent says goes before what half an archive made of the thread.
pub(crate) async fn receive<T: Send + 'static>(
    session: Session,
    meter: Meter,
    work: impl FnOnce(&mut dyn Read) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let Session { input: _input, output } = session;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let working = blocking(move || work(&mut Pieces { receiver, piece: Vec::new(), at: 0, is_complete: false }));
    let (fed, done) = tokio::join!(feed(output, sender, &meter), working);
    meter.finish();
    match (fed, done) {
        (Err(failure), _) => Err(failure),
        (Ok(()), done) => done,
    }
}

async fn feed(mut output: SessionOutput, sender: mpsc::Sender<Piece>, meter: &Meter) -> Outcome {
    while let Some(item) = output.next().await {
        match item? {
            Output::Stdout(bytes) if bytes.is_empty() => {}
            Output::Stdout(bytes) => {
                meter.add(bytes.len());
                // A thread that failed says why.
                if sender.send(bytes.to_vec()).await.is_err() {
                    return Ok(());
                }
            }
            Output::Stderr(_) => {}
            Output::End(end) => {
                ended(end)?;
                let _ = sender.send(Vec::new()).await;
                return Ok(());
            }
        }
    }
    Err(truncated())
}

/// Sends what a thread writes as the archive of a session; complete only where the thread succeeds.
pub(crate) async fn send<T: Send + 'static>(
    session: Session,
    meter: Meter,
    work: impl FnOnce(&mut dyn Write) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let Session { input, mut output } = session;
    let (sender, pieces) = mpsc::channel(IN_FLIGHT);
    let working = blocking(move || {
        let mut sender = Sender { sender, piece: Vec::with_capacity(PIECE) };
        let done = work(&mut sender)?;
        sender.flush()?;
        Ok(done)
    });
    let passing = pass_on(input, pieces, working, &meter);
    tokio::pin!(passing);
    let mut sent = None;
    let end = loop {
        tokio::select! {
            item = output.next() => match item {
                Some(Ok(Output::End(end))) => break Ok(end),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(error.into()),
                None => break Err(truncated()),
            },
            done = &mut passing, if sent.is_none() => match done {
                Ok(done) => sent = Some(done),
                // The session ends without the archive's end.
                Err(failure) => { meter.finish(); return Err(failure) },
            },
        }
    };
    meter.finish();
    ended(end?)?;
    sent.ok_or_else(truncated)
}

/// Waits for the agent's end where it takes no more.
async fn pass_on<T>(
    mut input: SessionInput,
    mut pieces: mpsc::Receiver<Piece>,
    working: impl Future<Output = Outcome<T>>,
    meter: &Meter,
) -> Outcome<T> {
    let sending = async {
        while let Some(piece) = pieces.recv().await {
            if input.write(&piece).await.is_err() {
                // Why is in the other direction.
                return std::future::pending().await;
            }
            meter.add(piece.len());
        }
    };
    let (done, ()) = tokio::join!(working, sending);
    let done = done?;
    if input.end().await.is_err() {
        return std::future::pending().await;
    }
    Ok(done)
}

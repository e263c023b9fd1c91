//! What a main process writes, from now on, read from its log: `podman attach` would end its stdin, and adds a line feed.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt;
use hythe_runtime::{Error, ErrorKind, OutputStream, Result, StdStream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::api_types::Container;
use crate::k8s_file::RawParser;
use crate::logs::{BUSY, IDLE, Monitor, open, rotated};

const CHUNK: usize = 64 * 1024;
const QUEUE: usize = 16;

type Sender = mpsc::Sender<Result<(StdStream, Bytes)>>;

/// The output of a running instance from now on, until its end.
pub(crate) async fn from_now(container: &Container) -> Result<OutputStream> {
    let path = PathBuf::from(&container.host_config.log_config.path);
    let (id, shown) = (container.id.clone(), path.display().to_string());
    let failed = move |cause: io::Error| {
        let message = format!("`{id}`: its log `{shown}` cannot be read: {cause}");
        Error::new(ErrorKind::Unavailable, "attach", message).source(cause)
    };
    let file = at_end(&path).await.map_err(&failed)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut reader = Reader { path, file, parser: RawParser::default(), sender };
    let monitor = Monitor::of(container.state.conmon_pid);
    tokio::spawn(async move {
        if let Err(cause) = reader.follow(monitor).await {
            let _nobody_listens = reader.sender.send(Err(failed(cause))).await;
        }
    });
    Ok(ReceiverStream::new(receiver).boxed())
}

async fn at_end(path: &std::path::Path) -> io::Result<Option<File>> {
    let mut file = open(path).await?;
    if let Some(file) = &mut file {
        file.seek(SeekFrom::End(0)).await?;
    }
    Ok(file)
}

struct Reader {
    path: PathBuf,
    /// `None`: nothing was written yet.
    file: Option<File>,
    parser: RawParser,
    sender: Sender,
}

impl Reader {
    async fn follow(&mut self, monitor: Option<Monitor>) -> io::Result<()> {
        loop {
            // Asked before reading: what is written before the end is then surely read.
            let over = monitor.as_ref().is_none_or(Monitor::is_over);
            let Some(file) = &mut self.file else {
                self.file = open(&self.path).await?;
                if self.file.is_none() && (over || self.rest(IDLE).await) {
                    return Ok(());
                }
                continue;
            };
            let next = rotated(&self.path, file).await?;
            // It may have grown between its end and its replacement; now it grows no more.
            let grown = self.drain().await?;
            if next.is_some() {
                self.file = next;
            } else if over || self.rest(if grown { BUSY } else { IDLE }).await {
                return Ok(());
            }
        }
    }

    /// Reads to the end of the file; says whether there was anything.
    async fn drain(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let mut chunk = vec![0; CHUNK];
        let mut grown = false;
        loop {
            let length = file.read(&mut chunk).await?;
            if length == 0 || self.sender.is_closed() {
                return Ok(grown);
            }
            grown = true;
            for written in self.parser.feed(&chunk[..length]) {
                let _nobody_listens = self.sender.send(Ok(written)).await;
            }
        }
    }

    /// Waits a moment; says whether nobody listens any more.
    async fn rest(&self, time: std::time::Duration) -> bool {
        tokio::time::timeout(time, self.sender.closed()).await.is_ok()
    }
}

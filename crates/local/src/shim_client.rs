//! Speaking to shims: starting one, and asking a living one over its socket.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use hythe_runtime::{Error, ErrorKind, Result};
use hythe_shim::protocol::{self, Answer, HEAD, Request, kind};
use hythe_shim::record::ExitStatus;
use hythe_shim::{Directory, Report};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;

use crate::{IoContext, from_shim};

/// What lists of processes show, wherever the program is.
const NAME: &str = "hythe";

/// Starts a shim and hears how far it came. Blocking.
pub fn shim(program: &Path, verb: &str, directory: &Directory, operation: &'static str) -> Result<Report> {
    let what = || format!("start the supervisor `{}`", program.display());
    let log = File::options().create(true).append(true).open(directory.at("shim.log")).context(operation, what())?;
    let mut child = Command::new(program)
        .arg0(NAME)
        .args(["shim", verb])
        .arg(directory.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context(operation, what())?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context(operation, what())?;
    }
    // It has gone at once; who speaks is its child.
    child.wait().context(operation, what())?;
    serde_json::from_str(&line).map_err(|_| {
        let log = std::fs::read_to_string(directory.at("shim.log")).unwrap_or_default();
        let last = log.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(": ");
        Error::new(ErrorKind::Unavailable, operation, format!("the supervisor died without a message: {last}"))
    })
}

/// A connection to a living shim. `None`: none answers there (any more).
pub async fn connect(operation: &'static str, directory: &Directory) -> Result<Option<UnixStream>> {
    use std::io::ErrorKind as Io;
    let Ok((_open, path)) = directory.socket() else { return Ok(None) };
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Some(stream)),
        // One that ends resets who waited to be heard.
        Err(error) if matches!(error.kind(), Io::NotFound | Io::ConnectionRefused | Io::ConnectionReset) => Ok(None),
        Err(error) => Err(error).context(operation, "reach the supervisor"),
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Asked {
    /// The connection, for what follows, with a terminal where one came.
    Done(UnixStream, Option<OwnedFd>),
    /// The shim has gone meanwhile.
    Gone,
}

/// Sends a request with descriptors and reads its answer.
pub async fn ask(
    operation: &'static str,
    directory: &Directory,
    request: &Request,
    descriptors: &[BorrowedFd<'_>],
) -> Result<std::result::Result<Asked, hythe_shim::ShimError>> {
    let Some(stream) = connect(operation, directory).await? else { return Ok(Ok(Asked::Gone)) };
    let framed = protocol::frame_json(kind::REQUEST, request)
        .map_err(|error| Error::new(ErrorKind::Internal, operation, error.to_string()))?;
    if send(&stream, &framed, descriptors).await.is_err() {
        return Ok(Ok(Asked::Gone));
    }
    match receive(&stream).await {
        Ok(Some((frame, terminal))) => {
            let answer: Answer = serde_json::from_slice(&frame)
                .map_err(|error| Error::new(ErrorKind::Internal, operation, error.to_string()))?;
            Ok(answer.map(|()| Asked::Done(stream, terminal)))
        }
        Ok(None) | Err(_) => Ok(Ok(Asked::Gone)),
    }
}

/// [`ask`] for what needs nothing else; `false`: the shim has gone.
pub async fn tell(operation: &'static str, directory: &Directory, request: &Request) -> Result<bool> {
    match ask(operation, directory, request, &[]).await? {
        Ok(Asked::Done(..)) => Ok(true),
        Ok(Asked::Gone) => Ok(false),
        Err(fault) => Err(from_shim(operation, &fault)),
    }
}

async fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        stream.writable().await?;
        let outcome = stream.try_io(tokio::io::Interest::WRITABLE, || {
            let mut space = [const { std::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(3))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !descriptors.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let rest = [std::io::IoSlice::new(&bytes[sent..])];
            Ok(sendmsg(stream.as_fd(), &rest, &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        match outcome {
            Ok(length) => sent += length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the answer's frame, byte by byte no further than its end.
async fn receive(stream: &UnixStream) -> std::io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut terminal = None;
    let mut bytes = Vec::new();
    let mut wanted = HEAD;
    loop {
        stream.readable().await?;
        let mut piece = vec![0; wanted - bytes.len()];
        let outcome = stream.try_io(tokio::io::Interest::READABLE, || {
            let mut space = [const { std::mem::MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut into = [std::io::IoSliceMut::new(&mut piece)];
            let received = recvmsg(stream.as_fd(), &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(mut fds) = message {
                    terminal = fds.next();
                }
            }
            Ok(received.bytes)
        });
        match outcome {
            Ok(0) => return Ok(None),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if bytes.len() == wanted {
            if wanted > HEAD || bytes[1..] == [0; 4] {
                return Ok(Some((bytes.split_off(HEAD), terminal)));
            }
            let head = bytes.first_chunk().copied().and_then(protocol::head);
            let Some((_, length)) = head else { return Err(std::io::ErrorKind::InvalidData.into()) };
            wanted += length;
        }
    }
}

/// The next frame of a connection; `None`: it has ended.
pub async fn next_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await.ok()?;
    let (kind, length) = protocol::head(head)?;
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await.ok()?;
    Some((kind, content))
}

/// The end that a connection tells; `None`: it ended without.
pub async fn end(stream: &mut (impl AsyncRead + Unpin)) -> Option<ExitStatus> {
    loop {
        let (kind, content) = next_frame(stream).await?;
        if kind == protocol::kind::END {
            return serde_json::from_slice(&content).ok();
        }
    }
}

//! Files of instances as tar streams: of trees on this host, and through an engine's HTTP API.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use hythe_oci::OwnershipMode;
use hythe_oci::tree_archive::{Extract, Kind, Named, Owner, Pass, Read, extract, look, pass, read};
use hythe_runtime::archives::{PieceReader, SILENCE, from_thread, not_silent, opened};
use hythe_runtime::{ArchiveStream, Error, ErrorKind, FileInfo, FileKind, Result};
use serde::Deserialize;
use tokio::time::Instant;

/// How often it is asked whether an engine still takes an archive.
const LOOK: Duration = Duration::from_secs(1);

fn of_oci(operation: &'static str) -> impl Fn(hythe_oci::Error) -> Error {
    move |error| {
        let said = Error::new(error.kind().into(), operation, error.to_string());
        match error.next_step() {
            Some(hint) => said.hint(hint),
            None => said,
        }
    }
}

/// What is at a path below a root. Blocking.
///
/// # Errors
/// As [`hythe_runtime::Archives::look`].
pub fn look_below(operation: &'static str, root: &File, path: &str) -> Result<FileInfo> {
    let found = look(root, Path::new(path)).map_err(of_oci(operation))?;
    let kind = match found.kind {
        Kind::File => FileKind::File,
        Kind::Directory => FileKind::Directory,
        Kind::Symlink => FileKind::Symlink,
        Kind::Other => FileKind::Other,
    };
    let target = found.target.map(|target| target.to_string_lossy().into_owned());
    Ok(FileInfo { kind, size: found.size, mode: found.mode, target, owners: true })
}

/// Reads a path below a root. Blocking.
///
/// # Errors
/// As [`hythe_runtime::Archives::read`].
pub fn read_below(operation: &'static str, root: &File, path: &str, out: impl io::Write) -> Result<()> {
    let what = Read { path: Path::new(path), named: Named::Relative, owner: Owner::Kept };
    read(root, what, out).map(drop).map_err(of_oci(operation))
}

/// Extracts below a root. Blocking.
///
/// # Errors
/// As [`hythe_runtime::Archives::write`].
pub fn write_below(
    operation: &'static str,
    root: &File,
    directory: &str,
    rights: OwnershipMode,
    archive: impl io::Read,
) -> Result<()> {
    let how = Extract { into: Path::new(directory), rename: None, owner: Owner::Kept, rights };
    extract(root, how, archive).map(drop).map_err(of_oci(operation))
}

/// The name by which an engine calls what it reads at a path; of `/` and of paths that end with a slash it has none.
fn name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Refuses what the kernel shows as files, which is none of an engine's files either, whatever it answers.
///
/// # Errors
/// `Invalid`.
pub fn refuse_kernels(operation: &'static str, path: &str) -> Result<()> {
    let clean = hythe_spec::mount::clean(path);
    if !["/proc", "/sys"].iter().any(|of| clean == *of || clean.starts_with(&format!("{of}/"))) {
        return Ok(());
    }
    let message = format!("`{path}` is the kernel's and not a file of the instance");
    Err(Error::new(ErrorKind::Invalid, operation, message).hint("use `hythe exec` to look at it"))
}

/// What an engine is asked for in place of a path: a directory with `/.` behind it is called `.` by Podman.
pub fn engine_path(path: &str) -> &str {
    let rest = path.trim_end_matches("/.");
    if rest.len() < path.len() { &path[..=rest.len()] } else { path }
}

/// The path that is meant by one with a slash behind it where an engine has found a link there, which Podman does not
/// follow; `None`: it is a directory, or there is no slash.
///
/// # Errors
/// `Invalid` for what is no directory.
pub fn behind_link(operation: &'static str, path: &str, found: &FileInfo) -> Result<Option<String>> {
    match (found.kind, &found.target) {
        _ if !path.ends_with('/') => Ok(None),
        (FileKind::Directory, _) => Ok(None),
        (FileKind::Symlink, Some(target)) if target.starts_with('/') => {
            Ok(Some(format!("{}/", engine_path(target).trim_end_matches('/'))))
        }
        _ => Err(no_directory(operation, path)),
    }
}

/// The refusal of a path that is no directory.
pub fn no_directory(operation: &'static str, path: &str) -> Error {
    Error::new(ErrorKind::Invalid, operation, format!("`{path}` is not a directory"))
}

/// The refusal of a path with too many links.
pub fn circle(operation: &'static str, path: &str) -> Error {
    Error::new(ErrorKind::Invalid, operation, format!("`{path}` leads through too many links"))
}

/// Links that are followed one after the other.
pub const MOST_LINKS: usize = 40;

/// What engines say where something is in the way.
const CONFLICTS: [&str; 5] =
    ["cannot overwrite", "read-only", "device or resource busy", "file exists", "not a directory"];

/// An engine's refusal to write, whose words say that something is in the way.
pub fn refused(error: Error) -> Error {
    let words = error.message().to_lowercase();
    let is_conflict = CONFLICTS.iter().any(|phrase| words.contains(phrase));
    if is_conflict && error.kind() != ErrorKind::Exhausted {
        return Error::new(ErrorKind::Conflict, error.operation(), error.message().to_owned()).source(error);
    }
    error
}

/// What an engine reads at a path, with the names of the seam.
///
/// # Errors
/// Those of the stream before its first byte; `Invalid` for what is no archive.
pub async fn from_engine(operation: &'static str, path: &str, engine: ArchiveStream) -> Result<ArchiveStream> {
    let engine = opened(not_silent(operation, engine)).await?;
    let (reader, feeding) = PieceReader::new(engine);
    let failure = reader.failure();
    let name = name(path).to_owned();
    from_thread(operation, move |out| {
        let _feeding = feeding;
        let passed = pass(reader, Pass::From(name.as_ref()), out).map(drop).map_err(of_oci(operation));
        passed.map_err(|error| failure.take().unwrap_or(error))
    })
    .await
}

/// An archive on its way into a request.
#[derive(Debug)]
pub struct Upload {
    state: Arc<Mutex<Progress>>,
    operation: &'static str,
}

/// Body of a request with an archive.
pub type UploadBody = BoxStream<'static, io::Result<Bytes>>;

#[derive(Debug)]
struct Progress {
    failed: Option<Error>,
    /// When the engine last took something; `None` while it waits for more.
    taken: Option<Instant>,
}

/// Checks an archive on its way to an engine.
pub fn to_engine(operation: &'static str, archive: ArchiveStream) -> (Upload, UploadBody) {
    let state = Arc::new(Mutex::new(Progress { failed: None, taken: Some(Instant::now()) }));
    let checked = stream::once(async move {
        let (reader, feeding) = PieceReader::new(archive);
        let failure = reader.failure();
        let checked = from_thread(operation, move |out| {
            let _feeding = feeding;
            // What the source says goes before what half of it looks like.
            let passed = pass(reader, Pass::To, out).map(drop).map_err(of_oci(operation));
            passed.map_err(|error| failure.take().unwrap_or(error))
        });
        checked.await.unwrap_or_else(|error| stream::once(async move { Err(error) }).boxed())
    });
    let mut checked = checked.flatten().boxed();
    let shared = Arc::clone(&state);
    let body = stream::poll_fn(move |cx| {
        let next = checked.as_mut().poll_next(cx);
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = next.is_ready().then(Instant::now);
        next.map(|item| {
            item.map(|piece| {
                piece.map_err(|error| {
                    let said = io::Error::other(error.message().to_owned());
                    state.failed = Some(error);
                    said
                })
            })
        })
    });
    (Upload { state, operation }, body.boxed())
}

impl Upload {
    /// Waits for the answer to the request that has the body: what was wrong with the archive goes before what the engine
    /// says of half of it, and an engine that takes nothing for [`SILENCE`] is not waited for.
    ///
    /// # Errors
    /// Those of the archive and of the request; `Timeout`.
    pub async fn answered<T>(self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let state = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if state().taken.is_some_and(|taken| taken.elapsed() > SILENCE) {
                    let message = format!("the engine took nothing for {} s", SILENCE.as_secs());
                    return Error::new(ErrorKind::Timeout, self.operation, message);
                }
            }
        };
        let answer = tokio::select! {
            answer = request => answer,
            silent = silent => Err(silent),
        };
        match (answer, state().failed.take()) {
            (Err(_), Some(error)) => Err(error),
            (answer, _) => answer,
        }
    }
}

/// What engines say of a path in a header, `X-Docker-Container-Path-Stat`.
#[derive(Debug, Deserialize)]
struct PathStat {
    size: i64,
    /// As Go's `FileMode` has it.
    mode: u32,
    #[serde(default, rename = "linkTarget")]
    link_target: String,
}

/// Name of the header that [`of_header`] reads.
pub const PATH_STAT: &str = "x-docker-container-path-stat";
const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_OTHER: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
/// Go's bit and that of the mode.
const GO_SPECIAL: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];

/// Reads what an engine says of a path in a header, and whether its archives have the owners of files.
///
/// # Errors
/// `Internal` for what cannot be read.
pub fn of_header(operation: &'static str, value: Option<&[u8]>, owners: bool) -> Result<FileInfo> {
    let stat = value.and_then(|value| base64::engine::general_purpose::STANDARD.decode(value).ok());
    let stat: Option<PathStat> = stat.and_then(|json| serde_json::from_slice(&json).ok());
    let stat = stat
        .ok_or_else(|| Error::new(ErrorKind::Internal, operation, "what the engine says of the path cannot be read"))?;
    let kind = match stat.mode {
        mode if mode & GO_DIRECTORY != 0 => FileKind::Directory,
        mode if mode & GO_SYMLINK != 0 => FileKind::Symlink,
        mode if mode & GO_OTHER != 0 => FileKind::Other,
        _ => FileKind::File,
    };
    let special = GO_SPECIAL.iter().filter(|(go, _)| stat.mode & go != 0).map(|(_, bit)| bit);
    let mode = special.fold(stat.mode & 0o777, |mode, bit| mode | bit);
    let target = Some(stat.link_target).filter(|target| !target.is_empty() && kind == FileKind::Symlink);
    Ok(FileInfo { kind, size: u64::try_from(stat.size).unwrap_or(0), mode, target, owners })
}

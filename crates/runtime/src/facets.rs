//! Optional operations: a runtime that has one returns it, so "cannot" shows in the type.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use hythe_spec::{BuildNetwork, ImageRef, Platform, Signal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

use crate::{ImageHealth, InstanceRef, OpContext, Result};

/// Where progress of a long operation goes; a full channel drops the report, it never slows the work.
pub type ProgressSink = mpsc::Sender<Progress>;

/// One report of progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is about: a layer's short digest, a build step; empty for the whole.
    pub item: String,
    /// What is being done, in a word or two: `downloading`, `extracting`, `done`; for builds a line of output.
    pub status: String,
    /// Bytes done, where known.
    pub current: Option<u64>,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}

/// An image in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Id: digest of its configuration, `sha256:…`.
    pub id: String,
    /// Full references that name it (`docker.io/library/alpine:3`), sorted.
    pub tags: Vec<String>,
    /// Digests under which registries know it (`host/path@sha256:…`; `<none>@sha256:…` where the path is not known any more), sorted.
    pub digests: Vec<String>,
    /// Size in bytes as the engine counts it.
    pub size: u64,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What it says of its process; a list does not tell.
    pub config: Option<ImageConfig>,
    /// The kind of machine that it is for, where it says so; a list does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an image says of the process that it is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Entrypoint.
    pub entrypoint: Vec<String>,
    /// Command.
    pub command: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Signal that asks it to stop.
    pub stop_signal: Option<Signal>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its own health check; the agent does it, never the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ImageHealth>,
}

/// An image as its registry knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteImage {
    /// Digest of the manifest the tag names now, `sha256:…`.
    pub digest: String,
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// Name for the result.
    pub image: ImageRef,
    /// Absolute directory with the files.
    pub context: PathBuf,
    /// Absolute path of the Dockerfile.
    pub dockerfile: PathBuf,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels for the result.
    pub labels: BTreeMap<String, String>,
    /// Ignore earlier results.
    pub no_cache: bool,
    /// What network its commands have.
    #[serde(default)]
    pub network: BuildNetwork,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOutput {
    /// Id of the image.
    pub id: String,
}

/// Images in the engine and at registries. Credentials come from the usual auth files.
#[async_trait]
pub trait Images: Send + Sync {
    /// Fetches an image, also when one of that name is there already. Absent at the registry: `NotFound`; credentials refused: `Unauthorized`;
    /// registry unreachable: `Unavailable`. Any error in the engine's progress stream is an error here. Two pulls of one image at once both succeed.
    ///
    /// `platform` is the kind of machine to fetch it for, `None`: the host's. A registry that has no image for it: `Invalid`, where its index says so;
    /// what an image without an index is for is told in the answer. The name then means that image, whichever it meant before.
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image>;
    /// The image in the engine; absent: `NotFound`.
    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image>;
    /// All images with a name, sorted by first tag.
    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>>;
    /// Removes a name, and the image with its last name. Absent: success; used by an instance: `Conflict`.
    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()>;
    /// Images that no instance was made from, running or not, ours or not; snapshots are left out. One without a tag is dangling.
    /// Sorted by first tag, then by id.
    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>>;
    /// Removes an image without a tag by its whole id, with what only it stands on. Absent: success; it has a tag, or an instance uses it: `Conflict`.
    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()>;
    /// Gives an image one more name. Absent source: `NotFound`.
    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()>;
    /// Uploads an image to the registry its name says. Absent in the engine: `NotFound`.
    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()>;
    /// Builds from a Dockerfile; each output line is a [`Progress`]. A failing step is `Invalid` with its last lines.
    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput>;
    /// Takes the images of an archive (a file of `docker save`, `podman save` or `hythe image pack`) under the names in it; `name` is for the one
    /// that has none in it. There already: success. A file that cannot be read, is no such archive, or names no image is `Invalid`; so is a `name`
    /// where not exactly one image lacks one, and then nothing is taken.
    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>>;
    /// Asks the registry itself, downloading no layer. Absent: `NotFound`; refused: `Unauthorized`; unreachable: `Unavailable`.
    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage>;
}

/// One of a process's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StdStream {
    /// Standard output; everything, where there is a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which log lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only the last so many lines (0: none); `None`: all.
    pub tail: Option<u64>,
    /// Only lines written at or after this.
    pub since: Option<Timestamp>,
    /// Only lines written before this; a follow ends there.
    pub until: Option<Timestamp>,
    /// Go on until the instance ends.
    pub follow: bool,
}

/// One line of output, byte-exact, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Stream it was written to.
    pub stream: StdStream,
    /// When it was written, where the engine keeps that.
    pub time: Option<Timestamp>,
    /// Its bytes without the line feed, at most [`MAX_LOG_LINE`](crate::MAX_LOG_LINE).
    pub line: Bytes,
    /// Whether a line feed followed (false for an unterminated last line, and for a part that is not the last).
    pub terminated: bool,
    /// The line was longer: the next part is the next [`LogLine`] of this stream, with the same time.
    pub partial: bool,
    /// Lines before it are missing: the engine rotated them away before this reader came to them. Only where the engine lets that be known.
    pub after_gap: bool,
}

/// Log lines in the order they were written.
pub type LogStream = BoxStream<'static, Result<LogLine>>;

/// Logs kept by the engine.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Lines of an instance, running or not. Never started: an empty stream. Absent: `NotFound`.
    /// Nothing is lost at rotation or at exit but what a reader comes to too late, see [`LogLine::after_gap`]; a follow ends when the instance
    /// ends, after its last line.
    /// A line longer than [`MAX_LOG_LINE`](crate::MAX_LOG_LINE) comes in parts. A tail counts lines, not parts, and holds
    /// [`MAX_LOG_TAIL`](crate::MAX_LOG_TAIL) bytes at most: what is older is left out.
    async fn logs(&self, cx: &OpContext, instance: &InstanceRef, options: &LogOptions) -> Result<LogStream>;
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// A process to run inside an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment over the instance's.
    pub env: BTreeMap<String, String>,
    /// User; `None`: the instance's.
    pub user: Option<String>,
    /// Working directory; `None`: the instance's.
    pub workdir: Option<String>,
    /// With a terminal.
    pub tty: bool,
    /// With stdin open.
    pub stdin: bool,
    /// First size of the terminal.
    pub size: Option<TerminalSize>,
    /// The longest it may take; then it is killed with its process group, and the session's exit is a `Timeout`, whoever still has the session.
    pub timeout: Option<Duration>,
}

/// How to connect to the main process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// Also to its stdin (only where the plan kept it open).
    pub stdin: bool,
    /// Size of its terminal from now on, before anything is typed.
    pub size: Option<TerminalSize>,
}

/// Output of a process as it comes.
pub type OutputStream = BoxStream<'static, Result<(StdStream, Bytes)>>;

/// A connection to a process.
pub struct Session {
    /// Its stdin, where asked for; shutting it down is end of file for the process.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// Its output, byte-exact, ending when the process has closed it, and no later than with the process: what it left in the background may hold it open. Stdout and stderr apart unless there is a terminal.
    pub output: OutputStream,
    /// Takes new terminal sizes, where there is a terminal.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Its exit code, once it ended; await it after `output` is drained.
    pub exit: BoxFuture<'static, Result<i32>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stdin", &self.stdin.is_some())
            .field("tty", &self.resize.is_some())
            .finish_non_exhaustive()
    }
}

/// Processes inside instances.
#[async_trait]
pub trait Exec: Send + Sync {
    /// Runs a process inside a running instance. Instance absent: `NotFound`; not running or paused: `Conflict`; command absent (127), or not executable or without its working directory (126 or 127): the session's exit code.
    /// No such user in the image, or a working directory below `/proc` or `/sys`: `Invalid`, from here or from the session's exit.
    async fn exec(&self, cx: &OpContext, instance: &InstanceRef, request: &ExecRequest) -> Result<Session>;
    /// Connects to the main process of a running instance. Absent: `NotFound`; not running: `Conflict`. Dropping the session leaves the process alone.
    async fn attach(&self, cx: &OpContext, instance: &InstanceRef, request: &AttachRequest) -> Result<Session>;
}

/// Resource use of an instance at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsSample {
    /// Processor time used so far, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory in use, in bytes, without reclaimable cache where the engine says.
    pub memory_bytes: u64,
    /// Memory limit in bytes; `None`: none.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes received over all networks.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent over all networks.
    pub network_tx_bytes: Option<u64>,
    /// Bytes read from block devices.
    pub block_read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub block_write_bytes: Option<u64>,
}

/// Resource use.
#[async_trait]
pub trait Stats: Send + Sync {
    /// One sample of a running instance. Absent: `NotFound`; not running: `Conflict`.
    async fn sample(&self, cx: &OpContext, instance: &InstanceRef) -> Result<StatsSample>;
}

/// A network to make: a bridge with name resolution among its members and outbound NAT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name in the engine.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Without a route out.
    pub internal: bool,
}

/// A network in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The engine's driver: `bridge`.
    pub driver: String,
    /// Subnets in CIDR form, sorted.
    pub subnets: Vec<String>,
}

/// Networks of the engine.
#[async_trait]
pub trait Networks: Send + Sync {
    /// Makes a network. One of that name with the same owner label: success; held by anything else: `AlreadyExists`. Two racing calls make one.
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()>;
    /// All networks, sorted by name.
    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>>;
    /// Removes a network of this owner. Absent: success; in use, or without the owner's label: `Conflict`, and it stays.
    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()>;
}

/// A named volume to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its name in the engine.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A named volume of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its files are on the engine's host, where it says.
    pub path: Option<String>,
}

/// Named volumes of the engine.
#[async_trait]
pub trait Volumes: Send + Sync {
    /// Makes a volume. One of that name with the same owner label: success, its data untouched; held by anything else: `AlreadyExists`.
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()>;
    /// All named volumes, sorted by name.
    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>>;
    /// Removes a volume of this owner and its data. Absent: success; in use by any instance, running or not: `Conflict` naming the users; without the
    /// owner's label: `Conflict`, and it stays.
    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()>;
}

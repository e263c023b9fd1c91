//! Builds by the engine's classic builder: the directory as an archive, streamed, its output line by line.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http::Method;
use hythe_runtime::{BuildOutput, BuildRequest, Error, ErrorKind, Progress, ProgressSink, Result};
use hythe_spec::{BuildNetwork, ImageRef};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::context::Context;
use crate::dockerignore::Ignore;
use crate::error::{said, translate};
use crate::images::{Reports, last_lines};
use crate::registry::{auth_document, secret_header};
use crate::translate::Engine;
use hythe_local::http::Body;

const OPERATION: &str = "build";
const IGNORE_FILE: &str = ".dockerignore";
/// Name in the archive of a Dockerfile from elsewhere.
const FOREIGN_DOCKERFILE: &str = ".hythe.dockerfile";
const CHUNK: usize = 64 << 10;
const CHUNKS_AHEAD: usize = 8;
/// Lines of output that an error repeats.
const LAST_LINES: usize = 12;

impl Context {
    pub(crate) async fn build_image(&self, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        let BuildRequest { image, context, dockerfile, args, labels, no_cache, network } = request;
        // Podman's compatible API takes no notice of the network of a build (seen on 4.3): its commands have the host's.
        if self.engine == Engine::Podman && *network == BuildNetwork::None {
            let message = "podman builds without a network only by its own command line";
            return Err(Error::new(ErrorKind::Unsupported, OPERATION, message).hint("use the runtime `podman`"));
        }
        let text = tokio::fs::read_to_string(dockerfile).await;
        let text = text.map_err(|error| unreadable(dockerfile).source(error))?;
        let source = Source::new(context, dockerfile).await?;
        let headers = secret_header(OPERATION, "x-registry-config", &base_auth(&text).await?)?;
        let (args, labels) = (serde_json::json!(args).to_string(), serde_json::json!(labels).to_string());
        let (tag, file) = (image.to_string(), source.dockerfile.clone());
        let no_cache = if *no_cache { "1" } else { "0" };
        let query = [
            ("t", tag.as_str()),
            ("dockerfile", &file),
            ("buildargs", &args),
            ("labels", &labels),
            ("nocache", no_cache),
            ("networkmode", network.word()),
            ("rm", "1"),
            ("forcerm", "1"),
        ];
        let mut headers = headers;
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-tar"));
        let bytes = self.client.stream(Method::POST, "/build", &query, &headers, source.archive()).await;
        let reports = Reports::new(OPERATION, bytes.map_err(|error| translate(OPERATION, &tag, error))?);
        let built = output(reports, progress).await?;
        match built {
            Some(id) => Ok(BuildOutput { id }),
            None => Ok(BuildOutput { id: self.image(OPERATION, image).await?.id }),
        }
    }
}

fn unreadable(path: &Path) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION, format!("`{}` cannot be read", path.display()))
}

/// Credentials for the registries of the base images that the Dockerfile names in full.
async fn base_auth(dockerfile: &str) -> Result<serde_json::Value> {
    let mut documents = serde_json::Map::new();
    for image in bases(dockerfile) {
        if let Some(document) = auth_document(OPERATION, &image).await? {
            documents.insert(hythe_oci::auth::server_address(&image).to_owned(), document);
        }
    }
    Ok(serde_json::Value::Object(documents))
}

fn bases(dockerfile: &str) -> Vec<ImageRef> {
    let lines = dockerfile.lines().map(str::split_whitespace);
    lines
        .filter_map(|mut words| {
            words
                .next()
                .filter(|word| word.eq_ignore_ascii_case("from"))
                .and_then(|_| words.find(|word| !word.starts_with("--")))
        })
        .filter(|word| *word != "scratch" && !word.contains('$'))
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Passes output on to its end; the image's id where the engine says it.
async fn output(mut reports: Reports, progress: &ProgressSink) -> Result<Option<String>> {
    let (mut id, mut last, mut partial) = (None, VecDeque::new(), String::new());
    while let Some(report) = reports.next().await? {
        if let Some(words) = report.error {
            return Err(failed(&words, &last));
        }
        if let Some(aux) = report.aux.as_ref().and_then(|aux| aux.get("ID")).and_then(serde_json::Value::as_str) {
            id = Some(aux.to_owned());
        }
        partial.push_str(report.stream.as_deref().unwrap_or_default());
        partial.push_str(&report.status.map(|status| format!("{status}\n")).unwrap_or_default());
        while let Some(end) = partial.find('\n') {
            let line: String = partial.drain(..=end).collect();
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                continue;
            }
            last.push_back(line.clone());
            if last.len() > LAST_LINES {
                last.pop_front();
            }
            // A full channel drops the report.
            let _ = progress.try_send(Progress { item: String::new(), status: line, current: None, total: None });
        }
    }
    Ok(id)
}

fn failed(words: &str, last: &VecDeque<String>) -> Error {
    let kind = said(OPERATION, "", words, Some(400)).kind();
    let message = format!("{words}; the last lines were:{}", last_lines(last));
    // Whatever a step's own output looks like, a step that fails is the user's to mend.
    let kind = if words.contains("non-zero") || words.contains("exit status") { ErrorKind::Invalid } else { kind };
    Error::new(kind, OPERATION, message)
}

/// What is sent.
#[derive(Debug)]
struct Source {
    context: PathBuf,
    /// The Dockerfile's name in the archive.
    dockerfile: String,
    /// Where it is when it is not in the context.
    foreign: Option<PathBuf>,
    ignore: Ignore,
}

impl Source {
    async fn new(context: &Path, dockerfile: &Path) -> Result<Self> {
        let metadata = tokio::fs::metadata(context).await.map_err(|error| unreadable(context).source(error))?;
        if !metadata.is_dir() {
            return Err(Error::new(
                ErrorKind::Invalid,
                OPERATION,
                format!("`{}` is not a directory", context.display()),
            ));
        }
        let inside = dockerfile.strip_prefix(context).ok().map(|path| path.to_string_lossy().into_owned());
        let foreign = inside.is_none().then(|| dockerfile.to_owned());
        let own_ignore = PathBuf::from(format!("{}{IGNORE_FILE}", dockerfile.display()));
        let mut ignore = Ignore::default();
        for path in [own_ignore, context.join(IGNORE_FILE)] {
            match tokio::fs::read_to_string(&path).await {
                Ok(text) => {
                    ignore = Ignore::parse(&text);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path).source(error)),
            }
        }
        Ok(Self {
            context: context.to_owned(),
            dockerfile: inside.unwrap_or_else(|| FOREIGN_DOCKERFILE.to_owned()),
            foreign,
            ignore,
        })
    }

    /// The archive, made while it is sent.
    fn archive(self) -> Body {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut pipe = Pipe { sender: sender.clone(), buffer: BytesMut::with_capacity(CHUNK) };
            if let Err(error) = self.pack(&mut pipe) {
                // Nobody listens any more: then nobody needs to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        bollard::body_try_stream(ReceiverStream::new(receiver))
    }

    fn pack(&self, pipe: &mut Pipe) -> io::Result<()> {
        let mut archive = tar::Builder::new(pipe);
        archive.follow_symlinks(false);
        self.pack_directory(&mut archive, Path::new(""))?;
        if let Some(path) = &self.foreign {
            append(&mut archive, path, Path::new(&self.dockerfile), &std::fs::metadata(path)?)?;
        }
        archive.into_inner()?.flush()
    }

    fn pack_directory(&self, archive: &mut tar::Builder<&mut Pipe>, below: &Path) -> io::Result<()> {
        let mut names: Vec<_> = std::fs::read_dir(self.context.join(below))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let inner = below.join(name);
            let metadata = std::fs::symlink_metadata(self.context.join(&inner))?;
            let excluded = self.is_excluded(&inner);
            if !excluded {
                append(archive, &self.context.join(&inner), &inner, &metadata)?;
            }
            if metadata.is_dir() && (!excluded || self.ignore.has_exceptions()) {
                self.pack_directory(archive, &inner)?;
            }
        }
        Ok(())
    }

    /// As the docker command does, the Dockerfile and the ignore file go along whatever the patterns say.
    fn is_excluded(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        text != self.dockerfile && text != IGNORE_FILE && self.ignore.excludes(&text)
    }
}

/// One entry, owned by root, without its content where it has none; sockets and devices are left out.
fn append(archive: &mut tar::Builder<&mut Pipe>, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_dir() {
        archive.append_data(&mut header, name.join(""), io::empty())
    } else if metadata.is_symlink() {
        archive.append_link(&mut header, name, std::fs::read_link(path)?)
    } else if metadata.is_file() {
        // A file that grows meanwhile must not spoil the archive.
        let file = io::Read::take(std::fs::File::open(path)?, metadata.len());
        archive.append_data(&mut header, name, file)
    } else {
        Ok(())
    }
}

/// Writes into a channel of chunks.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

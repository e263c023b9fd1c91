//! Images from an archive, streamed to the engine.

use std::path::Path;

use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hythe_runtime::{Error, ErrorKind, Image, Progress, ProgressSink, Result};
use hythe_spec::ImageRef;
use tokio_util::io::ReaderStream;

use crate::client::segment;
use crate::context::Context;
use crate::error::{said, translate};
use crate::images::Reports;
use crate::registry::of_registry;

const OPERATION: &str = "load";

impl Context {
    pub(crate) async fn load_archive(
        &self,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        let path = archive.display().to_string();
        if name.is_some() {
            check_one_unnamed(archive).await?;
        }
        let file = tokio::fs::File::open(archive).await;
        let file = file.map_err(|error| invalid(format!("`{path}` cannot be read")).source(error))?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))]);
        let body = bollard::body_try_stream(ReaderStream::new(file));
        let bytes = self.client.stream(Method::POST, "/images/load", &[("quiet", "1")], &headers, body).await;
        let bytes = bytes.map_err(|error| of_archive(&path, translate(OPERATION, &path, error)))?;
        let mut reports = Reports::new(OPERATION, bytes);
        let (mut images, mut unnamed) = (Vec::new(), Vec::new());
        while let Some(report) = reports.next().await? {
            if let Some(words) = report.error {
                return Err(of_archive(&path, said(OPERATION, &path, &words, None)));
            }
            for line in report.stream.iter().flat_map(|text| text.lines()) {
                // A full channel drops the report.
                let line = line.to_owned();
                unnamed.extend(without_name(&line).map(str::to_owned));
                if let Some(name) = loaded(&line) {
                    images.push(self.image(OPERATION, &name).await?);
                }
                let _ = progress.try_send(Progress { item: String::new(), status: line, current: None, total: None });
            }
        }
        if let Some(name) = name {
            let [id] = unnamed.as_slice() else {
                return Err(invalid(format!("`{path}`: the engine found {} images without a name", unnamed.len())));
            };
            self.tag_image(OPERATION, &segment(id), name).await?;
            images.push(self.image(OPERATION, name).await?);
        }
        let nameless = || invalid(format!("`{path}` names no image")).hint("give it a name with `--name`");
        if images.is_empty() { Err(nameless()) } else { Ok(images) }
    }
}

/// Before the engine is given anything.
async fn check_one_unnamed(archive: &Path) -> Result<()> {
    let archive = archive.to_owned();
    let checked = tokio::task::spawn_blocking(move || hythe_oci::check_one_unnamed(&archive)).await;
    let lost = |error| Error::new(ErrorKind::Internal, OPERATION, "the archive was not read to its end").source(error);
    checked.map_err(lost)?.map_err(|error| of_registry(OPERATION, error))
}

fn invalid(words: String) -> Error {
    Error::new(ErrorKind::Invalid, OPERATION, words)
}

/// What the engine cannot read is the archive's fault unless its words say otherwise.
fn of_archive(path: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::NotFound => invalid(format!("`{path}` cannot be loaded: {}", error.message())),
        _ => error,
    }
}

/// `Loaded image: a`; without a name dockerd says `Loaded image ID: …`, and podman the id in the place of the name.
fn loaded(line: &str) -> Option<ImageRef> {
    line.strip_prefix("Loaded image: ").filter(|_| without_name(line).is_none())?.trim().parse().ok()
}

fn without_name(line: &str) -> Option<&str> {
    let id = line.strip_prefix("Loaded image ID: ").or_else(|| line.strip_prefix("Loaded image: "))?.trim();
    let digits = id.strip_prefix("sha256:")?;
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

//! Images from an archive, streamed to the engine.

use std::path::Path;

use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hythe_runtime::{Error, ErrorKind, Image, Progress, ProgressSink, Result};
use hythe_spec::ImageRef;
use tokio_util::io::ReaderStream;

use crate::core::Core;
use crate::error::{said, translate};
use crate::images::Reports;

const OPERATION: &str = "load";

impl Core {
    pub(crate) async fn load_archive(&self, archive: &Path, progress: &ProgressSink) -> Result<Vec<Image>> {
        let path = archive.display().to_string();
        let file = tokio::fs::File::open(archive).await;
        let file = file.map_err(|error| invalid(format!("`{path}` cannot be read")).source(error))?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))]);
        let body = bollard::body_try_stream(ReaderStream::new(file));
        let bytes = self.client.stream(Method::POST, "/images/load", &[("quiet", "1")], &headers, body).await;
        let bytes = bytes.map_err(|error| of_archive(&path, translate(OPERATION, &path, error)))?;
        let mut reports = Reports::new(OPERATION, bytes);
        let mut images = Vec::new();
        while let Some(report) = reports.next().await? {
            if let Some(words) = report.error {
                return Err(of_archive(&path, said(OPERATION, &path, &words, None)));
            }
            for line in report.stream.iter().flat_map(|text| text.lines()) {
                // A full channel drops the report.
                let line = line.to_owned();
                if let Some(name) = loaded(&line) {
                    images.push(self.image(OPERATION, &name).await?);
                }
                let _ = progress.try_send(Progress { item: String::new(), status: line, current: None, total: None });
            }
        }
        if images.is_empty() { Err(invalid(format!("`{path}` names no image"))) } else { Ok(images) }
    }
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

/// `Loaded image: a`; without a name it says `Loaded image ID: …`.
fn loaded(line: &str) -> Option<ImageRef> {
    line.strip_prefix("Loaded image: ")?.trim().parse().ok()
}

//! Images of the engine: pull and push with progress, list, get, tag, remove; digests are asked of the registry itself.

use std::fmt::Write as _;
use std::path::Path;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method};
use hythe_oci::auth::{Credential, Files, server_address};
use hythe_oci::{Kind, Registry, RegistryConfig};
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, Images, OpContext, Progress, ProgressSink, RemoteImage, Result,
};
use hythe_spec::ImageRef;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::client::ByteStream;
use crate::core::Core;
use crate::error::{bounded, broken, carried, is_absent, listing, said, translate};
use crate::native::{ImageRow, Report};
use crate::translate::{image_config, reference, timestamp};

/// What a reference is made of, beside letters and digits.
const IN_REFERENCES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b':').remove(b'@');

#[async_trait]
impl Images for Core {
    async fn pull(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<Image> {
        bounded(cx, "pull", self.pull_image(image, progress)).await
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        bounded(cx, "get image", self.image("get image", image)).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        bounded(cx, "list images", async {
            let rows: Vec<ImageRow> =
                self.client.get("/images/json", &[]).await.map_err(|error| listing("list images", error))?;
            let mut images: Vec<Image> =
                rows.into_iter().map(described).filter(|image| !image.tags.is_empty()).collect();
            images.sort_by(|a, b| a.tags.cmp(&b.tags));
            Ok(images)
        })
        .await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let (core, image) = (self.clone(), image.clone());
        carried(cx, "remove image", async move { core.remove_image("remove image", &image).await }).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let (core, path) = (self.clone(), format!("/images/{}/tag", in_path(image)));
        let (repository, tag) = (name.repository(), name.tag.clone().unwrap_or_else(|| "latest".to_owned()));
        let subject = image.to_string();
        carried(cx, "tag", async move {
            let tagged = core.client.act(Method::POST, &path, &[("repo", &repository), ("tag", &tag)]).await;
            tagged.map(drop).map_err(|error| translate("tag", &subject, error))
        })
        .await
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        bounded(cx, "push", self.push_image(image, progress)).await
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        bounded(cx, "build", self.build_image(request, progress)).await
    }

    async fn load(&self, cx: &OpContext, archive: &Path, progress: &ProgressSink) -> Result<Vec<Image>> {
        bounded(cx, "load", self.load_archive(archive, progress)).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        bounded(cx, "resolve", async {
            let config = RegistryConfig {
                insecure: self.config.insecure_registries.clone(),
                auth: auth_files(),
                ..RegistryConfig::default()
            };
            let registry = Registry::new(config).map_err(|error| of_registry("resolve", error))?;
            let resolved = registry.resolve(image).await.map_err(|error| of_registry("resolve", error))?;
            Ok(RemoteImage { digest: resolved.digest })
        })
        .await
    }
}

impl Core {
    pub(crate) async fn image(&self, operation: &'static str, image: &ImageRef) -> Result<Image> {
        let row: ImageRow = self
            .client
            .get(&format!("/images/{}/json", in_path(image)), &[])
            .await
            .map_err(|error| translate(operation, &image.to_string(), error))?;
        Ok(described(row))
    }

    pub(crate) async fn remove_image(&self, operation: &'static str, image: &ImageRef) -> Result<()> {
        match self.client.act(Method::DELETE, &format!("/images/{}", in_path(image)), &[]).await {
            Err(error) if is_absent(&error) => Ok(()),
            done => done.map(drop).map_err(|error| translate(operation, &image.to_string(), error)),
        }
    }

    async fn pull_image(&self, image: &ImageRef, progress: &ProgressSink) -> Result<Image> {
        let (repository, version) = (image.repository(), image.digest.clone().or_else(|| image.tag.clone()));
        let version = version.unwrap_or_else(|| "latest".to_owned());
        let query = [("fromImage", repository.as_str()), ("tag", version.as_str())];
        let headers = registry_auth("pull", image).await?;
        let failed = |error| translate("pull", &image.to_string(), error);
        let bytes = self
            .client
            .stream(Method::POST, "/images/create", &query, &headers, bollard::body_full(Bytes::new()))
            .await;
        self.follow("pull", image, bytes.map_err(failed)?, progress).await?;
        self.image("pull", image).await
    }

    async fn push_image(&self, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        self.image("push", image).await?;
        let headers = registry_auth("push", image).await?;
        let path = format!("/images/{}/push", utf8_percent_encode(&image.repository(), IN_REFERENCES));
        let tag = image.tag.clone().unwrap_or_else(|| "latest".to_owned());
        let bytes =
            self.client.stream(Method::POST, &path, &[("tag", &tag)], &headers, bollard::body_full(Bytes::new())).await;
        let bytes = bytes.map_err(|error| translate("push", &image.to_string(), error))?;
        self.follow("push", image, bytes, progress).await
    }

    /// Passes progress on to its end; an error among it is an error.
    async fn follow(
        &self,
        operation: &'static str,
        image: &ImageRef,
        bytes: ByteStream,
        progress: &ProgressSink,
    ) -> Result<()> {
        let mut reports = Reports::new(operation, bytes);
        while let Some(report) = reports.next().await? {
            if let Some(words) = report.error {
                return Err(said(operation, &image.to_string(), &words, None));
            }
            if let Some(status) = report.status {
                let count = |number: Option<i64>| {
                    number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
                };
                let (current, total) = (count(report.detail.current), count(report.detail.total));
                // A full channel drops the report.
                let _ = progress.try_send(Progress {
                    item: report.id.unwrap_or_default(),
                    status: status_word(&status),
                    current,
                    total,
                });
            }
        }
        Ok(())
    }
}

/// The JSON documents of a long answer.
pub(crate) struct Reports {
    operation: &'static str,
    bytes: ByteStream,
    buffer: BytesMut,
}

impl Reports {
    pub(crate) fn new(operation: &'static str, bytes: ByteStream) -> Self {
        Self { operation, bytes, buffer: BytesMut::new() }
    }

    /// The next one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Report>> {
        loop {
            let ended = match self.buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    let line = self.buffer.split_to(at + 1);
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    return self.read(&line).map(Some);
                }
                None => match self.bytes.next().await {
                    Some(chunk) => {
                        self.buffer.extend_from_slice(&chunk.map_err(|error| translate(self.operation, "", error))?);
                        false
                    }
                    None => true,
                },
            };
            if ended {
                let rest = self.buffer.split();
                return if rest.trim_ascii().is_empty() { Ok(None) } else { self.read(&rest).map(Some) };
            }
        }
    }

    fn read(&self, line: &[u8]) -> Result<Report> {
        serde_json::from_slice(line)
            .map_err(|error| broken(self.operation, "its progress cannot be read").source(error))
    }
}

fn status_word(status: &str) -> String {
    match status {
        "Pull complete" | "Already exists" | "Pushed" | "Layer already exists" => "done".to_owned(),
        other => other.to_lowercase(),
    }
}

pub(crate) fn in_path(image: &ImageRef) -> String {
    utf8_percent_encode(&reference(image), IN_REFERENCES).to_string()
}

fn described(row: ImageRow) -> Image {
    let created = match &row.created {
        serde_json::Value::Number(seconds) => seconds.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        serde_json::Value::String(text) => timestamp(text),
        _ => None,
    };
    let id = if row.id.contains(':') { row.id } else { format!("sha256:{}", row.id) };
    Image {
        id,
        tags: full(row.repo_tags),
        digests: full(row.repo_digests),
        size: row.size,
        created,
        config: row.config.map(image_config),
    }
}

/// Engines shorten names; here they are whole. `<none>:<none>` is no name.
pub(crate) fn full(names: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> =
        names.iter().filter_map(|name| name.parse::<ImageRef>().ok()).map(|image| image.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

fn auth_files() -> Files {
    Files::from_env(&|name| std::env::var(name).ok())
}

fn of_registry(operation: &'static str, error: hythe_oci::Error) -> Error {
    let kind = match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Unauthorized => ErrorKind::Unauthorized,
        Kind::Unavailable => ErrorKind::Unavailable,
        Kind::Invalid => ErrorKind::Invalid,
        Kind::Exhausted => ErrorKind::Exhausted,
        Kind::Internal => ErrorKind::Internal,
    };
    let translated = Error::new(kind, operation, error.to_string()).temporary(error.is_temporary());
    match error.next_step() {
        Some(hint) => translated.hint(hint),
        None => translated,
    }
}

/// What the API calls an auth configuration.
pub(crate) async fn auth_document(operation: &'static str, image: &ImageRef) -> Result<Option<serde_json::Value>> {
    let server = server_address(image);
    let found = auth_files().find(image).await.map_err(|error| of_registry(operation, error))?;
    Ok(found.map(|credential| match credential {
        Credential::Password { username, password } => {
            json!({ "username": username, "password": password, "serveraddress": server })
        }
        Credential::Token(token) => json!({ "identitytoken": token, "serveraddress": server }),
    }))
}

/// The header that carries credentials; a push needs one even without any.
async fn registry_auth(operation: &'static str, image: &ImageRef) -> Result<HeaderMap> {
    let document = auth_document(operation, image).await?.unwrap_or_else(|| json!({}));
    secret_header(operation, "x-registry-auth", &document)
}

/// A document in a header, kept out of logs.
pub(crate) fn secret_header(
    operation: &'static str,
    name: &'static str,
    document: &serde_json::Value,
) -> Result<HeaderMap> {
    let unusable =
        |error| Error::new(ErrorKind::Invalid, operation, "the credentials do not fit a header").source(error);
    let mut value = HeaderValue::try_from(URL_SAFE.encode(document.to_string())).map_err(unusable)?;
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    Ok(headers)
}

/// The last lines of some output, for an error.
pub(crate) fn last_lines<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        let _ = write!(text, "\n  {line}");
        text
    })
}

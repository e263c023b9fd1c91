//! Images of the engine: pull and push with progress, list, get, tag, remove; digests are asked of the registry itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::Method;
use hythe_oci::{Kind, Registry, RegistryConfig};
use hythe_runtime::snapshots::snapshot_of;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, ImageHealth, Images, OpContext, Progress, ProgressSink,
    RemoteImage, Result,
};
use hythe_spec::{ImageRef, Platform};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::api_types::{ContainerRow, ImageRow, Report};
use crate::client::{ByteStream, segment};
use crate::context::Context;
use crate::driver::Docker;
use crate::error::{broken, is_absent, listing, said, translate};
use crate::registry::{auth_files, of_registry, registry_auth};
use crate::translate::{self, Engine, digest, reference};

/// What a reference is made of, beside letters and digits.
const IN_REFERENCES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b':').remove(b'@');

#[async_trait]
impl Images for Docker {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        cx.with_deadline("pull", self.context.pull_image(image, platform, progress)).await
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        cx.with_deadline("get image", async {
            let mut found = self.context.image("get image", image).await?;
            if let Some(config) = found.config.as_mut().filter(|_| self.context.engine == Engine::Podman) {
                config.health = self.context.podman_health("get image", image).await?;
            }
            Ok(found)
        })
        .await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        cx.with_deadline("list images", async {
            let rows: Vec<ImageRow> =
                self.context.client.get("/images/json", &[]).await.map_err(|error| listing("list images", error))?;
            let mut images: Vec<Image> =
                rows.into_iter().map(translate::image).filter(|image| !image.tags.is_empty()).collect();
            images.sort_by(|a, b| a.tags.cmp(&b.tags));
            Ok(images)
        })
        .await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        let (context, image) = (self.context.clone(), image.clone());
        cx.run_detached("remove image", async move { context.remove_image("remove image", &image).await }).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        cx.with_deadline("list unused images", self.context.unused_images()).await
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        let (context, id) = (self.context.clone(), id.to_owned());
        cx.run_detached("discard image", async move { context.discard_image(&id).await }).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let (context, image, name) = (self.context.clone(), image.clone(), name.clone());
        cx.run_detached("tag", async move { context.tag_image("tag", &in_path(&image), &name).await }).await
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        cx.with_deadline("push", self.context.push_image(image, progress)).await
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        cx.with_deadline("build", self.context.build_image(request, progress)).await
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        cx.with_deadline("load", self.context.load_archive(archive, name, progress)).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        cx.with_deadline("resolve", async {
            let resolved = self
                .context
                .registry("resolve")?
                .resolve(image)
                .await
                .map_err(|error| of_registry("resolve", error))?;
            Ok(RemoteImage { digest: resolved.digest })
        })
        .await
    }
}

impl Context {
    pub(crate) async fn image(&self, operation: &'static str, image: &ImageRef) -> Result<Image> {
        let row: ImageRow = self
            .client
            .get(&format!("/images/{}/json", in_path(image)), &[])
            .await
            .map_err(|error| translate(operation, &image.to_string(), error))?;
        Ok(translate::image(row))
    }

    /// `image` is a reference or an id, as it stands in a path.
    pub(crate) async fn tag_image(&self, operation: &'static str, image: &str, name: &ImageRef) -> Result<()> {
        let (repository, tag) = (name.repository(), name.tag.clone().unwrap_or_else(|| "latest".to_owned()));
        let query = [("repo", repository.as_str()), ("tag", tag.as_str())];
        let tagged = self.client.act(Method::POST, &format!("/images/{image}/tag"), &query).await;
        tagged.map(drop).map_err(|error| translate(operation, image, error))
    }

    /// Podman leaves the health check out of what it answers as Docker, and tells it under paths of its own.
    async fn podman_health(&self, operation: &'static str, image: &ImageRef) -> Result<Option<ImageHealth>> {
        let path = format!("/libpod/images/{}/json", in_path(image));
        let document: serde_json::Value =
            self.client.get(&path, &[]).await.map_err(|error| translate(operation, &image.to_string(), error))?;
        Ok(ImageHealth::read(&document["Healthcheck"]))
    }

    pub(crate) async fn remove_image(&self, operation: &'static str, image: &ImageRef) -> Result<()> {
        match self.client.act(Method::DELETE, &format!("/images/{}", in_path(image)), &[]).await {
            Err(error) if is_absent(&error) => Ok(()),
            done => done.map(drop).map_err(|error| translate(operation, &image.to_string(), error)),
        }
    }

    /// Asked before the instances are, so that what is made meanwhile is seen with its image.
    async fn unused_images(&self) -> Result<Vec<Image>> {
        let failed = |error| listing("list unused images", error);
        let rows: Vec<ImageRow> = self.client.get("/images/json", &[]).await.map_err(failed)?;
        let users: Vec<ContainerRow> = self.client.get("/containers/json", &[("all", "1")]).await.map_err(failed)?;
        let used: BTreeSet<String> = users.into_iter().map(|row| digest(&row.image_id)).collect();
        let rows = rows.into_iter().filter(|row| snapshot_of(&row.labels).is_none());
        let mut images: Vec<Image> = rows.map(translate::image).filter(|image| !used.contains(&image.id)).collect();
        images.sort_by(|a, b| (&a.tags, &a.id).cmp(&(&b.tags, &b.id)));
        Ok(images)
    }

    /// The engine itself refuses what a container uses.
    async fn discard_image(&self, id: &str) -> Result<()> {
        const OPERATION: &str = "discard image";
        let path = format!("/images/{}", segment(id));
        let found: ImageRow = match self.client.get(&format!("{path}/json"), &[]).await {
            Err(error) if is_absent(&error) => return Ok(()),
            found => found.map_err(|error| translate(OPERATION, id, error))?,
        };
        let found = translate::image(found);
        if !found.tags.is_empty() {
            let words = format!("image `{id}` is called `{}`", found.tags.join("`, `"));
            return Err(Error::new(ErrorKind::Conflict, OPERATION, words));
        }
        match self.client.act(Method::DELETE, &path, &[]).await {
            Err(error) if is_absent(&error) => Ok(()),
            done => done.map(drop).map_err(|error| translate(OPERATION, id, error)),
        }
    }

    async fn pull_image(
        &self,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        if let Some(absent) = hythe_oci::built_here(image) {
            return self.image("pull", image).await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => of_registry("pull", absent),
                _ => error,
            });
        }
        let (repository, version) = (image.repository(), image.digest.clone().or_else(|| image.tag.clone()));
        let version = version.unwrap_or_else(|| "latest".to_owned());
        let words = platform.map(ToString::to_string);
        let mut query = vec![("fromImage", repository.as_str()), ("tag", version.as_str())];
        query.extend(words.as_deref().map(|words| ("platform", words)));
        let headers = registry_auth("pull", image).await?;
        let failed = |error| translate("pull", &image.to_string(), error);
        let bytes = self
            .client
            .stream(Method::POST, "/images/create", &query, &headers, bollard::body_full(Bytes::new()))
            .await;
        let pulled = match bytes {
            Ok(bytes) => self.follow("pull", image, bytes, progress).await,
            Err(error) => Err(failed(error)),
        };
        if let Err(error) = pulled {
            return Err(self.at_registry(image, platform, error).await);
        }
        self.image("pull", image).await
    }

    fn registry(&self, operation: &'static str) -> Result<Registry> {
        let config = RegistryConfig {
            insecure: self.config.insecure_registries.clone(),
            auth: auth_files(),
            ..RegistryConfig::default()
        };
        Registry::new(config).map_err(|error| of_registry(operation, error))
    }

    /// The engine says of an index whose image is missing what it says of an absent tag, and of one without an image for this machine not what
    /// it has: the registry itself is asked.
    async fn at_registry(&self, image: &ImageRef, platform: Option<&Platform>, error: Error) -> Error {
        if !error.is_not_found() && !error.message().contains("no matching manifest") {
            return error;
        }
        let Ok(registry) = self.registry("pull") else { return error };
        match registry.check(image, platform).await {
            Err(asked) if matches!(asked.kind(), Kind::NotFound | Kind::Invalid) => {
                of_registry("pull", asked).with("engine", error.message())
            }
            _ => error,
        }
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

/// The last lines of some output, for an error.
pub(crate) fn last_lines<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        let _ = write!(text, "\n  {line}");
        text
    })
}

//! Images: in podman's store, and at their registries.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use http::Method;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, Images, OpContext, Progress, ProgressSink, RemoteImage, Result,
};
use hythe_spec::{ImageRef, Platform};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::api_types::ImageDocument;
use crate::build::{build_call, failed_build};
use crate::client::{About, Query, empty, lines, read_json, segment, until_deadline};
use crate::driver::Podman;
use crate::error::{self, of_registry};
use crate::program::{Invocation, exit_code};
use crate::snapshots::is_snapshot;
use crate::translate::{digest, native_image};

/// Digits of a digest that are shown.
const SHORT_DIGEST: usize = 12;

#[async_trait]
impl Images for Podman {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        let name = native_image(image);
        let about = About { operation: "pull", subject: &name };
        if let Some(absent) = hythe_oci::built_here(image) {
            return self.get(cx, image).await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => of_registry(about, absent),
                _ => error,
            });
        }
        match self.fetch(cx, about, (image, platform), progress).await? {
            None => self.get(cx, image).await,
            Some(words) => Err(self.at_registry(about, image, platform, &words).await),
        }
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        let name = native_image(image);
        let about = About { operation: "image inspect", subject: &name };
        let mut found = self.image_document(cx, about).await?.image();
        // Podman answers to a digest that it does not list when it knew the image before under another name.
        if image.digest.is_some() && !found.digests.contains(&name) {
            found.digests.push(name);
            found.digests.sort();
        }
        Ok(found)
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let mut images = once_each(self.listed_images(cx).await?, |a, b| a.tags.cmp(&b.tags));
        images.retain(|image| !image.tags.is_empty());
        Ok(images)
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.remove_image(cx, About { operation: "image remove", subject: &native_image(image) }).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        let found = self.listed_images(cx).await?;
        let unused = found.into_iter().filter(|image| image.containers == 0 && !is_snapshot(image));
        Ok(once_each(unused, |a, b| (&a.tags, &a.id).cmp(&(&b.tags, &b.id))))
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        let about = About { operation: "image discard", subject: id };
        let found = match self.image_document(cx, about).await {
            Err(error) if error.is_not_found() => return Ok(()),
            found => found?.image(),
        };
        if !found.tags.is_empty() {
            let words = format!("image `{id}` is called `{}`", found.tags.join("`, `"));
            return Err(Error::new(ErrorKind::Conflict, about.operation, words));
        }
        self.remove_image(cx, about).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let from = native_image(image);
        let about = About { operation: "tag", subject: &from };
        self.give_name(cx, about, name).await
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        let name = native_image(image);
        let about = About { operation: "push", subject: &name };
        let told = self.told(cx, about, self.transfer("push", image, &name), progress, transferred).await?;
        if told.code == 0 { Ok(()) } else { Err(error::translate(about, told.code, &told.stderr)) }
    }

    async fn build(&self, cx: &OpContext, request: &BuildRequest, progress: &ProgressSink) -> Result<BuildOutput> {
        let name = native_image(&request.image);
        let about = About { operation: "build", subject: &name };
        let naming = until_deadline(cx, about, self.image_names.lock()).await?;
        let told = self.told(cx, about, build_call(request, &name)?, progress, spoken).await?;
        drop(naming);
        if told.code != 0 {
            return Err(failed_build(about, &told));
        }
        let id = told.stdout.lines().next_back().unwrap_or_default().trim();
        Ok(BuildOutput { id: digest(id) })
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        self.load_archive(cx, archive, name, progress).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let name = image.to_string();
        let about = About { operation: "resolve", subject: &name };
        let resolved = until_deadline(cx, about, self.registry.resolve(image)).await?;
        resolved.map(|resolved| RemoteImage { digest: resolved.digest }).map_err(|error| of_registry(about, error))
    }
}

/// What a talkative call said in all.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Podman {
    /// Loopback registries speak plain http in the field; podman must be told so.
    fn transfer(&self, verb: &str, image: &ImageRef, name: &str) -> Invocation {
        let verify = self.is_insecure(image).then(|| "--tls-verify=false".to_owned());
        let args: Vec<String> = std::iter::once(verb.to_owned()).chain(verify).chain([name.to_owned()]).collect();
        args.into()
    }

    fn is_insecure(&self, image: &ImageRef) -> bool {
        is_loopback(&image.domain) || self.config.insecure_registries.contains(&image.domain)
    }

    /// Fetches an image; podman's words where it could not. It ends with the caller, which leaves the store sound.
    async fn fetch(
        &self,
        cx: &OpContext,
        about: About<'_>,
        (image, platform): (&ImageRef, Option<&Platform>),
        sink: &ProgressSink,
    ) -> Result<Option<String>> {
        let verify = if self.is_insecure(image) { "false" } else { "true" };
        let mut query = vec![("reference", about.subject), ("policy", "always"), ("tlsVerify", verify)];
        let platform = platform.map(ToString::to_string).unwrap_or_default();
        let parts = platform.split('/').filter(|part| !part.is_empty());
        query.extend(["OS", "Arch", "Variant"].into_iter().zip(parts));
        let followed = async {
            let mut reports = lines(self.client.stream(about, Method::POST, "/images/pull", &query, empty()).await?);
            while let Some(line) = reports.next().await.transpose()? {
                let PullReport { stream, error } = read_json(about, &line)?;
                if !error.is_empty() {
                    return Ok(Some(error));
                }
                for line in stream.lines() {
                    // A full channel drops the report, as the contract has it.
                    let _dropped = sink.try_send(transferred(line));
                }
            }
            Ok(None)
        };
        cx.with_deadline(about.operation, followed).await
    }

    /// The image of that name or id; absent: `NotFound`.
    pub(crate) async fn image_document(&self, cx: &OpContext, about: About<'_>) -> Result<ImageDocument> {
        self.client.get(cx, about, &path(about.subject, "/json"), &[]).await
    }

    async fn listed_images(&self, cx: &OpContext) -> Result<Vec<ImageDocument>> {
        let about = About { operation: "image list", subject: "podman" };
        self.client.listing(cx, about, "/images/json", &[]).await
    }

    /// Takes a name away. Absent: success.
    pub(crate) async fn remove_image(&self, cx: &OpContext, about: About<'_>) -> Result<()> {
        match self.rename(cx, about, (Method::DELETE, &path(about.subject, ""), &[])).await {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    /// Gives an image another name.
    pub(crate) async fn give_name(&self, cx: &OpContext, about: About<'_>, name: &ImageRef) -> Result<()> {
        let repository = name.repository();
        let query = [("repo", &*repository), ("tag", name.tag.as_deref().unwrap_or("latest"))];
        self.rename(cx, about, (Method::POST, &path(about.subject, "/tag"), &query)).await
    }

    /// Sends a request that changes images' names, alone: podman 4.3 reads an image's names, changes them and writes them back
    /// without a lock, so that of two at once one is forgotten.
    async fn rename(&self, cx: &OpContext, about: About<'_>, call: (Method, &str, Query<'_>)) -> Result<()> {
        let naming = until_deadline(cx, about, Arc::clone(&self.image_names).lock_owned()).await?;
        self.client.act_holding(cx, about, call, empty(), naming).await
    }

    /// Runs a long call and passes each line on; it is killed when nobody waits any more, which leaves the store sound.
    pub(crate) async fn told(
        &self,
        cx: &OpContext,
        about: About<'_>,
        call: Invocation,
        sink: &ProgressSink,
        read: fn(&str) -> Progress,
    ) -> Result<Told> {
        let (mut command, _files) = self.program.prepared(about, &call)?;
        let mut child = command
            .kill_on_drop(true)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| self.program.not_started(about, cause))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async { tokio::join!(each_line(stdout, sink, read), each_line(stderr, sink, read), child.wait()) };
        let (stdout, stderr, ended) = until_deadline(cx, about, work).await?;
        let status = ended.map_err(|cause| self.program.not_started(about, cause))?;
        Ok(Told { code: exit_code(about, status, &stderr)?, stdout, stderr })
    }

    /// Podman ends alike for absent, forbidden and unreachable: the registry itself is asked which it is.
    async fn at_registry(&self, about: About<'_>, image: &ImageRef, platform: Option<&Platform>, words: &str) -> Error {
        let podman = error::refused(about, 500, words);
        match self.registry.check(image, platform).await {
            Ok(()) => podman,
            Err(asked) => of_registry(about, asked).with("podman", podman.message()),
        }
    }
}

/// One line of a pull.
#[derive(Debug, Deserialize)]
struct PullReport {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    error: String,
}

/// Of an image.
pub(crate) fn path(image: &str, below: &str) -> String {
    format!("/images/{}{below}", segment(image))
}

/// Each once, in order.
fn once_each(
    found: impl IntoIterator<Item = ImageDocument>,
    order: impl Fn(&Image, &Image) -> std::cmp::Ordering,
) -> Vec<Image> {
    let images: BTreeMap<String, Image> =
        found.into_iter().map(ImageDocument::image).map(|image| (image.id.clone(), image)).collect();
    let mut images: Vec<Image> = images.into_values().collect();
    images.sort_by(order);
    images
}

fn is_loopback(domain: &str) -> bool {
    let host = domain.rsplit_once(':').map_or(domain, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn each_line(pipe: Option<impl AsyncRead + Unpin>, sink: &ProgressSink, read: fn(&str) -> Progress) -> String {
    let mut all = String::new();
    let Some(pipe) = pipe else { return all };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        // A full channel drops the report, as the contract has it.
        let _dropped = sink.try_send(read(text.trim_end()));
        all.push_str(&text);
        line.clear();
    }
    all
}

fn spoken(line: &str) -> Progress {
    Progress { item: String::new(), status: line.to_owned(), current: None, total: None }
}

/// `Copying blob sha256:… done`: podman has no machine-readable progress, its lines name what is being done.
pub(crate) fn transferred(line: &str) -> Progress {
    let mut words = line.split_whitespace();
    let (verb, what, name) = (words.next(), words.next(), words.next());
    match (verb, what, name) {
        (Some("Copying"), Some("blob" | "config"), Some(name)) => {
            let name = name.trim_start_matches("sha256:");
            let rest: Vec<&str> = words.collect();
            let status = if rest.is_empty() { "copying".to_owned() } else { rest.join(" ") };
            Progress { item: name.chars().take(SHORT_DIGEST).collect(), status, current: None, total: None }
        }
        _ => spoken(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_lines_name_their_layer() {
        let line = transferred("Copying blob sha256:0b412225d0bb59e308fd4334496d9aafc8f0d6d3da3ca6262887e51428fbbbad");
        assert_eq!((line.item.as_str(), line.status.as_str()), ("0b412225d0bb", "copying"));
        assert_eq!(transferred("Storing signatures").status, "Storing signatures");
    }

    #[test]
    fn loopback_is_recognised() {
        assert!(["localhost", "127.0.0.1:5000", "[::1]:5000", "localhost:1"].into_iter().all(is_loopback));
        assert!(!["docker.io", "10.0.0.1:5000"].into_iter().any(is_loopback));
    }
}

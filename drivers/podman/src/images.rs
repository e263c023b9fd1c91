//! Images: in podman's store, and at their registries.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use hythe_oci::Kind;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, ImageConfig, Images, OpContext, Progress, ProgressSink,
    RemoteImage, Result, words,
};
use hythe_spec::ImageRef;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::client::{About, Finished, Invocation, exit_code, withdrawn};
use crate::document::{digest, filled, split_pair, time};
use crate::driver::Podman;
use crate::error;
use crate::translate::native_image;

/// How many of a failed build's last lines its error repeats.
const LAST_LINES: usize = 12;
const SHORT_DIGEST: usize = 12;

/// One element of `podman image inspect`, or of `podman images`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageDocument {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Only where inspected.
    #[serde(default)]
    pub(crate) graph_driver: Option<GraphDriver>,
    /// RFC 3339 where inspected, seconds where listed.
    #[serde(default)]
    created: serde_json::Value,
    /// Only where inspected.
    #[serde(default)]
    config: Option<ConfigDocument>,
}

/// Where the layers are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct GraphDriver {
    pub(crate) name: String,
    pub(crate) data: Option<BTreeMap<String, String>>,
}

/// `Config` of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigDocument {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: String,
    working_dir: String,
    stop_signal: serde_json::Value,
    labels: Option<BTreeMap<String, String>>,
}

impl ConfigDocument {
    fn told(self) -> ImageConfig {
        ImageConfig {
            entrypoint: self.entrypoint.unwrap_or_default(),
            command: self.cmd.unwrap_or_default(),
            env: self.env.unwrap_or_default().iter().map(|pair| split_pair(pair)).collect(),
            user: filled(self.user),
            workdir: filled(self.working_dir),
            stop_signal: words::signal(&self.stop_signal),
            labels: self.labels.unwrap_or_default(),
        }
    }
}

#[async_trait]
impl Images for Podman {
    async fn pull(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<Image> {
        let name = native_image(image);
        let about = About { operation: "pull", subject: &name };
        let args = self.transfer("pull", image, &name);
        let told = self.told(cx, about, args, progress, transferred).await?;
        if told.code != 0 {
            return Err(self.at_registry(about, image, &told).await);
        }
        self.get(cx, image).await
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
        let about = About { operation: "image list", subject: "podman" };
        let found: Vec<ImageDocument> =
            self.client.listing(cx, about, ["images", "--no-trunc", "--format=json"]).await?;
        // Podman lists an image once for each of its names.
        let images: BTreeMap<String, Image> =
            found.into_iter().map(ImageDocument::image).map(|image| (image.id.clone(), image)).collect();
        let mut images: Vec<Image> = images.into_values().filter(|image| !image.tags.is_empty()).collect();
        images.sort_by(|a, b| a.tags.cmp(&b.tags));
        Ok(images)
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.remove_image(cx, About { operation: "image remove", subject: &native_image(image) }).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        let from = native_image(image);
        let about = About { operation: "tag", subject: &from };
        self.rename(cx, about, ["tag", &from, &native_image(name)]).await?.success(about).map(drop)
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
        let naming = withdrawn(cx, about, self.image_names.lock()).await?;
        let told = self.told(cx, about, build_call(request, &name), progress, spoken).await?;
        drop(naming);
        if told.code != 0 {
            return Err(failed_build(about, &told));
        }
        let id = told.stdout.lines().next_back().unwrap_or_default().trim();
        Ok(BuildOutput { id: digest(id) })
    }

    async fn load(&self, cx: &OpContext, archive: &Path, progress: &ProgressSink) -> Result<Vec<Image>> {
        let path = archive.display().to_string();
        let about = About { operation: "load", subject: &path };
        let naming = withdrawn(cx, about, self.image_names.lock()).await?;
        let call: Vec<String> = vec!["load".to_owned(), format!("--input={path}")];
        let told = self.told(cx, about, call.into(), progress, transferred).await?;
        drop(naming);
        if told.code != 0 {
            return Err(no_archive(about, &told));
        }
        let mut images = Vec::new();
        for name in loaded(&told.stdout) {
            images.push(self.get(cx, &name).await?);
        }
        if images.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, about.operation, format!("`{path}` names no image")));
        }
        Ok(images)
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        let name = image.to_string();
        let about = About { operation: "resolve", subject: &name };
        let resolved = withdrawn(cx, about, self.registry.resolve(image)).await?;
        resolved.map(|resolved| RemoteImage { digest: resolved.digest }).map_err(|error| of_registry(about, error))
    }
}

/// What a talkative call said in all.
struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Podman {
    /// Loopback registries speak plain http in the field; podman must be told so.
    fn transfer(&self, verb: &str, image: &ImageRef, name: &str) -> Invocation {
        let plain = is_loopback(&image.domain) || self.config.insecure_registries.contains(&image.domain);
        let verify = plain.then(|| "--tls-verify=false".to_owned());
        let args: Vec<String> = std::iter::once(verb.to_owned()).chain(verify).chain([name.to_owned()]).collect();
        args.into()
    }

    /// The image of that name or id; absent: `NotFound`.
    pub(crate) async fn image_document(&self, cx: &OpContext, about: About<'_>) -> Result<ImageDocument> {
        let found: Vec<ImageDocument> = self.client.document(cx, about, ["image", "inspect", about.subject]).await?;
        let missing = || Error::new(ErrorKind::NotFound, about.operation, format!("no image `{}`", about.subject));
        found.into_iter().next().ok_or_else(missing)
    }

    /// Takes a name away. Absent: success.
    pub(crate) async fn remove_image(&self, cx: &OpContext, about: About<'_>) -> Result<()> {
        match self.rename(cx, about, ["rmi", about.subject]).await?.success(about) {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// Runs a call that changes images' names, alone: podman 4.3 reads an image's names, changes them and writes them back without
    /// a lock, so that of two at once one is forgotten.
    async fn rename<const N: usize>(&self, cx: &OpContext, about: About<'_>, args: [&str; N]) -> Result<Finished> {
        let naming = withdrawn(cx, about, Arc::clone(&self.image_names).lock_owned()).await?;
        self.client.act_holding(cx, about, args, naming).await
    }

    /// Runs a long call and passes each line on; it is killed when nobody waits any more, which leaves the store sound.
    async fn told(
        &self,
        cx: &OpContext,
        about: About<'_>,
        call: Invocation,
        sink: &ProgressSink,
        read: fn(&str) -> Progress,
    ) -> Result<Told> {
        let mut command = self.client.command(&call);
        let mut child = command
            .kill_on_drop(true)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|cause| self.client.not_started(about, cause))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async { tokio::join!(lines(stdout, sink, read), lines(stderr, sink, read), child.wait()) };
        let (stdout, stderr, ended) = withdrawn(cx, about, work).await?;
        let status = ended.map_err(|cause| self.client.not_started(about, cause))?;
        Ok(Told { code: exit_code(about, status, &stderr)?, stdout, stderr })
    }

    /// Podman ends alike for absent, forbidden and unreachable: the registry itself is asked which it is.
    async fn at_registry(&self, about: About<'_>, image: &ImageRef, told: &Told) -> Error {
        let podman = error::translate(about, told.code, &told.stderr);
        match self.registry.resolve(image).await {
            Ok(_) => podman,
            Err(asked) => of_registry(about, asked).with("podman", podman.message()),
        }
    }
}

fn of_registry(about: About<'_>, error: hythe_oci::Error) -> Error {
    let kind = match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Unauthorized => ErrorKind::Unauthorized,
        Kind::Unavailable => ErrorKind::Unavailable,
        Kind::Invalid => ErrorKind::Invalid,
        Kind::Exhausted => ErrorKind::Exhausted,
        Kind::Internal => ErrorKind::Internal,
    };
    let seam = Error::new(kind, about.operation, error.to_string()).temporary(error.is_temporary());
    match error.next_step() {
        Some(hint) => seam.hint(hint),
        None => seam,
    }
}

fn is_loopback(domain: &str) -> bool {
    let host = domain.rsplit_once(':').map_or(domain, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn build_call(request: &BuildRequest, name: &str) -> Invocation {
    let BuildRequest { image: _, context, dockerfile, args: build_args, labels, no_cache } = request;
    let mut args = vec!["build".to_owned(), format!("--tag={name}"), format!("--file={}", dockerfile.display())];
    args.extend(build_args.iter().map(|(key, value)| format!("--build-arg={key}={value}")));
    args.extend(labels.iter().map(|(key, value)| format!("--label={key}={value}")));
    args.extend(no_cache.then(|| "--no-cache".to_owned()));
    args.push(context.display().to_string());
    args.into()
}

/// `Loaded image: a` for each; older versions say `Loaded image(s): a,b`.
fn loaded(stdout: &str) -> Vec<ImageRef> {
    let names = stdout.lines().filter_map(|line| line.strip_prefix("Loaded image")?.split_once(": "));
    names.flat_map(|(_, names)| names.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// What podman cannot read is the archive's fault unless its words say otherwise.
fn no_archive(about: About<'_>, told: &Told) -> Error {
    let known = error::translate(about, told.code, &told.stderr);
    match known.kind() {
        ErrorKind::Unavailable | ErrorKind::Exhausted if error::is_known(&told.stderr) => known,
        _ => {
            let words = format!("`{}` cannot be loaded: {}", about.subject, error::words(&told.stderr));
            Error::new(ErrorKind::Invalid, about.operation, words)
        }
    }
}

/// A failing step is the Dockerfile's fault unless podman's words say otherwise.
fn failed_build(about: About<'_>, told: &Told) -> Error {
    let known = error::translate(about, told.code, &told.stderr);
    let said: Vec<&str> = told.stdout.lines().chain(told.stderr.lines()).collect();
    let last = said[said.len().saturating_sub(LAST_LINES)..].join("\n");
    match known.kind() {
        ErrorKind::Unavailable | ErrorKind::Exhausted | ErrorKind::Unauthorized if error::is_known(&told.stderr) => {
            known.with("output", last)
        }
        _ => Error::new(
            ErrorKind::Invalid,
            about.operation,
            format!("`{}` cannot be built: {}\n{last}", about.subject, error::words(&told.stderr)),
        ),
    }
}

async fn lines(pipe: Option<impl AsyncRead + Unpin>, sink: &ProgressSink, read: fn(&str) -> Progress) -> String {
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
fn transferred(line: &str) -> Progress {
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

impl ImageDocument {
    pub(crate) fn image(self) -> Image {
        let mut tags = self.repo_tags.or(self.names).unwrap_or_default();
        let mut digests = self.repo_digests.unwrap_or_default();
        tags.sort();
        digests.sort();
        let created = match &self.created {
            serde_json::Value::String(text) => time(Some(text)),
            other => other.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok()),
        };
        Image {
            id: digest(&self.id),
            tags,
            digests,
            size: self.size,
            created,
            config: self.config.map(ConfigDocument::told),
        }
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

//! Versions of containers' files, as images of the engine.
//!
//! Podman commits under the name, and is told what to undo of the container's settings; so does dockerd where its images are containerd's. Where they are its own,
//! it keeps the container's whole configuration, secrets among it, in the image that it commits (`container_config`), and has no word against it. The layers are
//! therefore taken over by an image of ours, whose archive has a configuration and no layer, and the committed one is removed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hythe_runtime::podman::OWN_VARIABLES;
use hythe_runtime::snapshots::{PREFIX, SnapshotMount, SnapshotRequest, instructions, snapshot_of, unpaused_after};
use hythe_runtime::{Error, ErrorKind, ImageConfig, InstanceRef, OpContext, Result, Snapshot, Snapshots};
use hythe_spec::ImageRef;
use serde_json::{Value, json};

use crate::api_types::{Container, ContainerConfig, Created, GraphDriver, ImageDocument, ImageRow, Info};
use crate::client::{filters, segment};
use crate::context::Context;
use crate::driver::Docker;
use crate::error::{broken, is_absent, listing, said, translate};
use crate::images::{Reports, in_path};
use crate::translate::{Engine, digest, full, image_config, reference, state_of, timestamp};

const COMMIT: &str = "snapshot-commit";
/// On what is committed and not taken over yet: whose commit it is. A process has one at a time.
const UNFINISHED: &str = "hythe.snapshot.unfinished";
/// Podman's own commit: the one of Docker's API knows Docker's format alone, into which Podman 5 writes the whole environment.
const OCI_COMMIT: &str = "/libpod/commit";

impl ImageDocument {
    fn settings(&self) -> ImageConfig {
        image_config(serde_json::from_value::<ContainerConfig>(self.config.clone()).unwrap_or_default())
    }

    fn snapshot(&self, name: &ImageRef) -> Option<Snapshot> {
        let identity = snapshot_of(&self.settings().labels)?;
        let created = timestamp(&self.created);
        Some(Snapshot { name: name.to_string(), id: digest(&self.id), identity, size: self.size, created })
    }
}

#[async_trait]
impl Snapshots for Docker {
    async fn commit(&self, cx: &OpContext, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        request.check_name()?;
        let (context, instance, request) = (self.context.clone(), instance.clone(), request.clone());
        cx.run_detached(COMMIT, async move { context.snapshot(&instance, &request).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Snapshot>> {
        cx.with_deadline("snapshot-list", self.context.snapshots()).await
    }

    async fn mounts(&self, cx: &OpContext, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        cx.with_deadline("snapshot-mounts", self.context.snapshot_mounts(image)).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        const OPERATION: &str = "snapshot-remove";
        let (context, image) = (self.context.clone(), image.clone());
        cx.run_detached(OPERATION, async move {
            let Some(document) = context.image_document(OPERATION, &in_path(&image)).await? else { return Ok(()) };
            if document.snapshot(&image).is_none() {
                return Err(Error::new(ErrorKind::Conflict, OPERATION, format!("`{image}` is no snapshot")));
            }
            context.remove_image(OPERATION, &image).await
        })
        .await
    }
}

impl Context {
    async fn image_document(&self, operation: &'static str, path: &str) -> Result<Option<ImageDocument>> {
        match self.client.get(&format!("/images/{path}/json"), &[]).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if is_absent(&error) => Ok(None),
            // Podman may fail to find what it has just found by name, while others change its store: no word on whether it is there.
            Err(error) => match translate(operation, path, error) {
                error if error.is_not_found() => Err(broken(operation, error.message()).source(error)),
                error => Err(error),
            },
        }
    }

    /// What has the name already, if that is this snapshot.
    async fn held(&self, request: &SnapshotRequest) -> Result<Option<Snapshot>> {
        let Some(document) = self.image_document(COMMIT, &in_path(&request.image)).await? else { return Ok(None) };
        request.check_held(&document.settings().labels)?;
        Ok(document.snapshot(&request.image))
    }

    async fn snapshot(&self, instance: &InstanceRef, request: &SnapshotRequest) -> Result<Snapshot> {
        let _making = self.making_snapshot.lock().await;
        if self.engine == Engine::Docker {
            self.sweep_unfinished(&request.identity.owner).await?;
        }
        if let Some(held) = self.held(request).await? {
            return Ok(held);
        }
        let container = self.container(COMMIT, instance).await?;
        let lost =
            || Error::new(ErrorKind::Conflict, COMMIT, format!("the image of `{instance}` is missing in the engine"));
        let base = self.image_document(COMMIT, &segment(&container.image)).await?.ok_or_else(lost)?;
        if self.engine == Engine::Podman || self.keeps_images_in_containerd().await? {
            self.commit_under_name(&container, &base, request).await?;
        } else {
            self.commit_and_take_over(&container, &base, request).await?;
        }
        let vanished = || broken(COMMIT, &format!("the image `{}` is missing after the commit", request.image));
        self.held(request).await?.ok_or_else(vanished)
    }

    async fn commit_under_name(
        &self,
        container: &Container,
        base: &ImageDocument,
        request: &SnapshotRequest,
    ) -> Result<()> {
        let mut instance = image_config(container.config.clone());
        // What dockerd is given here, it does not take from the container.
        let config = if base.config.is_object() { base.config.clone() } else { json!({}) };
        let base = base.settings();
        let is_podman = self.engine == Engine::Podman;
        if is_podman {
            instance.env.retain(|key, _| base.env.contains_key(key) || !OWN_VARIABLES.contains(&key.as_str()));
        }
        let mut changes = instructions(request, &instance, &base);
        // Podman 5 drops it.
        changes.extend(base.stop_signal.map(|signal| format!("STOPSIGNAL {}", signal.0)));
        let (repository, tag) = (request.image.repository(), request.image.tag.clone().unwrap_or_default());
        let mut query =
            vec![("container", container.id.as_str()), ("repo", &repository), ("tag", &tag), ("pause", "true")];
        query.extend(changes.iter().map(|change| ("changes", change.as_str())));
        if is_podman {
            query.push(("format", "oci"));
            self.commit(container, OCI_COMMIT, &query, &json!({})).await.map(drop)
        } else {
            self.commit(container, "/commit", &query, &config).await.map(drop)
        }
    }

    async fn commit_and_take_over(
        &self,
        container: &Container,
        base: &ImageDocument,
        request: &SnapshotRequest,
    ) -> Result<()> {
        let mut labels: BTreeMap<&str, String> =
            container.config.labels.keys().map(|key| (key.as_str(), String::new())).collect();
        labels.insert(UNFINISHED, request.identity.owner.clone());
        let query = [("container", container.id.as_str()), ("pause", "true")];
        let committed = self.commit(container, "/commit", &query, &json!({ "Labels": labels })).await?;
        let taken = async {
            let gone = || broken(COMMIT, "the committed image is missing");
            let document = self.image_document(COMMIT, &segment(&committed)).await?.ok_or_else(gone)?;
            self.take_over(&document, base, request).await
        };
        let taken = taken.await;
        match (taken, self.discard(&committed).await) {
            (Ok(()), discarded) => discarded,
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(left)) => Err(error.with("left_behind", left)),
        }
    }

    /// Commits; gives the id. One that the engine broke off does not leave frozen what ran.
    async fn commit(&self, container: &Container, path: &str, query: &[(&str, &str)], body: &Value) -> Result<String> {
        match self.client.post::<Created>(path, query, body).await {
            Ok(created) => Ok(digest(&created.id)),
            Err(error) => {
                let error = translate(COMMIT, container.name.trim_start_matches('/'), error);
                let (id, before) = (&container.id, state_of(&container.state.status));
                let now = async { Ok(state_of(&self.container(COMMIT, &InstanceRef::id(id)).await?.state.status)) };
                let unpause = async {
                    let path = format!("/containers/{}/unpause", segment(id));
                    let unpaused = self.client.act(Method::POST, &path, &[]).await;
                    unpaused.map(drop).map_err(|error| translate(COMMIT, id, error))
                };
                Err(unpaused_after(error, before, now, unpause).await)
            }
        }
    }

    /// Gives the layers of a committed image to one with the settings of the base.
    async fn take_over(
        &self,
        committed: &ImageDocument,
        base: &ImageDocument,
        request: &SnapshotRequest,
    ) -> Result<()> {
        let mut config = base.config.clone();
        let mut labels = base.settings().labels;
        labels.extend(request.labels());
        config["Labels"] = json!(labels);
        let mut document = json!({
            "architecture": base.architecture, "os": base.os, "created": committed.created, "config": config,
            "rootfs": { "type": "layers", "diff_ids": committed.root.layers },
        });
        if !base.variant.is_empty() {
            document["variant"] = json!(base.variant);
        }
        // They are all there, and are not looked for in the archive.
        let layers: Vec<String> = (0..committed.root.layers.len()).map(|at| format!("{at}/layer.tar")).collect();
        let manifest = json!([{ "Config": "config.json", "RepoTags": [reference(&request.image)], "Layers": layers }]);
        let archive = archive(&[("config.json", &document), ("manifest.json", &manifest)]);
        let archive = archive.map_err(|error| {
            Error::new(ErrorKind::Internal, COMMIT, "the archive of the image cannot be written").source(error)
        })?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))]);
        let body = bollard::body_full(Bytes::from(archive));
        let bytes = self.client.stream(Method::POST, "/images/load", &[("quiet", "1")], &headers, body).await;
        let name = request.image.to_string();
        let mut reports = Reports::new(COMMIT, bytes.map_err(|error| translate(COMMIT, &name, error))?);
        while let Some(report) = reports.next().await? {
            if let Some(words) = report.error {
                return Err(said(COMMIT, &name, &words, None));
            }
        }
        Ok(())
    }

    /// Where containerd keeps the images, an archive must have all their layers, and a commit has no `container_config`.
    async fn keeps_images_in_containerd(&self) -> Result<bool> {
        let info: Info = self.client.get("/info", &[]).await.map_err(|error| translate(COMMIT, "", error))?;
        Ok(info.keeps_images_in_containerd())
    }

    /// Removes what an earlier commit of this agent, which died, left half-way.
    async fn sweep_unfinished(&self, owner: &str) -> Result<()> {
        let label = format!("{UNFINISHED}={owner}");
        let filters = filters(&[("label", vec![label]), ("dangling", vec!["true".to_owned()])]);
        let rows: Vec<ImageRow> = self
            .client
            .get("/images/json", &[("filters", &filters)])
            .await
            .map_err(|error| translate(COMMIT, "", error))?;
        for row in rows {
            self.discard(&row.id).await?;
        }
        Ok(())
    }

    async fn discard(&self, id: &str) -> Result<()> {
        match self.client.act(Method::DELETE, &format!("/images/{}", segment(id)), &[("noprune", "1")]).await {
            Err(error) if is_absent(&error) => Ok(()),
            done => done.map(drop).map_err(|error| translate(COMMIT, id, error)),
        }
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let filters = filters(&[("label", vec![format!("{PREFIX}owner")])]);
        let rows: Vec<ImageRow> = self
            .client
            .get("/images/json", &[("filters", &filters)])
            .await
            .map_err(|error| listing("snapshot-list", error))?;
        let mut snapshots = Vec::new();
        for row in rows {
            let Some(identity) = snapshot_of(&row.labels) else { continue };
            let created = row.created.as_i64().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
            for name in full(row.repo_tags) {
                let identity = identity.clone();
                snapshots.push(Snapshot { name, id: digest(&row.id), identity, size: row.size, created });
            }
        }
        snapshots.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(snapshots)
    }

    async fn snapshot_mounts(&self, image: &ImageRef) -> Result<Vec<SnapshotMount>> {
        const OPERATION: &str = "snapshot-mounts";
        let missing = || Error::new(ErrorKind::NotFound, OPERATION, format!("no snapshot `{image}`"));
        let document = self.image_document(OPERATION, &in_path(image)).await?.ok_or_else(missing)?;
        document.snapshot(image).ok_or_else(missing)?;
        let GraphDriver { name, data } = &document.graph_driver;
        let told = (self.local && name.starts_with("overlay")).then_some(data);
        SnapshotMount::of_graph_driver(told, "the engine", &image.to_string())
    }
}

fn archive(documents: &[(&str, &Value)]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, document) in documents {
        let bytes = document.to_string();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_bytes())?;
    }
    archive.into_inner()
}

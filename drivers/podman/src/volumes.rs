//! Named volumes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::Method;
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes, identity};
use serde::Serialize;

use crate::api_types::VolumeDocument;
use crate::client::{About, segment};
use crate::driver::Podman;

/// Length of the names that podman gives to volumes it makes by itself.
const ANONYMOUS_NAME: usize = 64;

impl Podman {
    /// The volume of that name; absent: `NotFound` naming it.
    pub(crate) async fn volume(&self, cx: &OpContext, about: About<'_>) -> Result<VolumeDocument> {
        self.client.get(cx, about, &path(about.subject, "/json"), &[]).await
    }
}

fn path(volume: &str, below: &str) -> String {
    format!("/volumes/{}{below}", segment(volume))
}

/// What makes a volume.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeSpecDocument<'a> {
    name: &'a str,
    labels: &'a BTreeMap<String, String>,
}

#[async_trait]
impl Volumes for Podman {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let about = About { operation: "volume create", subject: &spec.name };
        let body = VolumeSpecDocument { name: &spec.name, labels: &spec.labels };
        let made = self.client.post::<VolumeDocument>(cx, about, "/volumes/create", &[], &body).await;
        let taken = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => error,
            made => return made.map(drop),
        };
        let existing = self.volume(cx, about).await?.labels.unwrap_or_default();
        identity::ensure_same_owner(about.operation, "volume", &spec.name, &existing, &spec.labels)
            .map_err(|refusal| refusal.source(taken))
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let about = About { operation: "volume list", subject: "podman" };
        let found: Vec<VolumeDocument> = self.client.listing(cx, about, "/volumes/json", &[]).await?;
        let mut volumes: Vec<VolumeInfo> =
            found.into_iter().filter(VolumeDocument::is_named).map(VolumeDocument::info).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let about = About { operation: "volume remove", subject: name };
        let there = match self.volume(cx, about).await {
            Err(error) if error.is_not_found() => return Ok(()),
            outcome => outcome?,
        };
        identity::must_be_of(owner, about.operation, "volume", name, &there.labels.unwrap_or_default())?;
        match self.client.act(cx, about, Method::DELETE, &path(name, ""), &[]).await {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let users = self.names_using(cx, about, "volume").await;
                Err(Error::new(ErrorKind::Conflict, about.operation, format!("`{name}` is in use by {users}"))
                    .source(error))
            }
            removed => removed.map(drop),
        }
    }
}

impl VolumeDocument {
    /// Podman 4 does not mark what it made by itself, but names it with 64 hexadecimal digits.
    fn is_named(&self) -> bool {
        let generated = self.name.len() == ANONYMOUS_NAME && self.name.bytes().all(|b| b.is_ascii_hexdigit());
        !self.anonymous && !generated
    }

    fn info(self) -> VolumeInfo {
        let path = Some(self.mountpoint).filter(|path| !path.is_empty());
        VolumeInfo { name: self.name, labels: self.labels.unwrap_or_default(), path }
    }
}

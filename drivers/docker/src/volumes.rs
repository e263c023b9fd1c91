//! Named volumes of the engine.

use async_trait::async_trait;
use http::Method;
use hythe_runtime::identity::{OWNER, ensure_same_owner, must_be_of};
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};
use serde_json::json;

use crate::api_types::{self, Volume};
use crate::client::segment;
use crate::context::Context;
use crate::driver::Docker;
use crate::error::{has_status, is_absent, listing, translate};

#[async_trait]
impl Volumes for Docker {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let (context, spec) = (self.context.clone(), spec.clone());
        cx.run_detached("ensure volume", async move { context.ensure_volume(&spec).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        cx.with_deadline("list volumes", async {
            let volumes: api_types::Volumes =
                self.context.client.get("/volumes", &[]).await.map_err(|error| listing("list volumes", error))?;
            let mut list: Vec<VolumeInfo> = volumes.volumes.into_iter().map(described).collect();
            list.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(list)
        })
        .await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        cx.run_detached("remove volume", async move { context.remove_volume(&name, &owner).await }).await
    }
}

impl Context {
    /// dockerd answers a create with the volume that is there, whosever it is; Podman refuses.
    async fn ensure_volume(&self, spec: &VolumeSpec) -> Result<()> {
        const OPERATION: &str = "ensure volume";
        let path = format!("/volumes/{}", segment(&spec.name));
        match self.client.get::<Volume>(&path, &[]).await {
            Ok(there) => return same_owner(&there, spec),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(translate(OPERATION, &spec.name, error)),
        }
        let body = json!({ "Name": spec.name, "Driver": "local", "Labels": spec.labels });
        match self.client.post::<Volume>("/volumes/create", &[], &body).await {
            // Made just now, unless somebody else was first; without an owner that cannot be distinguished.
            Ok(_) if !spec.labels.contains_key(OWNER) => Ok(()),
            Ok(there) => same_owner(&there, spec),
            Err(error) => match self.client.get::<Volume>(&path, &[]).await {
                Ok(there) => same_owner(&there, spec),
                Err(_) => Err(translate(OPERATION, &spec.name, error)),
            },
        }
    }

    async fn remove_volume(&self, name: &str, owner: &str) -> Result<()> {
        const OPERATION: &str = "remove volume";
        let path = format!("/volumes/{}", segment(name));
        match self.client.get::<Volume>(&path, &[]).await {
            Ok(there) => must_be_of(owner, OPERATION, "volume", name, &there.labels)?,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(translate(OPERATION, name, error)),
        }
        match self.client.act(Method::DELETE, &path, &[]).await {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) if has_status(&error, 409) => {
                let users = self.users_of(OPERATION, "volume", name).await.unwrap_or_default().join("`, `");
                let said = translate(OPERATION, name, error);
                let message = format!("volume `{name}` is used by `{users}`");
                Err(Error::new(ErrorKind::Conflict, OPERATION, message).source(said))
            }
            Err(error) => Err(translate(OPERATION, name, error)),
        }
    }
}

fn same_owner(there: &Volume, spec: &VolumeSpec) -> Result<()> {
    ensure_same_owner("ensure volume", "volume", &spec.name, &there.labels, &spec.labels)
}

fn described(volume: Volume) -> VolumeInfo {
    VolumeInfo {
        name: volume.name,
        labels: volume.labels,
        path: (!volume.mountpoint.is_empty()).then_some(volume.mountpoint),
    }
}

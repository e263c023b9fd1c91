//! Named volumes of the engine.

use async_trait::async_trait;
use http::Method;
use hythe_runtime::identity::OWNER;
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};
use serde_json::json;

use crate::client::segment;
use crate::core::Core;
use crate::error::{bounded, carried, has_status, is_absent, listing, translate};
use crate::native::{self, Volume};

#[async_trait]
impl Volumes for Core {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        let (core, spec) = (self.clone(), spec.clone());
        carried(cx, "ensure volume", async move { core.ensure_volume(&spec).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        bounded(cx, "list volumes", async {
            let volumes: native::Volumes =
                self.client.get("/volumes", &[]).await.map_err(|error| listing("list volumes", error))?;
            let mut list: Vec<VolumeInfo> = volumes.volumes.into_iter().map(described).collect();
            list.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(list)
        })
        .await
    }

    async fn remove(&self, cx: &OpContext, name: &str) -> Result<()> {
        let (core, name) = (self.clone(), name.to_owned());
        carried(cx, "remove volume", async move { core.remove_volume(&name).await }).await
    }
}

impl Core {
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
            Ok(there) => same_owner(&there, spec),
            Err(error) => match self.client.get::<Volume>(&path, &[]).await {
                Ok(there) => same_owner(&there, spec),
                Err(_) => Err(translate(OPERATION, &spec.name, error)),
            },
        }
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        const OPERATION: &str = "remove volume";
        let path = format!("/volumes/{}", segment(name));
        match self.client.get::<Volume>(&path, &[]).await {
            Ok(there) if there.labels.contains_key(OWNER) => {}
            Ok(_) => {
                let message = format!("volume `{name}` carries no labels of Hythe; it is left alone");
                return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
            }
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
    if there.labels.get(OWNER) == spec.labels.get(OWNER) {
        return Ok(());
    }
    let message = format!("volume `{}` is there already and belongs to somebody else", spec.name);
    Err(Error::new(ErrorKind::AlreadyExists, "ensure volume", message))
}

fn described(volume: Volume) -> VolumeInfo {
    VolumeInfo {
        name: volume.name,
        labels: volume.labels,
        path: (!volume.mountpoint.is_empty()).then_some(volume.mountpoint),
    }
}

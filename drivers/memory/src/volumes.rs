//! Named volumes.

use async_trait::async_trait;
use hythe_runtime::identity;
use hythe_runtime::{Error, ErrorKind, OpContext, Result, VolumeInfo, VolumeSpec, Volumes};

use crate::Memory;
use crate::engine::{Volume, World};
use crate::files::SharedTree;

#[async_trait]
impl Volumes for Memory {
    async fn ensure(&self, cx: &OpContext, spec: &VolumeSpec) -> Result<()> {
        self.engine.answer(cx, "volume-ensure", async { ensure(&mut self.engine.world(), spec) }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<VolumeInfo>> {
        let act = async {
            let world = self.engine.world();
            let info = |(name, volume): (&String, &Volume)| VolumeInfo {
                name: name.clone(),
                labels: volume.labels.clone(),
                path: None,
            };
            Ok(world.volumes.iter().map(info).collect())
        };
        self.engine.answer(cx, "volume-list", act).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        self.engine.answer(cx, "volume-remove", async { remove(&mut self.engine.world(), name, owner) }).await
    }
}

fn ensure(world: &mut World, spec: &VolumeSpec) -> Result<()> {
    if let Some(held) = world.volumes.get(&spec.name) {
        return identity::ensure_same_owner("volume-ensure", "volume", &spec.name, &held.labels, &spec.labels);
    }
    let volume = Volume { labels: spec.labels.clone(), tree: SharedTree::default(), used: false };
    world.volumes.insert(spec.name.clone(), volume);
    Ok(())
}

fn remove(world: &mut World, name: &str, owner: &str) -> Result<()> {
    let Some(held) = world.volumes.get(name) else { return Ok(()) };
    identity::must_be_of(owner, "volume-remove", "volume", name, &held.labels)?;
    let users: Vec<&str> = world.instances.values().filter(|i| i.uses_volume(name)).map(|i| i.name.as_str()).collect();
    if !users.is_empty() {
        let words = format!("volume `{name}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, "volume-remove", words));
    }
    world.volumes.remove(name);
    Ok(())
}

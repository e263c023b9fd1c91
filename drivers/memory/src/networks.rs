//! Networks: names only; no packet moves.

use async_trait::async_trait;
use hythe_runtime::identity;
use hythe_runtime::{Error, ErrorKind, NetworkInfo, NetworkSpec, Networks, OpContext, Result};

use crate::Memory;
use crate::engine::World;

#[async_trait]
impl Networks for Memory {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        self.engine.answer(cx, "network-ensure", async { ensure(&mut self.engine.world(), spec) }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let act = async { Ok(self.engine.world().networks.values().cloned().collect()) };
        self.engine.answer(cx, "network-list", act).await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        self.engine.answer(cx, "network-remove", async { remove(&mut self.engine.world(), name, owner) }).await
    }
}

fn ensure(world: &mut World, spec: &NetworkSpec) -> Result<()> {
    if let Some(held) = world.networks.get(&spec.name) {
        return identity::ensure_same_owner("network-ensure", "network", &spec.name, &held.labels, &spec.labels);
    }
    let subnet = format!("10.89.{}.0/24", world.networks.len() % 256);
    let info = NetworkInfo {
        name: spec.name.clone(),
        labels: spec.labels.clone(),
        driver: "bridge".to_owned(),
        subnets: vec![subnet],
    };
    world.networks.insert(spec.name.clone(), info);
    Ok(())
}

fn remove(world: &mut World, name: &str, owner: &str) -> Result<()> {
    let Some(held) = world.networks.get(name) else { return Ok(()) };
    identity::must_be_of(owner, "network-remove", "network", name, &held.labels)?;
    let users: Vec<&str> = world.instances.values().filter(|i| i.uses_network(name)).map(|i| i.name.as_str()).collect();
    if !users.is_empty() {
        let words = format!("network `{name}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, "network-remove", words));
    }
    world.networks.remove(name);
    Ok(())
}

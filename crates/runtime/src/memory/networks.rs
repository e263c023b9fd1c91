//! Networks: names only; no packet moves.

use async_trait::async_trait;

use super::Memory;
use super::engine::World;
use crate::identity::OWNER;
use crate::{Error, ErrorKind, NetworkInfo, NetworkSpec, Networks, OpContext, Result};

#[async_trait]
impl Networks for Memory {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        self.engine.answer(cx, "network-ensure", async { ensure(&mut self.engine.world(), spec) }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let act = async { Ok(self.engine.world().networks.values().cloned().collect()) };
        self.engine.answer(cx, "network-list", act).await
    }

    async fn remove(&self, cx: &OpContext, name: &str) -> Result<()> {
        self.engine.answer(cx, "network-remove", async { remove(&mut self.engine.world(), name) }).await
    }
}

fn ensure(world: &mut World, spec: &NetworkSpec) -> Result<()> {
    if let Some(held) = world.networks.get(&spec.name) {
        let same = held.labels.contains_key(OWNER) && held.labels.get(OWNER) == spec.labels.get(OWNER);
        let words = format!("network `{}` belongs to somebody else", spec.name);
        return if same { Ok(()) } else { Err(Error::new(ErrorKind::AlreadyExists, "network-ensure", words)) };
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

fn remove(world: &mut World, name: &str) -> Result<()> {
    let users: Vec<&str> = world.instances.values().filter(|i| i.uses_network(name)).map(|i| i.name.as_str()).collect();
    if !users.is_empty() {
        let words = format!("network `{name}` is used by `{}`", users.join("`, `"));
        return Err(Error::new(ErrorKind::Conflict, "network-remove", words));
    }
    world.networks.remove(name);
    Ok(())
}

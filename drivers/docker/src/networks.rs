//! Networks of the engine.

use async_trait::async_trait;
use http::Method;
use hythe_runtime::identity::OWNER;
use hythe_runtime::{Error, ErrorKind, NetworkInfo, NetworkSpec, Networks, OpContext, Result};
use serde_json::json;

use crate::client::{filters, segment};
use crate::core::Core;
use crate::error::{bounded, carried, is_absent, listing, translate};
use crate::native::{Created, Network};
use crate::translate::Engine;

#[async_trait]
impl Networks for Core {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let (core, spec) = (self.clone(), spec.clone());
        carried(cx, "ensure network", async move { core.ensure_network(&spec).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        bounded(cx, "list networks", async {
            let networks: Vec<Network> =
                self.client.get("/networks", &[]).await.map_err(|error| listing("list networks", error))?;
            let mut list: Vec<NetworkInfo> = networks.into_iter().map(described).collect();
            list.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(list)
        })
        .await
    }

    async fn remove(&self, cx: &OpContext, name: &str) -> Result<()> {
        let (core, name) = (self.clone(), name.to_owned());
        carried(cx, "remove network", async move { core.remove_network(&name).await }).await
    }
}

impl Core {
    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<()> {
        const OPERATION: &str = "ensure network";
        let _making = self.making_network.lock().await;
        if let Some(there) = self.networks_named(OPERATION, &spec.name).await?.first() {
            return same_owner(there, spec);
        }
        // dockerd keeps its networks apart unasked.
        let options = if self.engine == Engine::Podman { json!({ "isolate": "true" }) } else { json!({}) };
        let body = json!({
            "Options": options, "Name": spec.name, "Driver": "bridge", "Internal": spec.internal, "Labels": spec.labels, "CheckDuplicate": true,
        });
        let made = self.client.post::<Created>("/networks/create", &[], &body).await;
        let there = self.networks_named(OPERATION, &spec.name).await?;
        match (made, there.split_first()) {
            (Ok(_), Some((first, others))) => {
                self.settle(others, spec).await?;
                same_owner(first, spec)
            }
            // Somebody else was first.
            (Err(_), Some((first, _))) => same_owner(first, spec),
            (Err(error), None) => Err(translate(OPERATION, &spec.name, error)),
            (Ok(_), None) => Ok(()),
        }
    }

    /// Racing creates before API 1.44 can leave several networks of one name; everybody keeps the same one.
    async fn settle(&self, others: &[Network], spec: &NetworkSpec) -> Result<()> {
        for network in others.iter().filter(|network| same_owner(network, spec).is_ok()) {
            match self.client.act(Method::DELETE, &format!("/networks/{}", segment(&network.id)), &[]).await {
                Err(error) if is_absent(&error) => {}
                done => done.map(drop).map_err(|error| translate("ensure network", &spec.name, error))?,
            }
        }
        Ok(())
    }

    /// The networks of exactly that name, the oldest first.
    async fn networks_named(&self, operation: &'static str, name: &str) -> Result<Vec<Network>> {
        let filters = filters(&[("name", vec![name.to_owned()])]);
        let mut found: Vec<Network> = self
            .client
            .get("/networks", &[("filters", &filters)])
            .await
            .map_err(|error| translate(operation, name, error))?;
        found.retain(|network| network.name == name);
        found.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(found)
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        const OPERATION: &str = "remove network";
        let networks = self.networks_named(OPERATION, name).await?;
        if networks.is_empty() {
            return Ok(());
        }
        // dockerd counts only running users, and Podman's API takes the network away from running ones.
        let users = self.users_of(OPERATION, "network", name).await?;
        if !users.is_empty() {
            let message = format!("network `{name}` is used by `{}`", users.join("`, `"));
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
        }
        for network in networks {
            if !network.labels.contains_key(OWNER) {
                let message = format!("network `{name}` carries no labels of Hythe; it is left alone");
                return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
            }
            match self.client.act(Method::DELETE, &format!("/networks/{}", segment(&network.id)), &[]).await {
                Err(error) if is_absent(&error) => {}
                done => done.map(drop).map_err(|error| translate(OPERATION, name, error))?,
            }
        }
        Ok(())
    }
}

fn same_owner(there: &Network, spec: &NetworkSpec) -> Result<()> {
    if there.labels.get(OWNER) == spec.labels.get(OWNER) {
        return Ok(());
    }
    let message = format!("network `{}` is there already and belongs to somebody else", spec.name);
    Err(Error::new(ErrorKind::AlreadyExists, "ensure network", message))
}

fn described(network: Network) -> NetworkInfo {
    let mut subnets: Vec<String> =
        network.ipam.config.into_iter().map(|config| config.subnet).filter(|subnet| !subnet.is_empty()).collect();
    subnets.sort();
    NetworkInfo { name: network.name, labels: network.labels, driver: network.driver, subnets }
}

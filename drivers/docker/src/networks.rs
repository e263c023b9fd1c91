//! Networks of the engine.

use async_trait::async_trait;
use http::Method;
use hythe_runtime::identity::{OWNER, ensure_same_owner, must_be_of};
use hythe_runtime::{Error, ErrorKind, NetworkInfo, NetworkSpec, Networks, OpContext, Result};
use serde_json::json;

use crate::api_types::{Created, Network};
use crate::client::{filters, segment};
use crate::context::Context;
use crate::driver::Docker;
use crate::error::{is_absent, listing, translate};
use crate::translate::Engine;

#[async_trait]
impl Networks for Docker {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let (context, spec) = (self.context.clone(), spec.clone());
        cx.run_detached("ensure network", async move { context.ensure_network(&spec).await }).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        cx.with_deadline("list networks", async {
            let networks: Vec<Network> =
                self.context.client.get("/networks", &[]).await.map_err(|error| listing("list networks", error))?;
            let mut list: Vec<NetworkInfo> = networks.into_iter().map(described).collect();
            list.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(list)
        })
        .await
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let (context, name, owner) = (self.context.clone(), name.to_owned(), owner.to_owned());
        cx.run_detached("remove network", async move { context.remove_network(&name, &owner).await }).await
    }
}

impl Context {
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
                self.remove_twins(others, spec).await?;
                if spec.labels.contains_key(OWNER) { same_owner(first, spec) } else { Ok(()) }
            }
            // Somebody else was first.
            (Err(_), Some((first, _))) => same_owner(first, spec),
            (Err(error), None) => Err(translate(OPERATION, &spec.name, error)),
            (Ok(_), None) => Ok(()),
        }
    }

    /// Racing creates before API 1.44 can leave several networks of one name; everybody keeps the same one.
    async fn remove_twins(&self, others: &[Network], spec: &NetworkSpec) -> Result<()> {
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

    async fn remove_network(&self, name: &str, owner: &str) -> Result<()> {
        const OPERATION: &str = "remove network";
        let networks = self.networks_named(OPERATION, name).await?;
        if networks.is_empty() {
            return Ok(());
        }
        for network in &networks {
            must_be_of(owner, OPERATION, "network", name, &network.labels)?;
        }
        // dockerd counts only running users, and Podman's API takes the network away from running ones.
        let users = self.users_of(OPERATION, "network", name).await?;
        if !users.is_empty() {
            let message = format!("network `{name}` is used by `{}`", users.join("`, `"));
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
        }
        for network in networks {
            match self.client.act(Method::DELETE, &format!("/networks/{}", segment(&network.id)), &[]).await {
                Err(error) if is_absent(&error) => {}
                done => done.map(drop).map_err(|error| translate(OPERATION, name, error))?,
            }
        }
        Ok(())
    }
}

fn same_owner(there: &Network, spec: &NetworkSpec) -> Result<()> {
    ensure_same_owner("ensure network", "network", &spec.name, &there.labels, &spec.labels)
}

fn described(network: Network) -> NetworkInfo {
    let mut subnets: Vec<String> =
        network.ipam.config.into_iter().map(|config| config.subnet).filter(|subnet| !subnet.is_empty()).collect();
    subnets.sort();
    NetworkInfo { name: network.name, labels: network.labels, driver: network.driver, subnets }
}

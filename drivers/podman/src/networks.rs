//! Bridge networks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use http::Method;
use hythe_runtime::{Error, ErrorKind, NetworkInfo, NetworkSpec, Networks, OpContext, Result, identity};
use serde::{Deserialize, Serialize};

use crate::api_types::NetworkDocument;
use crate::client::{About, filters, segment};
use crate::driver::Podman;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct User {
    #[serde(default)]
    names: Option<Vec<String>>,
}

/// What makes a network.
#[derive(Debug, Serialize)]
struct NetworkSpecDocument<'a> {
    name: &'a str,
    driver: &'static str,
    internal: bool,
    dns_enabled: bool,
    labels: &'a BTreeMap<String, String>,
    options: BTreeMap<&'static str, &'static str>,
}

impl Podman {
    /// Names of the instances that use a network or volume, for people; never an error.
    pub(crate) async fn names_using(&self, cx: &OpContext, about: About<'_>, what: &str) -> String {
        let filters = filters(&[(what, vec![about.subject.to_owned()])]);
        let query = [("all", "true"), ("filters", &*filters)];
        let users: Vec<User> = self.client.get(cx, about, "/containers/json", &query).await.unwrap_or_default();
        let names: Vec<String> =
            users.into_iter().flat_map(|user| user.names.unwrap_or_default()).map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "something else".to_owned() } else { names.join(", ") }
    }

    async fn network(&self, cx: &OpContext, about: About<'_>) -> Result<NetworkDocument> {
        self.client.get(cx, about, &path(about.subject, "/json"), &[]).await
    }
}

fn path(network: &str, below: &str) -> String {
    format!("/networks/{}{below}", segment(network))
}

#[async_trait]
impl Networks for Podman {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let about = About { operation: "network create", subject: &spec.name };
        let body = NetworkSpecDocument {
            name: &spec.name,
            driver: "bridge",
            internal: spec.internal,
            dns_enabled: true,
            labels: &spec.labels,
            options: BTreeMap::from([("isolate", "true")]),
        };
        let made = self.client.post::<NetworkDocument>(cx, about, "/networks/create", &[], &body).await;
        let taken = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => error,
            made => return made.map(drop),
        };
        let existing = self.network(cx, about).await?.labels.unwrap_or_default();
        identity::ensure_same_owner(about.operation, "network", &spec.name, &existing, &spec.labels)
            .map_err(|refusal| refusal.source(taken))
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let about = About { operation: "network list", subject: "podman" };
        let found: Vec<NetworkDocument> = self.client.listing(cx, about, "/networks/json", &[]).await?;
        let mut networks: Vec<NetworkInfo> = found.into_iter().map(NetworkDocument::info).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let about = About { operation: "network remove", subject: name };
        let there = match self.network(cx, about).await {
            Err(error) if error.is_not_found() => return Ok(()),
            outcome => outcome?,
        };
        identity::must_be_of(owner, about.operation, "network", name, &there.labels.unwrap_or_default())?;
        match self.client.act(cx, about, Method::DELETE, &path(name, ""), &[]).await {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let users = self.names_using(cx, about, "network").await;
                Err(Error::new(ErrorKind::Conflict, about.operation, format!("`{name}` is in use by {users}"))
                    .source(error))
            }
            removed => removed.map(drop),
        }
    }
}

impl NetworkDocument {
    fn info(self) -> NetworkInfo {
        let mut subnets: Vec<String> =
            self.subnets.unwrap_or_default().into_iter().map(|subnet| subnet.subnet).collect();
        subnets.sort();
        NetworkInfo { name: self.name, labels: self.labels.unwrap_or_default(), driver: self.driver, subnets }
    }
}

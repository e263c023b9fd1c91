//! Bridge networks.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hythe_runtime::{Error, ErrorKind, NetworkInfo, NetworkSpec, Networks, OpContext, Result, identity};
use serde::Deserialize;

use crate::api_types::NetworkDocument;
use crate::client::About;
use crate::driver::Podman;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct User {
    #[serde(default)]
    names: Option<Vec<String>>,
}

impl Podman {
    /// Names of the instances that a filter of `podman ps` finds, for people; never an error.
    pub(crate) async fn names_using(&self, cx: &OpContext, about: About<'_>, filter: String) -> String {
        let args = vec!["ps".to_owned(), "--all".to_owned(), "--format=json".to_owned(), filter];
        let users: Vec<User> = self.client.document(cx, about, args).await.unwrap_or_default();
        let names: Vec<String> =
            users.into_iter().flat_map(|user| user.names.unwrap_or_default()).map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "something else".to_owned() } else { names.join(", ") }
    }

    async fn network(&self, cx: &OpContext, about: About<'_>) -> Result<Option<NetworkDocument>> {
        let found: Vec<NetworkDocument> =
            self.client.document(cx, about, ["network", "inspect", about.subject]).await?;
        Ok(found.into_iter().next())
    }
}

#[async_trait]
impl Networks for Podman {
    async fn ensure(&self, cx: &OpContext, spec: &NetworkSpec) -> Result<()> {
        let about = About { operation: "network create", subject: &spec.name };
        let mut args = vec![
            "network".to_owned(),
            "create".to_owned(),
            "--driver=bridge".to_owned(),
            "--opt=isolate=true".to_owned(),
        ];
        args.extend(spec.internal.then(|| "--internal".to_owned()));
        args.extend(label_args(&spec.labels));
        args.push(spec.name.clone());
        let taken = match self.client.act(cx, about, args).await?.success(about) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => error,
            made => return made.map(drop),
        };
        let existing = self.network(cx, about).await?.and_then(|network| network.labels).unwrap_or_default();
        identity::ensure_same_owner(about.operation, "network", &spec.name, &existing, &spec.labels)
            .map_err(|refusal| refusal.source(taken))
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<NetworkInfo>> {
        let about = About { operation: "network list", subject: "podman" };
        let found: Vec<NetworkDocument> = self.client.listing(cx, about, ["network", "ls", "--format=json"]).await?;
        let mut networks: Vec<NetworkInfo> = found.into_iter().map(NetworkDocument::info).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    async fn remove(&self, cx: &OpContext, name: &str, owner: &str) -> Result<()> {
        let about = About { operation: "network remove", subject: name };
        let there = match self.network(cx, about).await {
            Err(error) if error.is_not_found() => None,
            outcome => outcome?,
        };
        let Some(there) = there else { return Ok(()) };
        identity::must_be_of(owner, about.operation, "network", name, &there.labels.unwrap_or_default())?;
        match self.client.act(cx, about, ["network", "rm", name]).await?.success(about) {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let users = self.names_using(cx, about, format!("--filter=network={name}")).await;
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

pub(crate) fn label_args(labels: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    labels.iter().map(|(key, value)| format!("--label={key}={value}"))
}

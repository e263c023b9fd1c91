//! What an instance was made as: an extension of its container, since labels are bounded.

use std::collections::BTreeMap;

use hythe_oci_spec::Command;
use hythe_runtime::identity::ensure_owned;
use hythe_runtime::{Error, ErrorKind, Identity, InstanceRef, Plan, Result};
use hythe_spec::Signal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api_types::{Any, ById, Container, Containers, Filters, OneContainer};
use crate::context::Context;

/// Name of the extension, and its type.
const EXTENSION: &str = "hythe.record";
/// Label with the instance's name.
pub(crate) const NAME: &str = "hythe.instance";

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) plan: Plan,
    pub(crate) image_id: String,
    /// Digest of the image's manifest, which stays as long as the container.
    #[serde(default)]
    pub(crate) manifest: String,
    pub(crate) command: Command,
    pub(crate) stop_signal: Option<Signal>,
    /// Where the image declares volumes and the plan mounts nothing; each is a directory of the instance.
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    /// The seccomp profile as `linux.seccomp`; null: none.
    #[serde(default)]
    pub(crate) seccomp: Value,
}

impl Record {
    pub(crate) fn identity(&self) -> Option<Identity> {
        Identity::from_labels(&self.labels)
    }

    pub(crate) fn extension(&self, operation: &'static str) -> Result<(String, Any)> {
        let value = serde_json::to_vec(self).map_err(|error| internal(operation, &error))?;
        Ok((EXTENSION.to_owned(), Any { type_url: EXTENSION.to_owned(), value }))
    }
}

pub(crate) fn internal(operation: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, operation, error.to_string())
}

/// A container of the namespace: one of ours, or one that somebody else has made there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) container: Container,
    pub(crate) record: Option<Record>,
}

impl Found {
    pub(crate) fn of(container: Container) -> Self {
        let extension = container.extensions.get(EXTENSION);
        let record = extension.and_then(|extension| serde_json::from_slice(&extension.value).ok());
        Self { container, record }
    }

    pub(crate) fn id(&self) -> &str {
        &self.container.id
    }

    /// One without a name of ours is called as its id is.
    pub(crate) fn name(&self) -> &str {
        self.container.labels.get(NAME).unwrap_or(&self.container.id)
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        match &self.record {
            Some(record) => record.labels.clone(),
            None => self.container.labels.clone().into_iter().collect(),
        }
    }
}

/// All containers of the namespace.
pub(crate) async fn all(context: &Context, operation: &'static str) -> Result<Vec<Found>> {
    matching(context, operation, Vec::new()).await
}

async fn matching(context: &Context, operation: &'static str, filters: Vec<String>) -> Result<Vec<Found>> {
    let request = Filters { filters };
    let found: Containers = context.client.call(operation, "containers.v1.Containers/List", &request).await?;
    Ok(found.containers.into_iter().map(Found::of).collect())
}

/// Who has a name.
pub(crate) async fn by_name(context: &Context, operation: &'static str, name: &str) -> Result<Option<Found>> {
    let quoted = serde_json::to_string(name).map_err(|error| internal(operation, &error))?;
    let filters = vec![format!("labels.\"{NAME}\"=={quoted}"), format!("id=={quoted}")];
    let found = matching(context, operation, filters).await?;
    Ok(found.into_iter().find(|found| found.name() == name))
}

/// By id or name.
pub(crate) async fn find(context: &Context, operation: &'static str, instance: &InstanceRef) -> Result<Found> {
    let absent = || Error::new(ErrorKind::NotFound, operation, format!("no instance `{instance}`"));
    match instance {
        InstanceRef::Name(name) => by_name(context, operation, name).await?.ok_or_else(absent),
        InstanceRef::Id(id) => {
            let request = ById { id: id.0.clone() };
            let answer = context.client.call(operation, "containers.v1.Containers/Get", &request).await;
            let found: OneContainer = match answer {
                // An id that no container can have.
                Err(error) if error.kind() == ErrorKind::Invalid || error.is_not_found() => return Err(absent()),
                answer => answer?,
            };
            found.container.map(Found::of).ok_or_else(absent)
        }
    }
}

/// As [`find`], for what changes it: what is not ours only by its id.
pub(crate) async fn own(context: &Context, operation: &'static str, instance: &InstanceRef) -> Result<Found> {
    let found = find(context, operation, instance).await?;
    ensure_owned(operation, instance, &found.labels())?;
    Ok(found)
}

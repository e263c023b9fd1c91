//! `containerd.services.containers.v1`.

use std::collections::HashMap;

use super::{Any, FieldMask, Time};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    pub(crate) image: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) runtime: Option<ContainerRuntime>,
    #[prost(message, optional, tag = "5")]
    pub(crate) spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub(crate) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(crate) snapshot_key: String,
    #[prost(message, optional, tag = "8")]
    pub(crate) created_at: Option<Time>,
    #[prost(map = "string, message", tag = "10")]
    pub(crate) extensions: HashMap<String, Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerRuntime {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// A request that names one by its id, and so do those of several services.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ById {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OneContainer {
    #[prost(message, optional, tag = "1")]
    pub(crate) container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateContainer {
    #[prost(message, optional, tag = "1")]
    pub(crate) container: Option<Container>,
    #[prost(message, optional, tag = "2")]
    pub(crate) update_mask: Option<FieldMask>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Filters {
    #[prost(string, repeated, tag = "1")]
    pub(crate) filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub(crate) containers: Vec<Container>,
}

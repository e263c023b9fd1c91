//! `containerd.services.images.v1`.

use std::collections::HashMap;

use super::{Descriptor, Time};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ImageRecord {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) labels: HashMap<String, String>,
    #[prost(message, optional, tag = "3")]
    pub(crate) target: Option<Descriptor>,
    #[prost(message, optional, tag = "7")]
    pub(crate) created_at: Option<Time>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OneImage {
    #[prost(message, optional, tag = "1")]
    pub(crate) image: Option<ImageRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ImageRecords {
    #[prost(message, repeated, tag = "1")]
    pub(crate) images: Vec<ImageRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeleteImage {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Answers once what nobody refers to any more is gone.
    #[prost(bool, tag = "2")]
    pub(crate) sync: bool,
}

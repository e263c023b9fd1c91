//! `containerd.services.content.v1` and `containerd.services.diff.v1`.

use std::collections::HashMap;

use super::{Descriptor, Mount};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadContent {
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContentPiece {
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WriteContent {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(crate) action: i32,
    #[prost(string, tag = "2")]
    pub(crate) reference: String,
    #[prost(int64, tag = "3")]
    pub(crate) total: i64,
    #[prost(string, tag = "4")]
    pub(crate) expected: String,
    #[prost(int64, tag = "5")]
    pub(crate) offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) data: Vec<u8>,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct WroteContent {
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum WriteAction {
    Stat = 0,
    Write = 1,
    Commit = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ApplyDiff {
    #[prost(message, optional, tag = "1")]
    pub(crate) diff: Option<Descriptor>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) mounts: Vec<Mount>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AppliedDiff {
    #[prost(message, optional, tag = "1")]
    pub(crate) applied: Option<Descriptor>,
}

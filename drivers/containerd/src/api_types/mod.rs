//! The messages of containerd's API that are used, written by hand: field numbers are facts of the interface, and no compiler of
//! protocol files is needed to build. Fields that nobody reads here are left out; who decodes skips them.

mod containers;
mod content;
mod events;
mod images;
mod snapshots;
mod tasks;

use std::collections::HashMap;

pub(crate) use containers::*;
pub(crate) use content::*;
pub(crate) use events::*;
pub(crate) use images::*;
pub(crate) use snapshots::*;
pub(crate) use tasks::*;

/// `google.protobuf.Empty`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

/// `google.protobuf.Any`: a document with its type.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Time {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `google.protobuf.FieldMask`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub(crate) paths: Vec<String>,
}

/// How a file system is mounted.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) source: String,
    #[prost(string, tag = "3")]
    pub(crate) target: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) options: Vec<String>,
}

/// Content by its digest.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(crate) media_type: String,
    #[prost(string, tag = "2")]
    pub(crate) digest: String,
    #[prost(int64, tag = "3")]
    pub(crate) size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VersionResponse {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServerResponse {
    #[prost(string, tag = "1")]
    pub(crate) uuid: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CreateLease {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Leases {
    #[prost(message, repeated, tag = "1")]
    pub(crate) leases: Vec<Lease>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Lease {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AddLeased {
    /// The lease.
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) resource: Option<Leased>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Leased {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// `content`, or `snapshots/` and the snapshotter.
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeleteLease {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

//! The shapes of a service file, one type per table; their documentation is the JSON schema's.

mod component;
mod permissions;
mod schema;
mod service;

pub(crate) use component::{
    ComponentFile, DependencyTable, EnvFileTable, HealthFile, HttpTable, LimitTable, MountTable, SecretTable,
};
pub(crate) use permissions::{NetworkFile, OutboundFile, PermissionsFile};
pub(crate) use schema::schema;
pub(crate) use service::SecretSourceTable;
pub use service::ServiceFile;

use super::decode::At;
use super::shapes::{Map, Or};

/// A string, or a list of them.
pub(crate) type Words = Or<String, Vec<At<String>>>;
/// One item, or a list of them.
pub(crate) type OneOrMany<T> = Or<T, Vec<At<T>>>;
/// A table, or a list of strings.
pub(crate) type TableOrList<T> = Or<Map<T>, Vec<At<String>>>;

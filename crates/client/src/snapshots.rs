//! Snapshots: make, list, show, remove.

use http::Method;
use hythe_api::{CreateSnapshot, Operation, RestoreSnapshot, RuntimeQuery, Snapshot, SnapshotDetail, SnapshotQuery};

use crate::call::{Call, segment};
use crate::{Client, ClientError};

impl Client {
    /// Snapshots in the engines.
    pub async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, ClientError> {
        Call::get("/v1/snapshots").query(query)?.json(&self.endpoint).await
    }

    /// Keeps the files of a workload's instance.
    pub async fn create_snapshot(&self, what: &CreateSnapshot) -> Result<Operation, ClientError> {
        self.post("/v1/snapshots", what)?.json(&self.endpoint).await
    }

    /// Replaces a workload's instance with one made of a snapshot of it.
    pub async fn restore_snapshot(&self, workload: &str, what: &RestoreSnapshot) -> Result<Operation, ClientError> {
        self.post(format!("/v1/workloads/{}/restore", segment(workload)), what)?.json(&self.endpoint).await
    }

    /// One snapshot, by full name or as `shop/web:1`, with its mounts.
    pub async fn snapshot(&self, name: &str, query: &RuntimeQuery) -> Result<SnapshotDetail, ClientError> {
        Call::get(snapshot(name)).query(query)?.json(&self.endpoint).await
    }

    /// Removes a snapshot, named the same ways.
    pub async fn remove_snapshot(&self, name: &str, query: &RuntimeQuery) -> Result<(), ClientError> {
        Call::new(Method::DELETE, snapshot(name)).query(query)?.empty(&self.endpoint).await
    }
}

fn snapshot(name: &str) -> String {
    format!("/v1/snapshots/{}", segment(name))
}

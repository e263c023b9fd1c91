//! Taking over, purging, collecting.

use hythe_api::{Adopt, Adopted, Collected, Garbage, Gc, GcQuery, Purge, Purged};

use crate::call::Call;
use crate::{Client, ClientError};

impl Client {
    /// Takes over a container as it runs.
    pub async fn adopt(&self, what: &Adopt) -> Result<Adopted, ClientError> {
        self.post("/v1/adopt", what)?.json(&self.endpoint).await
    }

    /// Removes the services that are not described and at rest; their operations are followed with [`Client::progress`].
    pub async fn purge(&self, what: &Purge) -> Result<Vec<Purged>, ClientError> {
        self.post("/v1/purge", what)?.json(&self.endpoint).await
    }

    /// Orphaned resources of the agent.
    pub async fn garbage(&self, query: &GcQuery) -> Result<Vec<Garbage>, ClientError> {
        Call::get("/v1/gc").query(query)?.json(&self.endpoint).await
    }

    /// Removes what of it is ripe.
    pub async fn collect(&self, what: &Gc) -> Result<Collected, ClientError> {
        self.post("/v1/gc", what)?.json(&self.endpoint).await
    }
}

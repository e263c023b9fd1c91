//! The client and what concerns the agent as a whole; the nouns have files of their own.

use hythe_api::{Explain, Explained, Health, Runtime, SecretsQuery, Version};

use crate::call::Call;
use crate::target::{Target, Token};
use crate::{ClientError, Endpoint};

/// A client of one agent. Cheap to clone; every call makes its own connection.
///
/// Every method fails with [`ClientError`]; none of them retries, none starts an agent.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) endpoint: Target,
}

impl Client {
    /// A client of the agent there; nothing is connected yet.
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Target { endpoint, token: None } }
    }

    /// The same with the bearer token of its agent, which is sent over TCP only.
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.endpoint.token = Some(Token(token.into()));
        self
    }

    /// Where its agent listens.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint.endpoint
    }

    /// What the agent says of its own health; an error says why it does not work.
    pub async fn healthz(&self) -> Result<Health, ClientError> {
        Call::get("/healthz").json(&self.endpoint).await
    }

    /// Counters in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        Call::get("/metrics").text(&self.endpoint).await
    }

    /// Version and identity of the agent.
    pub async fn version(&self) -> Result<Version, ClientError> {
        Call::get("/v1/version").json(&self.endpoint).await
    }

    /// The OpenAPI document as this agent serves it.
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        Call::get("/v1/openapi.json").json(&self.endpoint).await
    }

    /// Runtimes with health, version and capability.
    pub async fn runtimes(&self) -> Result<Vec<Runtime>, ClientError> {
        Call::get("/v1/runtimes").json(&self.endpoint).await
    }

    /// What drivers would give their engines for a service.
    pub async fn explain(&self, what: &Explain, query: &SecretsQuery) -> Result<Vec<Explained>, ClientError> {
        self.post("/v1/explain", what)?.query(query)?.json(&self.endpoint).await
    }

    pub(crate) fn post(&self, path: impl Into<String>, body: &impl serde::Serialize) -> Result<Call, ClientError> {
        Call::new(http::Method::POST, path).body(body)
    }
}

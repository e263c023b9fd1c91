//! The agent's secrets.

use http::Method;
use hythe_api::{SecretDetail, SecretRow, SecretsQuery, SetSecret, SetSecretOutcome};

use crate::call::{Call, segment};
use crate::{Client, ClientError};

impl Client {
    /// Secrets, without their values.
    pub async fn secrets(&self) -> Result<Vec<SecretRow>, ClientError> {
        Call::get("/v1/secrets").json(&self.endpoint).await
    }

    /// One secret; with its value only where secrets are shown.
    pub async fn secret(&self, name: &str, query: &SecretsQuery) -> Result<SecretDetail, ClientError> {
        Call::get(secret(name)).query(query)?.json(&self.endpoint).await
    }

    /// Sets a secret.
    pub async fn set_secret(&self, name: &str, value: &SetSecret) -> Result<SetSecretOutcome, ClientError> {
        Call::new(Method::PUT, secret(name)).body(value)?.json(&self.endpoint).await
    }

    /// Removes a secret.
    pub async fn remove_secret(&self, name: &str) -> Result<(), ClientError> {
        Call::new(Method::DELETE, secret(name)).send(&self.endpoint).await.map(drop)
    }
}

fn secret(name: &str) -> String {
    format!("/v1/secrets/{}", segment(name))
}

//! Secrets, and whether what may hold some is shown as it is.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Query of what may hold secrets: values of variables, words of commands, labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretsQuery {
    /// Show secrets instead of `********`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub show_secrets: bool,
}

impl SecretsQuery {
    /// With every value as it is.
    pub const SHOWN: Self = Self { show_secrets: true };
}

/// One row of `GET /v1/secrets`; its value is in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRow {
    /// Name of the secret.
    pub name: String,
    /// Bytes of its value.
    pub size: u64,
    /// When its value was last set.
    pub updated: Timestamp,
    /// Workloads that are described with it.
    pub workloads: Vec<String>,
}

/// `GET /v1/secrets/{name}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretDetail {
    /// The row.
    pub secret: SecretRow,
    /// Its value in base64, where secrets are shown.
    pub value: Option<String>,
}

impl std::fmt::Debug for SecretDetail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretDetail").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// Body of `PUT /v1/secrets/{name}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSecret {
    /// The value in base64.
    pub value: String,
}

impl std::fmt::Debug for SetSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetSecret").finish_non_exhaustive()
    }
}

/// What `PUT /v1/secrets/{name}` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSecretOutcome {
    /// It is another value than before.
    pub changed: bool,
    /// The row.
    pub secret: SecretRow,
}

//! Operations: what the agent was asked to do and how it ended.

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Result, Store};

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// At work.
    Running,
    /// Done.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Withdrawn.
    Cancelled,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Its id.
    pub id: String,
    /// What it does: `deploy`, `stop`, …
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// How far it is.
    pub state: OperationState,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Why it failed, as it was told to the client.
    pub error: Option<Value>,
    /// Its result.
    pub result: Option<Value>,
}

impl Store {
    /// Writes an operation.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save_operation(&self, operation: &OperationRecord) -> Result<()> {
        let record = serde_json::to_string(operation)?;
        self.write(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO operations (id, started, record) VALUES (?1, ?2, ?3)")?
                .execute(params![operation.id, operation.started.to_string(), record])?;
            Ok(())
        })
    }

    /// All kept operations, newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn operations(&self) -> Result<Vec<OperationRecord>> {
        self.records("SELECT record FROM operations ORDER BY started DESC, id DESC")
    }

    /// Forgets all but the newest `keep` operations.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn prune_operations(&self, keep: u32) -> Result<()> {
        let sql = "DELETE FROM operations WHERE id NOT IN (SELECT id FROM operations ORDER BY started DESC, id DESC LIMIT ?1)";
        self.write(|connection| {
            connection.execute(sql, [keep])?;
            Ok(())
        })
    }
}

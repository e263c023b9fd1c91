//! Operations: what the agent was asked to do and how it ended.

use hythe_spec::vocabulary::{OpenEnum, OperationKind, OperationState};
use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Result, Store};

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: OpenEnum<OperationKind>,
    /// What it is about.
    pub subject: String,
    /// How far it is.
    pub state: OperationState,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Why it failed, as the client got it.
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn operation_of_another_version_is_read_with_its_kind() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        let record = |id: &str, kind| OperationRecord {
            id: id.to_owned(),
            kind,
            subject: "shop".to_owned(),
            state: OperationState::Succeeded,
            started: Timestamp::UNIX_EPOCH,
            finished: None,
            error: None,
            result: None,
        };
        let kinds = [OperationKind::Pull.into(), OpenEnum::Unknown("migrate".to_owned())];
        store.save_operation(&record("1", kinds[0].clone())).unwrap();
        store.save_operation(&record("2", kinds[1].clone())).unwrap();
        let read: Vec<_> = store.operations().unwrap().into_iter().rev().map(|operation| operation.kind).collect();
        assert_eq!(read, kinds);
    }
}

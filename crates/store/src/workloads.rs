//! Services and workloads, and the transaction that ties them to their events.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{DesiredRecord, EventRecord, NewEvent, ObservedRecord, Result, ServiceRecord, Store, events, tombstones};

/// Changes that are committed together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// Services to write.
    pub services: Vec<ServiceRecord>,
    /// Names of services to forget.
    pub forget_services: Vec<String>,
    /// What is desired of workloads, to write.
    pub desired: Vec<DesiredRecord>,
    /// What is known of one workload, to write.
    pub observed: Option<(String, ObservedRecord)>,
    /// Names of workloads to forget, desired and observed; that they were is remembered for a while.
    pub forget_workloads: Vec<String>,
    /// Events to append, in order.
    pub events: Vec<NewEvent>,
    /// How far a runtime's events were read: its name and the place.
    pub cursor: Option<(String, String)>,
}

impl Store {
    /// Commits the changes durably; returns the events as stored.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn commit(&self, changes: &Transaction) -> Result<Vec<EventRecord>> {
        self.write(|connection| commit(connection, changes))
    }

    /// All services, by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn services(&self) -> Result<Vec<ServiceRecord>> {
        self.records("SELECT record FROM services ORDER BY name")
    }

    /// One service.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn service(&self, name: &str) -> Result<Option<ServiceRecord>> {
        let connection = self.connection();
        let text: Option<String> =
            connection.query_row("SELECT record FROM services WHERE name = ?1", [name], |row| row.get(0)).optional()?;
        text.map(|text| serde_json::from_str(&text).map_err(Into::into)).transpose()
    }

    /// All workloads by name: what is desired and what was last known.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn workloads(&self) -> Result<Vec<(DesiredRecord, Option<ObservedRecord>)>> {
        let rows = self.rows(
            "SELECT desired.record, observed.record FROM desired LEFT JOIN observed USING (name) ORDER BY name",
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)),
        )?;
        rows.into_iter()
            .map(|(desired, observed)| {
                let observed = observed.map(|text| serde_json::from_str(&text)).transpose()?;
                Ok((serde_json::from_str(&desired)?, observed))
            })
            .collect()
    }

    /// Where the events of a runtime were last read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn cursor(&self, runtime: &str) -> Result<Option<String>> {
        let connection = self.connection();
        Ok(connection
            .query_row("SELECT cursor FROM cursors WHERE runtime = ?1", [runtime], |row| row.get(0))
            .optional()?)
    }

    pub(crate) fn records<T: serde::de::DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>> {
        let rows = self.rows(sql, |row| row.get::<_, String>(0))?;
        rows.into_iter().map(|text| Ok(serde_json::from_str(&text)?)).collect()
    }

    /// The rows as they are: others have the connection again while they are understood.
    fn rows<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn commit(connection: &mut Connection, changes: &Transaction) -> Result<Vec<EventRecord>> {
    let transaction = connection.transaction()?;
    for service in &changes.services {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO services (name, record) VALUES (?1, ?2)")?
            .execute(params![service.desired.name, serde_json::to_string(service)?])?;
    }
    for name in &changes.forget_services {
        transaction.execute("DELETE FROM services WHERE name = ?1", [name])?;
    }
    for desired in &changes.desired {
        transaction
            .prepare_cached(
                "INSERT INTO desired (name, record) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET record = excluded.record",
            )?
            .execute(params![desired.name, serde_json::to_string(desired)?])?;
    }
    if let Some((name, observed)) = &changes.observed {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO observed (name, record) VALUES (?1, ?2)")?
            .execute(params![name, serde_json::to_string(observed)?])?;
    }
    for name in &changes.forget_workloads {
        tombstones::insert_tombstone(&transaction, name, hythe_host::now())?;
    }
    if let Some((runtime, cursor)) = &changes.cursor {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO cursors (runtime, cursor) VALUES (?1, ?2)")?
            .execute([runtime, cursor])?;
    }
    let stored = changes.events.iter().map(|event| events::append(&transaction, event)).collect::<Result<_>>()?;
    transaction.commit()?;
    Ok(stored)
}

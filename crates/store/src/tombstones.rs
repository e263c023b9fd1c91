//! Workloads that were undeployed, so that instances which an engine still has are not adopted again.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::{DesiredRecord, Result, Store};

/// Kept at most.
const MOST: u32 = 1000;
/// Kept so long.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A workload that was undeployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Its name.
    pub workload: String,
    /// Its service.
    pub service: String,
    /// The highest generation it ever had.
    pub generation: u64,
    /// When it was last undeployed.
    pub time: Timestamp,
}

/// Deletes a workload and inserts its tombstone. An unknown workload leaves none.
pub(crate) fn insert_tombstone(transaction: &Transaction<'_>, workload: &str, now: Timestamp) -> Result<()> {
    let record: Option<String> =
        transaction.query_row("SELECT record FROM desired WHERE name = ?1", [workload], |row| row.get(0)).optional()?;
    let Some(record) = record else { return Ok(()) };
    let desired: DesiredRecord = serde_json::from_str(&record)?;
    transaction.execute("DELETE FROM desired WHERE name = ?1", [workload])?;
    transaction.execute(
        "INSERT INTO tombstones (workload, service, generation, time) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workload) DO UPDATE SET service = excluded.service, time = excluded.time,
             generation = MAX(generation, excluded.generation)",
        params![workload, desired.service, i64::try_from(desired.generation).unwrap_or(i64::MAX), now.as_second()],
    )?;
    prune(transaction, now)
}

fn prune(transaction: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let oldest = now.as_second() - LONGEST.as_secs();
    transaction.execute("DELETE FROM tombstones WHERE time < ?1", [oldest])?;
    transaction.execute(
        "DELETE FROM tombstones WHERE workload NOT IN
             (SELECT workload FROM tombstones ORDER BY time DESC, rowid DESC LIMIT ?1)",
        [MOST],
    )?;
    Ok(())
}

impl Store {
    /// The highest generation of a workload that was undeployed; `None`: there is no tombstone of that name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tombstone(&self, workload: &str) -> Result<Option<u64>> {
        let generation: Option<i64> = self
            .connection()
            .query_row("SELECT generation FROM tombstones WHERE workload = ?1", [workload], |row| row.get(0))
            .optional()?;
        Ok(generation.map(|generation| u64::try_from(generation).unwrap_or_default()))
    }

    /// All tombstones, by workload.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT workload, service, generation, time FROM tombstones ORDER BY workload")?;
        let rows = statement.query_map([], |row| {
            Ok(Tombstone {
                workload: row.get(0)?,
                service: row.get(1)?,
                generation: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
                time: Timestamp::from_second(row.get(3)?).unwrap_or(Timestamp::UNIX_EPOCH),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use hythe_spec::Component;

    use super::*;
    use crate::{ComponentSpec, Desired, Transaction as Changes};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        (dir, store)
    }

    fn desired(name: &str, generation: u64) -> DesiredRecord {
        let component = Component::new(name, "localhost/x:1".parse().unwrap());
        let spec = ComponentSpec { component, labels: Default::default(), hash: String::new() };
        DesiredRecord { name: name.to_owned(), ..DesiredRecord::new("shop", spec, generation, Desired::Running, "") }
    }

    fn deploy_and_undeploy(store: &Store, name: &str, generation: u64) {
        let deployed = Changes { desired: vec![desired(name, generation)], ..Changes::default() };
        store.commit(&deployed).unwrap();
        let undeployed = Changes { forget_workloads: vec![name.to_owned()], ..Changes::default() };
        store.commit(&undeployed).unwrap();
    }

    #[test]
    fn undeployed_workload_has_a_tombstone_with_its_highest_generation() {
        let (_dir, store) = store();
        assert_eq!(store.tombstone("web").unwrap(), None);
        deploy_and_undeploy(&store, "web", 4);
        deploy_and_undeploy(&store, "web", 1);
        assert_eq!(store.tombstone("web").unwrap(), Some(4));
        assert!(store.workloads().unwrap().is_empty());
        assert_eq!(store.tombstones().unwrap()[0].service, "shop");
    }

    #[test]
    fn unknown_workload_has_no_tombstone() {
        let (_dir, store) = store();
        store.commit(&Changes { forget_workloads: vec!["web".to_owned()], ..Changes::default() }).unwrap();
        assert_eq!(store.tombstone("web").unwrap(), None);
    }

    #[test]
    fn tombstones_are_bounded_in_number_and_age() {
        let (_dir, store) = store();
        {
            let connection = store.connection();
            connection.execute("INSERT INTO tombstones VALUES ('ancient', 's', 1, 1)", []).unwrap();
            let now = hythe_host::now().as_second();
            for number in 0..MOST {
                let row = params![format!("w{number}"), now - 10];
                connection.execute("INSERT INTO tombstones VALUES (?1, 's', 1, ?2)", row).unwrap();
            }
        }
        deploy_and_undeploy(&store, "newest", 1);
        let kept = store.tombstones().unwrap();
        assert_eq!(kept.len(), MOST as usize);
        assert!(kept.iter().any(|one| one.workload == "newest") && kept.iter().all(|one| one.workload != "ancient"));
    }
}

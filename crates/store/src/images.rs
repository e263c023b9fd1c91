//! Images that this agent brought to an engine, so that it never removes the images of others.

use jiff::Timestamp;
use rusqlite::params;

use crate::{Result, Store};

/// Kept at most, the newest ones.
const MOST: u32 = 10_000;

/// An image that this agent pulled, loaded or built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtImage {
    /// Name of the runtime.
    pub runtime: String,
    /// The image's id, `sha256:…`.
    pub id: String,
    /// When it was last brought, to the second.
    pub time: Timestamp,
    /// Since when no tag and no instance refers to it, to the second; `None`: one does.
    pub orphaned_since: Option<Timestamp>,
}

impl Store {
    /// Remembers that this agent brought an image.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn bring_image(&self, runtime: &str, id: &str, now: Timestamp) -> Result<()> {
        let connection = self.connection();
        connection.execute(
            "INSERT INTO images (runtime, id, time) VALUES (?1, ?2, ?3)
             ON CONFLICT (runtime, id) DO UPDATE SET time = excluded.time, unwanted = NULL",
            params![runtime, id, now.as_second()],
        )?;
        connection.execute(
            "DELETE FROM images WHERE rowid NOT IN (SELECT rowid FROM images ORDER BY time DESC, rowid DESC LIMIT ?1)",
            [MOST],
        )?;
        Ok(())
    }

    /// All images that this agent brought, by runtime and id; some may be gone.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn brought_images(&self) -> Result<Vec<BroughtImage>> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT runtime, id, time, unwanted FROM images ORDER BY runtime, id")?;
        let rows = statement.query_map([], |row| {
            let at = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
            Ok(BroughtImage {
                runtime: row.get(0)?,
                id: row.get(1)?,
                time: at(row.get(2)?),
                orphaned_since: row.get::<_, Option<i64>>(3)?.map(at),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Records since when an image is unused; `None`: it is used again. Does nothing for an image that this agent did not bring.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_orphaned_image(&self, runtime: &str, id: &str, since: Option<Timestamp>) -> Result<()> {
        self.connection().execute(
            "UPDATE images SET unwanted = ?3 WHERE runtime = ?1 AND id = ?2",
            params![runtime, id, since.map(Timestamp::as_second)],
        )?;
        Ok(())
    }

    /// Forgets an image that is gone.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_image(&self, runtime: &str, id: &str) -> Result<()> {
        self.connection().execute("DELETE FROM images WHERE runtime = ?1 AND id = ?2", [runtime, id])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn image_brought_again_is_wanted_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("hythe.db")).unwrap().store;
        store.bring_image("docker", "sha256:1", at(10)).unwrap();
        store.note_orphaned_image("docker", "sha256:1", Some(at(20))).unwrap();
        store.note_orphaned_image("docker", "sha256:2", Some(at(20))).unwrap();
        let brought = store.brought_images().unwrap();
        assert_eq!((brought.len(), brought[0].orphaned_since), (1, Some(at(20))), "one of others came in: {brought:?}");
        store.bring_image("docker", "sha256:1", at(30)).unwrap();
        let brought = store.brought_images().unwrap();
        assert_eq!((brought[0].time, brought[0].orphaned_since), (at(30), None));
        store.forget_image("podman", "sha256:1").unwrap();
        assert_eq!(store.brought_images().unwrap().len(), 1);
        store.forget_image("docker", "sha256:1").unwrap();
        assert!(store.brought_images().unwrap().is_empty());
    }
}

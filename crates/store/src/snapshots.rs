//! Numbers of snapshots, so that none is used twice.

use rusqlite::{OptionalExtension, params};

use crate::{Result, Store};

impl Store {
    /// The highest number that a snapshot with this repository ever had; 0: none had one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn snapshot_number(&self, repository: &str) -> Result<u64> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT number FROM snapshot_numbers WHERE repository = ?1")?;
        let number: Option<i64> = statement.query_row([repository], |row| row.get(0)).optional()?;
        Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
    }

    /// Remembers that a snapshot has this number.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn use_snapshot_number(&self, repository: &str, number: u64) -> Result<()> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.connection().execute(
            "INSERT INTO snapshot_numbers (repository, number) VALUES (?1, ?2)
             ON CONFLICT (repository) DO UPDATE SET number = max(number, excluded.number)",
            params![repository, number],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use crate::Store;

    #[test]
    fn highest_number_of_each_repository_is_kept() {
        let store = Store::in_memory().unwrap();
        assert_eq!(store.snapshot_number("a").unwrap(), 0);
        for number in [2, 7, 3] {
            store.use_snapshot_number("a", number).unwrap();
        }
        assert_eq!((store.snapshot_number("a").unwrap(), store.snapshot_number("b").unwrap()), (7, 0));
    }
}

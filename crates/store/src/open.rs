//! Opening the file: integrity, migrations, and what happens to a damaged one.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result, WriteFailure};

/// Every step from schema to schema; their number is the schema version this build knows.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// The store. Cheap calls, each one transaction; safe to share.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Why nothing can be written at present.
    pub(crate) failure: Mutex<Option<WriteFailure>>,
}

/// A store and what had to be done to open it.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where a damaged file was set aside; the records must be rebuilt from the engines' labels.
    pub damaged: Option<PathBuf>,
}

impl Store {
    /// Opens or makes the file. One that SQLite calls damaged is renamed to `hythe.damaged-<seconds>` (its extension replaced) and a new one is made.
    ///
    /// # Errors
    /// [`Error::Newer`] and [`Error::Locked`] leave the file as it was.
    pub fn open(path: &Path) -> Result<Opened> {
        match Self::open_sound(path) {
            Ok(store) => Ok(Opened { store, damaged: None }),
            Err(error) if is_damage(&error) => {
                let aside = set_aside(path)?;
                Ok(Opened { store: Self::open_sound(path)?, damaged: Some(aside) })
            }
            Err(error) => Err(error),
        }
    }

    fn open_sound(path: &Path) -> Result<Self> {
        make_private(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_millis(200))?;
        configure(&connection, path)?;
        check_integrity(&connection)?;
        migrate(&mut connection, path)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection), failure: Mutex::default() })
    }

    /// A store that is gone when it is dropped, for simulations.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<Self> {
        let path = PathBuf::from(":memory:");
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch("PRAGMA foreign_keys = ON;")?;
        migrate(&mut connection, &path)?;
        Ok(Self { path, connection: Mutex::new(connection), failure: Mutex::default() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A panic while the lock was held rolled its transaction back, so the connection is sound.
    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Environments of services are in it; SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<()> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// An exclusive lock for the life of the connection keeps a second agent out.
fn configure(connection: &Connection, path: &Path) -> Result<()> {
    let locked = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            Error::Locked { path: path.to_owned() }
        }
        _ => error.into(),
    };
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;").map_err(locked)?;
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT;").map_err(locked)?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -512; PRAGMA journal_size_limit = 4194304;",
    )?;
    Ok(())
}

fn check_integrity(connection: &Connection) -> Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(Error::Sqlite(rusqlite::Error::SqliteFailure(code, Some(verdict))))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    let done = usize::try_from(found).unwrap_or_default();
    for (at, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        let version = i64::try_from(at + 1).unwrap_or(known);
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

fn is_damage(error: &Error) -> bool {
    let Error::Sqlite(error) = error else {
        return false;
    };
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

fn set_aside(path: &Path) -> Result<PathBuf> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let stamp = hythe_host::now().as_second();
    let aside = path.with_extension(format!("damaged-{stamp}"));
    fs::rename(path, &aside).map_err(io)?;
    for suffix in ["-wal", "-shm"] {
        let name = |base: &Path| PathBuf::from(format!("{}{suffix}", base.display()));
        match fs::rename(name(path), name(&aside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_damaged_file_is_set_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hythe.db");
        fs::write(&path, vec![7u8; 8192]).unwrap();
        let opened = Store::open(&path).unwrap();
        let aside = opened.damaged.unwrap();
        assert_eq!(fs::read(aside).unwrap(), vec![7u8; 8192]);
        assert!(opened.store.services().unwrap().is_empty());
    }

    #[test]
    fn a_newer_schema_is_refused_and_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hythe.db");
        drop(Store::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&path), Err(Error::Newer { found: 99, .. })));
        let version: i64 =
            Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hythe.db");
        let first = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(Error::Locked { .. })));
        drop(first);
        assert!(Store::open(&path).is_ok());
    }
}

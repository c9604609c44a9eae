//! The SQLite file: how it is opened, its tables, how they grow.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::StoreError;
use crate::digest::Digest;

/// Each step is applied once, in order; `PRAGMA user_version` counts them. Never edit a step that was released.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE institutions (
        id TEXT PRIMARY KEY, organisation TEXT NOT NULL, country TEXT NOT NULL,
        organisation_identifier TEXT, domain TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE requests (
        id TEXT PRIMARY KEY, institution TEXT NOT NULL REFERENCES institutions(id),
        environment TEXT NOT NULL, role TEXT NOT NULL, name TEXT NOT NULL,
        submitter TEXT NOT NULL, submitter_fingerprint BLOB, submitted INTEGER NOT NULL,
        tbs BLOB NOT NULL, serial BLOB NOT NULL UNIQUE, key_hash BLOB NOT NULL,
        state TEXT NOT NULL, reason TEXT
    ) STRICT;
    CREATE INDEX requests_by_key ON requests(key_hash);
    CREATE TABLE agreements (
        request TEXT NOT NULL REFERENCES requests(id), officer BLOB NOT NULL,
        institution TEXT NOT NULL, name TEXT NOT NULL, clause TEXT NOT NULL,
        tbs_sha256 BLOB NOT NULL, reason TEXT, time INTEGER NOT NULL,
        UNIQUE (request, institution, name, clause)
    ) STRICT;
    CREATE TABLE certificates (
        serial BLOB PRIMARY KEY, issuer TEXT NOT NULL, der BLOB NOT NULL,
        institution TEXT REFERENCES institutions(id), environment TEXT, role TEXT, name TEXT NOT NULL,
        key_hash BLOB NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
        revoked_at INTEGER, revoked_for TEXT, revoked_by TEXT
    ) STRICT;
    CREATE INDEX certificates_by_key ON certificates(key_hash);
    CREATE INDEX certificates_revoked ON certificates(issuer) WHERE revoked_at IS NOT NULL;
    CREATE TABLE identities (
        fingerprint BLOB PRIMARY KEY, serial BLOB NOT NULL UNIQUE REFERENCES certificates(serial),
        institution TEXT NOT NULL REFERENCES institutions(id), name TEXT NOT NULL, role TEXT NOT NULL,
        environment TEXT NOT NULL, not_after INTEGER NOT NULL, revoked INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE lists (
        issuer TEXT NOT NULL, number INTEGER NOT NULL, this_update INTEGER NOT NULL,
        next_update INTEGER NOT NULL, entries INTEGER NOT NULL, der BLOB,
        PRIMARY KEY (issuer, number)
    ) STRICT;
",
    super::holds::TABLES,
    super::enrolments::TABLES,
];

const VERSION: u32 = MIGRATIONS.len() as u32;

/// Opens with a write-ahead log that is synced at every commit.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreError::Newer { found, known: VERSION });
    }
    for step in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// A column read back into a checked type.
pub(super) fn checked<T, E: std::fmt::Display>(column: &str, value: Result<T, E>) -> Result<T, StoreError> {
    value.map_err(|e| StoreError::Damaged(format!("{column}: {e}")))
}

/// A column that holds one of a fixed set of words.
pub(super) fn word<T>(column: &str, text: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    read(text).ok_or_else(|| StoreError::Damaged(format!("{column}: {text:?} is not a known word")))
}

/// A SHA-256 column.
pub(super) fn digest(row: &Row<'_>, column: &str) -> Result<Digest, StoreError> {
    let bytes: Vec<u8> = row.get(column)?;
    checked(column, Digest::try_from(&bytes[..]))
}

/// All rows of a query, each read by `read`.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Whether an insert failed only because something of that key is there.
pub(super) fn taken(result: rusqlite::Result<usize>) -> Result<bool, StoreError> {
    match result {
        Ok(_) => Ok(false),
        Err(rusqlite::Error::SqliteFailure(e, _))
            if matches!(
                e.extended_code,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            ) =>
        {
            Ok(true)
        }
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_synced_keeps_references_and_remembers_its_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        drop(open(&path).unwrap());
        let connection = open(&path).unwrap();
        let text = |pragma| {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0))
        };
        assert_eq!(text("journal_mode").unwrap(), "wal".to_owned().into());
        assert_eq!(text("synchronous").unwrap(), 2.into());
        assert_eq!(text("foreign_keys").unwrap(), 1.into());
        assert_eq!(text("user_version").unwrap(), i64::from(VERSION).into());
    }

    #[test]
    fn a_store_of_a_newer_program_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(open(&path), Err(StoreError::Newer { found: 99, known: VERSION })));
    }
}

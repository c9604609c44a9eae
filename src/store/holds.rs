//! Certificates on hold: who agreed to their release, and what was released since which list.

use rusqlite::params;

use super::sqlite::{all, checked, digest};
use super::{Store, StoreError};
use crate::certificate::Serial;
use crate::digest::Digest;

/// Invalidity dates, releases from hold, and delta lists beside the complete ones.
pub(super) const TABLES: &str = "
    ALTER TABLE certificates ADD COLUMN invalid_since INTEGER;
    ALTER TABLE certificates ADD COLUMN released_after INTEGER;
    CREATE TABLE release_agreements (
        serial BLOB NOT NULL REFERENCES certificates(serial), officer BLOB NOT NULL, person TEXT NOT NULL,
        time INTEGER NOT NULL, PRIMARY KEY (serial, person)
    ) STRICT;
    ALTER TABLE lists ADD COLUMN base INTEGER;
    ALTER TABLE lists ADD COLUMN delta BLOB;
";

impl Store {
    /// Keeps that this officer (fingerprint and `institution/name`) agrees to a release; everybody who
    /// agreed so far, one row a person.
    pub async fn agree_to_release(
        &self,
        serial: Serial,
        officer: Digest,
        person: String,
        time: i64,
    ) -> Result<Vec<(Digest, String)>, StoreError> {
        self.run(move |connection| {
            let serial = serial.as_bytes().as_slice();
            connection.execute(
                "INSERT OR REPLACE INTO release_agreements (serial, officer, person, time) VALUES (?1, ?2, ?3, ?4)",
                params![serial, officer.as_bytes().as_slice(), person, time],
            )?;
            let sql = "SELECT officer, person FROM release_agreements WHERE serial = ?1 ORDER BY rowid";
            all(connection, sql, [serial], |row| Ok((digest(row, "officer")?, row.get("person")?)))
        })
        .await
    }

    /// Puts a certificate that is on hold, and its identity, back in force; `false` if it is not on hold.
    pub async fn release_from_hold(&self, serial: Serial) -> Result<bool, StoreError> {
        self.run(move |connection| {
            let serial = serial.as_bytes().as_slice();
            let transaction = connection.transaction()?;
            let released = transaction.execute(
                "UPDATE certificates SET revoked_at = NULL, revoked_for = NULL, revoked_by = NULL, invalid_since = NULL,
                        released_after = (SELECT coalesce(max(number), 0) FROM lists WHERE issuer = certificates.issuer)
                 WHERE serial = ?1 AND revoked_for = 'certificate-hold'",
                [serial],
            )?;
            if released == 1 {
                transaction.execute("UPDATE identities SET revoked = 0 WHERE serial = ?1", [serial])?;
                transaction.execute("DELETE FROM release_agreements WHERE serial = ?1", [serial])?;
            }
            transaction.commit()?;
            Ok(released == 1)
        })
        .await
    }

    /// What is not revoked and was released from hold after the CA's list of this number.
    pub async fn released_since(&self, issuer: &str, number: u32) -> Result<Vec<Serial>, StoreError> {
        let issuer = issuer.to_owned();
        self.run(move |connection| {
            let sql = "SELECT serial FROM certificates
                        WHERE issuer = ?1 AND revoked_at IS NULL AND released_after >= ?2 ORDER BY serial";
            all(connection, sql, params![issuer, number], |row| {
                checked("serial", Serial::try_from(&row.get::<_, Vec<u8>>("serial")?[..]))
            })
        })
        .await
    }
}

//! Serials and the appliance's own certificates, without the rest of their records.

use rusqlite::Connection;

use super::sqlite::{all, checked};
use super::{Store, StoreError};
use crate::certificate::Serial;

impl Store {
    /// Serials of a CA's certificates that are good at `now` or later (seconds since 1970).
    pub async fn unexpired(&self, issuer: &str, now: i64) -> Result<Vec<Serial>, StoreError> {
        let issuer = issuer.to_owned();
        self.run(move |connection| {
            let sql = "SELECT serial FROM certificates WHERE issuer = ?1 AND not_after >= ?2 ORDER BY serial";
            all(connection, sql, rusqlite::params![issuer, now], |row| {
                checked("serial", Serial::try_from(&row.get::<_, Vec<u8>>("serial")?[..]))
            })
        })
        .await
    }

    /// The appliance's own certificates of that name, DER, oldest first. Blocking, for the start.
    pub fn own_certificates(&self, name: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        own(&self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner), name)
    }
}

fn own(connection: &Connection, name: &str) -> Result<Vec<Vec<u8>>, StoreError> {
    let sql = "SELECT der FROM certificates WHERE institution IS NULL AND name = ?1 ORDER BY not_before";
    all(connection, sql, [name], |row| Ok(row.get("der")?))
}

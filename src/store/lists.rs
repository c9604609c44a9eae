//! Revocation lists: numbers that only grow, and the newest list of each CA.

use rusqlite::{Connection, params};

use super::sqlite::all;
use super::{Store, StoreError};
use crate::certificate::RevocationList;

impl Store {
    /// Takes the CA's next CRLNumber and keeps it durably, whether a list comes of it or not. Numbers
    /// begin at 1.
    pub async fn reserve_list(
        &self,
        issuer: &str,
        this_update: i64,
        next_update: i64,
        entries: u32,
    ) -> Result<u32, StoreError> {
        let issuer = issuer.to_owned();
        self.run(move |connection| {
            let number: u32 = connection.query_row(
                "INSERT INTO lists (issuer, number, this_update, next_update, entries)
                 SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM lists WHERE issuer = ?1
                 RETURNING number",
                params![issuer, this_update, next_update, entries],
                |row| row.get(0),
            )?;
            Ok(number)
        })
        .await
    }

    /// Keeps the signed list of a reserved number; older lists of the CA lose their bytes, not their numbers.
    pub async fn finish_list(&self, issuer: &str, number: u32, der: Vec<u8>) -> Result<(), StoreError> {
        let issuer = issuer.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let sql = "UPDATE lists SET der = ?3 WHERE issuer = ?1 AND number = ?2";
            transaction.execute(sql, params![issuer, number, der])?;
            let sql = "UPDATE lists SET der = NULL WHERE issuer = ?1 AND number < ?2";
            transaction.execute(sql, params![issuer, number])?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// The newest signed list of every CA, with the CA's name. Blocking, for the start.
    pub fn newest_lists(&self) -> Result<Vec<(String, RevocationList)>, StoreError> {
        newest(&self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn newest(connection: &Connection) -> Result<Vec<(String, RevocationList)>, StoreError> {
    all(connection, "SELECT * FROM lists WHERE der IS NOT NULL ORDER BY issuer, number", [], |row| {
        let list = RevocationList {
            number: row.get("number")?,
            this_update: row.get("this_update")?,
            next_update: row.get("next_update")?,
            entries: row.get("entries")?,
            der: row.get("der")?,
        };
        Ok((row.get("issuer")?, list))
    })
}

//! Revocation lists: numbers that only grow, and the newest list of each CA.

use rusqlite::{Connection, Row, params};

use super::sqlite::all;
use super::{Store, StoreError};
use crate::certificate::{Delta, RevocationList};

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

    /// Keeps a signed list under its reserved number; older lists of the CA but the base of its delta lose
    /// their bytes, not their numbers.
    pub async fn finish_list(&self, issuer: &str, list: &RevocationList) -> Result<(), StoreError> {
        let (issuer, number, der) = (issuer.to_owned(), list.number, list.der.clone());
        let (base, delta) = list.delta.as_ref().map(|d| (d.base, d.der.clone())).unzip();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let sql = "UPDATE lists SET der = ?3, base = ?4, delta = ?5 WHERE issuer = ?1 AND number = ?2";
            transaction.execute(sql, params![issuer, number, der, base, delta])?;
            let sql = "UPDATE lists SET delta = NULL, der = CASE number WHEN ?3 THEN der END
                        WHERE issuer = ?1 AND number < ?2";
            transaction.execute(sql, params![issuer, number, base])?;
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
    let sql = "SELECT l.*, b.number AS base_number, b.this_update AS base_update, b.der AS base_der
                 FROM lists l LEFT JOIN lists b ON b.issuer = l.issuer AND b.number = l.base
                WHERE l.der IS NOT NULL ORDER BY l.issuer, l.number";
    all(connection, sql, [], |row| {
        let list = RevocationList {
            number: row.get("number")?,
            this_update: row.get("this_update")?,
            next_update: row.get("next_update")?,
            entries: row.get("entries")?,
            der: row.get("der")?,
            delta: delta(row)?,
        };
        Ok((row.get("issuer")?, list))
    })
}

fn delta(row: &Row<'_>) -> Result<Option<Delta>, StoreError> {
    let (Some(der), Some(base_der)) = (row.get("delta")?, row.get("base_der")?) else { return Ok(None) };
    Ok(Some(Delta { base: row.get("base_number")?, base_update: row.get("base_update")?, base_der, der }))
}

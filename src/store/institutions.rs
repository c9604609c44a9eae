//! Institutions as registered.

use rusqlite::{Row, params};

use super::sqlite::{all, checked, taken};
use super::{Store, StoreError};
use crate::institution::{Institution, InstitutionId};

impl Store {
    /// Adds an institution; `false` when its id or domain is taken.
    pub async fn add_institution(&self, institution: Institution) -> Result<bool, StoreError> {
        self.run(move |connection| {
            let added = connection.execute(
                "INSERT INTO institutions (id, organisation, country, organisation_identifier, domain)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    institution.id.as_str(),
                    institution.organisation,
                    institution.country,
                    institution.organisation_identifier,
                    institution.domain
                ],
            );
            Ok(!taken(added)?)
        })
        .await
    }

    /// All institutions, by id.
    pub async fn institutions(&self) -> Result<Vec<Institution>, StoreError> {
        self.run(|connection| all(connection, "SELECT * FROM institutions ORDER BY id", [], read)).await
    }

    /// One institution.
    pub async fn institution(&self, id: &InstitutionId) -> Result<Option<Institution>, StoreError> {
        let id = id.as_str().to_owned();
        self.run(move |connection| {
            Ok(all(connection, "SELECT * FROM institutions WHERE id = ?1", [id], read)?.pop())
        })
        .await
    }
}

fn read(row: &Row<'_>) -> Result<Institution, StoreError> {
    let id = checked("id", InstitutionId::try_from(row.get::<_, String>("id")?))?;
    let institution = Institution::new(
        id,
        row.get("organisation")?,
        row.get("country")?,
        row.get("organisation_identifier")?,
        row.get("domain")?,
    );
    checked("institution", institution)
}

//! One-time credentials for enrolment, and the requests and certificates that enrolment asks about.

use rusqlite::{OptionalExtension, Row, params};

use super::sqlite::{all, checked, digest, word};
use super::{Store, StoreError};
use crate::access::Role;
use crate::certificate::{CertificateRecord, RequestRecord};
use crate::digest::Digest;
use crate::institution::{Environment, InstitutionId};

/// Credentials by which an institution's machine asks for exactly one certificate.
pub(super) const TABLES: &str = "
    CREATE TABLE enrolments (
        id TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, institution TEXT NOT NULL REFERENCES institutions(id),
        environment TEXT NOT NULL, role TEXT NOT NULL, name TEXT NOT NULL, made_by TEXT NOT NULL,
        expires INTEGER NOT NULL, key_hash BLOB
    ) STRICT;
";

/// A credential for one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRecord {
    /// 16 hex digits: the user name.
    pub id: String,
    /// SHA-256 of the secret, which is random.
    pub secret_sha256: Digest,
    /// For whom.
    pub institution: InstitutionId,
    /// Where the certificate is to be good.
    pub environment: Environment,
    /// Role of the identity it makes.
    pub role: Role,
    /// Name of the identity it makes.
    pub name: String,
    /// The officer who gave it.
    pub made_by: String,
    /// Last second it can be used in, since 1970.
    pub expires: i64,
    /// SHA-256 of the SubjectPublicKeyInfo it was used for, once it was.
    pub key_hash: Option<Digest>,
}

impl Store {
    /// Keeps a new credential.
    pub async fn add_enrolment(&self, e: EnrolmentRecord) -> Result<(), StoreError> {
        self.run(move |connection| {
            connection.execute(
                "INSERT INTO enrolments (id, secret_sha256, institution, environment, role, name, made_by, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    e.id,
                    e.secret_sha256.as_bytes().as_slice(),
                    e.institution.as_str(),
                    e.environment.as_str(),
                    e.role.as_str(),
                    e.name,
                    e.made_by,
                    e.expires
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// The credential of that name.
    pub async fn enrolment(&self, id: &str) -> Result<Option<EnrolmentRecord>, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            Ok(all(connection, "SELECT * FROM enrolments WHERE id = ?1", [id], read)?.pop())
        })
        .await
    }

    /// Spends a credential on a key; `false` if it was spent on another.
    pub async fn spend_enrolment(&self, id: &str, key_hash: Digest) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let spent = connection.execute(
                "UPDATE enrolments SET key_hash = ?2 WHERE id = ?1 AND (key_hash IS NULL OR key_hash = ?2)",
                params![id, key_hash.as_bytes().as_slice()],
            )?;
            Ok(spent == 1)
        })
        .await
    }

    /// The newest request of this key for this identity.
    pub async fn request_of_key(
        &self,
        key_hash: Digest,
        institution: &InstitutionId,
        environment: Environment,
        name: &str,
    ) -> Result<Option<RequestRecord>, StoreError> {
        let (institution, name) = (institution.as_str().to_owned(), name.to_owned());
        let id: Option<String> = self
            .run(move |connection| {
                let sql = "SELECT id FROM requests
                            WHERE key_hash = ?1 AND institution = ?2 AND environment = ?3 AND name = ?4
                            ORDER BY submitted DESC, rowid DESC LIMIT 1";
                let values = params![key_hash.as_bytes().as_slice(), institution, environment.as_str(), name];
                Ok(connection.query_row(sql, values, |row| row.get(0)).optional()?)
            })
            .await?;
        match id {
            Some(id) => self.request(&id).await,
            None => Ok(None),
        }
    }

    /// The certificate with this SHA-256 fingerprint, of whatever environment.
    pub async fn certificate_of(&self, fingerprint: Digest) -> Result<Option<CertificateRecord>, StoreError> {
        self.run(move |connection| {
            let sql = "SELECT c.* FROM certificates c JOIN identities i ON i.serial = c.serial WHERE i.fingerprint = ?1";
            Ok(all(connection, sql, [fingerprint.as_bytes().as_slice()], super::certificates::read)?.pop())
        })
        .await
    }
}

fn read(row: &Row<'_>) -> Result<EnrolmentRecord, StoreError> {
    let text = |column: &str| row.get::<_, String>(column);
    let key_hash = row.get::<_, Option<Vec<u8>>>("key_hash")?;
    Ok(EnrolmentRecord {
        id: text("id")?,
        secret_sha256: digest(row, "secret_sha256")?,
        institution: checked("institution", InstitutionId::try_from(text("institution")?))?,
        environment: word("environment", &text("environment")?, Environment::from_word)?,
        role: word("role", &text("role")?, Role::from_word)?,
        name: text("name")?,
        made_by: text("made_by")?,
        expires: row.get("expires")?,
        key_hash: key_hash.map(|k| checked("key_hash", Digest::try_from(&k[..]))).transpose()?,
    })
}

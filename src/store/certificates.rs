//! Certificates, the identities they make, and who used which key.

use rusqlite::{Connection, Row, params};

use super::sqlite::{all, checked, digest, word};
use super::{Store, StoreError};
use crate::access::{Identity, Role};
use crate::certificate::{CertificateRecord, Reason, RequestState, Revocation, Serial};
use crate::digest::Digest;
use crate::institution::{Environment, InstitutionId};

/// An identity and the environment its certificate is good in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRecord {
    /// Who it is.
    pub identity: Identity,
    /// Where it is good.
    pub environment: Environment,
}

/// One earlier use of a key, by a certificate or by a request that may still become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Serial, 40 hex digits.
    pub serial: String,
    /// Institution, `None` for the appliance itself.
    pub institution: Option<String>,
    /// Environment, `None` for the appliance itself.
    pub environment: Option<String>,
    /// Role, `None` for the appliance itself.
    pub role: Option<String>,
    /// Name of the identity.
    pub name: String,
    /// Why the certificate was revoked, if it was.
    pub revoked_for: Option<String>,
}

impl Store {
    /// Keeps a certificate of the appliance itself; the same once more changes nothing.
    pub async fn add_certificate(&self, certificate: CertificateRecord) -> Result<(), StoreError> {
        self.run(move |connection| {
            let known = "SELECT serial FROM certificates WHERE serial = ?1";
            let serial = certificate.serial.as_bytes().as_slice();
            if all(connection, known, [serial], |row| Ok(row.get::<_, Vec<u8>>(0)?))?.is_empty() {
                insert(connection, &certificate)?;
            }
            Ok(())
        })
        .await
    }

    /// Keeps a certificate with its identity and closes its request, all in one step.
    pub async fn release(
        &self,
        request: &str,
        certificate: CertificateRecord,
        identity: IdentityRecord,
    ) -> Result<(), StoreError> {
        let request = request.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            insert(&transaction, &certificate)?;
            insert_identity(&transaction, &identity, certificate.serial)?;
            let closed = transaction.execute(
                "UPDATE requests SET state = ?2 WHERE id = ?1 AND state = ?3",
                [&request, RequestState::Issued.as_str(), RequestState::Signing.as_str()],
            )?;
            if closed != 1 {
                return Err(StoreError::Damaged(format!("request {request} is not being signed")));
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    /// One certificate.
    pub async fn certificate(&self, serial: Serial) -> Result<Option<CertificateRecord>, StoreError> {
        self.run(move |connection| {
            let serial = serial.as_bytes().as_slice();
            Ok(all(connection, "SELECT * FROM certificates WHERE serial = ?1", [serial], read)?.pop())
        })
        .await
    }

    /// All certificates, newest first.
    pub async fn certificates(&self) -> Result<Vec<CertificateRecord>, StoreError> {
        self.run(|connection| {
            all(connection, "SELECT * FROM certificates ORDER BY not_before DESC, serial", [], read)
        })
        .await
    }

    /// Revokes a certificate and its identity; `false` if it is revoked already or unknown. From hold it
    /// can go to another reason, with the moment of the hold.
    pub async fn revoke(&self, serial: Serial, revocation: Revocation) -> Result<bool, StoreError> {
        self.run(move |connection| {
            let serial = serial.as_bytes().as_slice();
            let transaction = connection.transaction()?;
            let revoked = transaction.execute(
                "UPDATE certificates SET revoked_at = coalesce(revoked_at, ?2), revoked_for = ?3, revoked_by = ?4,
                                         invalid_since = ?5
                 WHERE serial = ?1
                   AND (revoked_at IS NULL OR (revoked_for = 'certificate-hold' AND ?3 <> 'certificate-hold'))",
                params![
                    serial,
                    revocation.time,
                    revocation.reason.as_str(),
                    revocation.by,
                    revocation.invalid_since
                ],
            )?;
            transaction.execute("UPDATE identities SET revoked = 1 WHERE serial = ?1", [serial])?;
            transaction.execute("DELETE FROM release_agreements WHERE serial = ?1", [serial])?;
            transaction.commit()?;
            Ok(revoked == 1)
        })
        .await
    }

    /// Everything a CA has revoked, in the order of serials.
    pub async fn revoked(&self, issuer: &str) -> Result<Vec<(Serial, Revocation)>, StoreError> {
        let issuer = issuer.to_owned();
        self.run(move |connection| {
            let sql =
                "SELECT * FROM certificates WHERE issuer = ?1 AND revoked_at IS NOT NULL ORDER BY serial";
            let records = all(connection, sql, [issuer], read)?;
            Ok(records.into_iter().filter_map(|r| r.revocation.map(|why| (r.serial, why))).collect())
        })
        .await
    }

    /// Every identity ever made. Blocking, for the start; see [`Store::identities`].
    pub fn identities_now(&self) -> Result<Vec<IdentityRecord>, StoreError> {
        identities(&self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Every identity ever made.
    pub async fn identities(&self) -> Result<Vec<IdentityRecord>, StoreError> {
        self.run(|connection| identities(connection)).await
    }

    /// Every use of a key by certificates and by requests that are open or were interrupted.
    pub async fn key_uses(&self, key_hash: Digest) -> Result<Vec<KeyUse>, StoreError> {
        self.run(move |connection| {
            let sql = "SELECT serial, institution, environment, role, name, revoked_for FROM certificates
                        WHERE key_hash = ?1
                       UNION ALL
                       SELECT serial, institution, environment, role, name, NULL FROM requests
                        WHERE key_hash = ?1 AND state IN ('awaiting-agreement', 'signing', 'failed-signing')";
            all(connection, sql, [key_hash.as_bytes().as_slice()], |row| {
                Ok(KeyUse {
                    serial: crate::digest::hex(&row.get::<_, Vec<u8>>("serial")?),
                    institution: row.get("institution")?,
                    environment: row.get("environment")?,
                    role: row.get("role")?,
                    name: row.get("name")?,
                    revoked_for: row.get("revoked_for")?,
                })
            })
        })
        .await
    }
}

fn insert(connection: &Connection, record: &CertificateRecord) -> Result<(), StoreError> {
    let revocation = record.revocation.as_ref();
    connection.execute(
        "INSERT INTO certificates (serial, issuer, der, institution, environment, role, name, key_hash,
                                   not_before, not_after, revoked_at, revoked_for, revoked_by, invalid_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            record.serial.as_bytes().as_slice(),
            record.issuer,
            record.der,
            record.institution.as_ref().map(InstitutionId::as_str),
            record.environment.map(Environment::as_str),
            record.role.map(Role::as_str),
            record.name,
            record.key_hash.as_bytes().as_slice(),
            record.not_before,
            record.not_after,
            revocation.map(|r| r.time),
            revocation.map(|r| r.reason.as_str()),
            revocation.map(|r| r.by.as_str()),
            revocation.and_then(|r| r.invalid_since)
        ],
    )?;
    Ok(())
}

fn insert_identity(
    connection: &Connection,
    record: &IdentityRecord,
    serial: Serial,
) -> Result<(), StoreError> {
    let identity = &record.identity;
    connection.execute(
        "INSERT INTO identities (fingerprint, serial, institution, name, role, environment, not_after, revoked)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            identity.fingerprint.as_bytes().as_slice(),
            serial.as_bytes().as_slice(),
            identity.institution.as_str(),
            identity.name,
            identity.role.as_str(),
            record.environment.as_str(),
            identity.not_after,
            identity.revoked
        ],
    )?;
    Ok(())
}

fn identities(connection: &Connection) -> Result<Vec<IdentityRecord>, StoreError> {
    all(connection, "SELECT * FROM identities ORDER BY institution, name, fingerprint", [], |row| {
        Ok(IdentityRecord {
            identity: Identity {
                fingerprint: digest(row, "fingerprint")?,
                institution: checked(
                    "institution",
                    InstitutionId::try_from(row.get::<_, String>("institution")?),
                )?,
                name: row.get("name")?,
                role: word("role", &row.get::<_, String>("role")?, Role::from_word)?,
                not_after: row.get("not_after")?,
                revoked: row.get("revoked")?,
            },
            environment: word("environment", &row.get::<_, String>("environment")?, Environment::from_word)?,
        })
    })
}

pub(super) fn read(row: &Row<'_>) -> Result<CertificateRecord, StoreError> {
    let optional = |column: &str| row.get::<_, Option<String>>(column);
    Ok(CertificateRecord {
        serial: checked("serial", Serial::try_from(&row.get::<_, Vec<u8>>("serial")?[..]))?,
        issuer: row.get("issuer")?,
        der: row.get("der")?,
        institution: optional("institution")?
            .map(|text| checked("institution", InstitutionId::try_from(text)))
            .transpose()?,
        environment: optional("environment")?
            .map(|text| word("environment", &text, Environment::from_word))
            .transpose()?,
        role: optional("role")?.map(|text| word("role", &text, Role::from_word)).transpose()?,
        name: row.get("name")?,
        key_hash: digest(row, "key_hash")?,
        not_before: row.get("not_before")?,
        not_after: row.get("not_after")?,
        revocation: revocation(row)?,
    })
}

fn revocation(row: &Row<'_>) -> Result<Option<Revocation>, StoreError> {
    let Some(time) = row.get::<_, Option<i64>>("revoked_at")? else { return Ok(None) };
    let reason = word("revoked_for", &row.get::<_, String>("revoked_for")?, Reason::from_word)?;
    Ok(Some(Revocation {
        time,
        reason,
        by: row.get("revoked_by")?,
        invalid_since: row.get("invalid_since")?,
    }))
}

//! Requests with their frozen bytes, and what officers decided on them.

use rusqlite::{OptionalExtension, Row, params};

use super::sqlite::{all, checked, digest, taken, word};
use super::{Store, StoreError};
use crate::access::Role;
use crate::certificate::{RequestRecord, RequestState, Serial};
use crate::digest::Digest;
use crate::institution::{Agreement, Clause, Environment, InstitutionId};

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// Kept.
    Kept,
    /// That person decided before.
    Before,
    /// The request no longer awaits decisions.
    Closed,
}

impl Store {
    /// Keeps a new request.
    pub async fn add_request(&self, request: RequestRecord) -> Result<(), StoreError> {
        self.run(move |connection| {
            connection.execute(
                "INSERT INTO requests (id, institution, environment, role, name, submitter, submitter_fingerprint,
                                       submitted, tbs, serial, key_hash, state, reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    request.id,
                    request.institution.as_str(),
                    request.environment.as_str(),
                    request.role.as_str(),
                    request.name,
                    request.submitter,
                    request.submitter_fingerprint.as_ref().map(|f| f.as_bytes().to_vec()),
                    request.submitted,
                    request.tbs,
                    request.serial.as_bytes().as_slice(),
                    request.key_hash.as_bytes().as_slice(),
                    request.state.as_str(),
                    request.reason
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// One request.
    pub async fn request(&self, id: &str) -> Result<Option<RequestRecord>, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            Ok(all(connection, "SELECT * FROM requests WHERE id = ?1", [id], read)?.pop())
        })
        .await
    }

    /// The request whose frozen bytes hold this serial.
    pub async fn request_of_serial(&self, serial: Serial) -> Result<Option<RequestRecord>, StoreError> {
        self.run(move |connection| {
            let serial = serial.as_bytes().as_slice();
            Ok(all(connection, "SELECT * FROM requests WHERE serial = ?1", [serial], read)?.pop())
        })
        .await
    }

    /// All requests, newest first.
    pub async fn requests(&self) -> Result<Vec<RequestRecord>, StoreError> {
        self.run(|connection| all(connection, "SELECT * FROM requests ORDER BY submitted DESC, id", [], read))
            .await
    }

    /// Moves a request from one state to another; `false` if it was not in the first. Spends an
    /// approval exactly once, whoever races.
    pub async fn move_request(
        &self,
        id: &str,
        from: RequestState,
        to: RequestState,
        reason: Option<String>,
    ) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let moved = connection.execute(
                "UPDATE requests SET state = ?3, reason = coalesce(?4, reason) WHERE id = ?1 AND state = ?2",
                params![id, from.as_str(), to.as_str(), reason],
            )?;
            Ok(moved == 1)
        })
        .await
    }

    /// Called at start, when nobody signs: what is still `signing` was interrupted.
    pub fn mark_interrupted(&self) -> Result<usize, StoreError> {
        let connection = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(connection.execute(
            "UPDATE requests SET state = ?2, reason = 'the service stopped between intent and outcome' WHERE state = ?1",
            [RequestState::Signing.as_str(), RequestState::FailedSigning.as_str()],
        )?)
    }

    /// Keeps a decision and, with `do-not-agree`, closes the request in the same step.
    pub async fn decide(&self, id: &str, decision: Agreement) -> Result<Decided, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let state: Option<String> = transaction
                .query_row("SELECT state FROM requests WHERE id = ?1", [&id], |row| row.get(0))
                .optional()?;
            if state.as_deref() != Some(RequestState::Awaiting.as_str()) {
                return Ok(Decided::Closed);
            }
            if taken(transaction.execute(INSERT_AGREEMENT, agreement_parameters(&id, &decision)))? {
                return Ok(Decided::Before);
            }
            if decision.clause == Clause::DoNotAgree {
                transaction.execute(
                    "UPDATE requests SET state = ?2, reason = ?3 WHERE id = ?1",
                    params![id, RequestState::Refused.as_str(), decision.reason],
                )?;
            }
            transaction.commit()?;
            Ok(Decided::Kept)
        })
        .await
    }

    /// All decisions on a request, in the order they came.
    pub async fn agreements(&self, id: &str) -> Result<Vec<Agreement>, StoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            all(
                connection,
                "SELECT * FROM agreements WHERE request = ?1 ORDER BY rowid",
                [id],
                read_agreement,
            )
        })
        .await
    }
}

const INSERT_AGREEMENT: &str =
    "INSERT INTO agreements (request, officer, institution, name, clause, tbs_sha256, reason, time)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

fn agreement_parameters<'a>(id: &'a str, decision: &'a Agreement) -> impl rusqlite::Params + use<'a> {
    (
        id,
        decision.officer.as_bytes().as_slice(),
        decision.person.0.as_str(),
        decision.person.1.as_str(),
        decision.clause.as_str(),
        decision.tbs_sha256.as_bytes().as_slice(),
        decision.reason.as_deref(),
        decision.time,
    )
}

fn read_agreement(row: &Row<'_>) -> Result<Agreement, StoreError> {
    let clause = |text: &str| [Clause::Agree, Clause::DoNotAgree].into_iter().find(|c| c.as_str() == text);
    Ok(Agreement {
        officer: digest(row, "officer")?,
        person: (
            checked("institution", InstitutionId::try_from(row.get::<_, String>("institution")?))?,
            row.get("name")?,
        ),
        clause: word("clause", &row.get::<_, String>("clause")?, clause)?,
        tbs_sha256: digest(row, "tbs_sha256")?,
        reason: row.get("reason")?,
        time: row.get("time")?,
    })
}

fn read(row: &Row<'_>) -> Result<RequestRecord, StoreError> {
    let text = |column: &str| row.get::<_, String>(column);
    let fingerprint = row.get::<_, Option<Vec<u8>>>("submitter_fingerprint")?;
    let fingerprint =
        fingerprint.map(|f| checked("submitter_fingerprint", Digest::try_from(&f[..]))).transpose()?;
    Ok(RequestRecord {
        id: text("id")?,
        institution: checked("institution", InstitutionId::try_from(text("institution")?))?,
        environment: word("environment", &text("environment")?, Environment::from_word)?,
        role: word("role", &text("role")?, Role::from_word)?,
        name: text("name")?,
        submitter: text("submitter")?,
        submitter_fingerprint: fingerprint,
        submitted: row.get("submitted")?,
        tbs: row.get("tbs")?,
        serial: checked("serial", Serial::try_from(&row.get::<_, Vec<u8>>("serial")?[..]))?,
        key_hash: digest(row, "key_hash")?,
        state: word("state", &text("state")?, RequestState::from_word)?,
        reason: row.get("reason")?,
    })
}

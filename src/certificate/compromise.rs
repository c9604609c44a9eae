//! A key that says of itself that it is compromised (`docs/formats/compromise.md`): whoever can sign
//! with it may have the certificate revoked at once, without an officer.

use std::fmt;

use der::{Decode, Encode};
use serde_json::json;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, SubjectPublicKeyInfo};

use super::draft::iso8601;
use super::issuer::Issuer;
use super::key::PublicKey;
use super::record::{CertificateRecord, RequestState, Revocation};
use super::revocation::Revoked;
use super::{CertificateError, Reason, Serial, oid};
use crate::clock::UtcMicros;
use crate::digest::hex;

const TITLE: &str = "pechat: the private key of this certificate is compromised";
const UNKNOWN: &str = "unknown";

/// What is signed: three lines of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The certificate.
    pub serial: Serial,
    /// Since when, seconds since 1970, if the holder knows.
    pub since: Option<i64>,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.map_or_else(|| UNKNOWN.to_owned(), iso8601);
        write!(f, "{TITLE}\nserial {}\nsince {since}\n", self.serial)
    }
}

impl Statement {
    /// Reads exactly what [`Statement`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_prefix(TITLE)?.strip_prefix('\n')?.strip_suffix('\n')?.split('\n');
        let serial = lines.next()?.strip_prefix("serial ")?.parse().ok()?;
        let since = match lines.next()?.strip_prefix("since ")? {
            UNKNOWN => None,
            moment => Some(moment.parse::<jiff::Timestamp>().ok()?.as_second()),
        };
        let read = Self { serial, since };
        (read.to_string() == text).then_some(read)
    }

    /// Whether this key (SubjectPublicKeyInfo, DER) made `signature` over the text: ECDSA (DER) or RSA
    /// PKCS #1 v1.5, with SHA-256, -384 or -512.
    fn signed_by(&self, spki: &[u8], signature: &[u8]) -> Option<bool> {
        let spki = SubjectPublicKeyInfo::from_der(spki).ok()?;
        let key = PublicKey::new(&spki.algorithm, spki.subject_public_key.as_bytes()?).ok()?;
        let text = self.to_string();
        let null = || der::asn1::Any::from(der::asn1::Null);
        let ecdsa = [oid::ECDSA_SHA256, oid::ECDSA_SHA384, oid::ECDSA_SHA512].map(|oid| (oid, None));
        let rsa = [oid::RSA_SHA256, oid::RSA_SHA384, oid::RSA_SHA512].map(|oid| (oid, Some(null())));
        let verified = ecdsa.into_iter().chain(rsa).any(|(oid, parameters)| {
            let algorithm = AlgorithmIdentifierOwned { oid, parameters };
            key.verifies(&algorithm, text.as_bytes(), signature) == Some(true)
        });
        Some(verified)
    }
}

impl Issuer {
    /// Revokes every certificate of the key that signed the statement, for keyCompromise, and refuses the
    /// requests that wait with it. The same once more finds it done. Works without trusted time.
    pub async fn compromised(
        &self,
        statement: Statement,
        signature: Vec<u8>,
        now: Option<UtcMicros>,
    ) -> Result<Revoked, CertificateError> {
        let (this, now) = (self.clone(), self.at_or_last(now)?);
        let flow = async move { this.believe(statement, signature, now).await };
        tokio::spawn(flow).await.map_err(|_| CertificateError::Stopping)?
    }

    async fn believe(
        &self,
        statement: Statement,
        signature: Vec<u8>,
        now: i64,
    ) -> Result<Revoked, CertificateError> {
        let record = self.certificate(statement.serial).await?;
        let holder = || CertificateError::NotTheHolder(statement.serial.to_string());
        if record.der.is_empty() || record.institution.is_none() {
            return Err(CertificateError::UnknownCertificate(statement.serial.to_string()));
        }
        let spki =
            Certificate::from_der(&record.der)?.tbs_certificate().subject_public_key_info().to_der()?;
        if statement.signed_by(&spki, &signature) != Some(true) {
            return Err(holder());
        }
        let compromised = |r: &Revocation| r.reason == Reason::KeyCompromise;
        if record.revocation.as_ref().is_some_and(compromised) {
            let list = self.list(&record.issuer).map(|list| list.number);
            let list = list.ok_or_else(|| CertificateError::UnknownCa(record.issuer.clone()));
            return Ok(Revoked { certificate: record, list });
        }
        self.note(json!({
            "event": "compromise", "serial": statement.serial.to_string(), "statement": statement.to_string(),
            "signature": hex(&signature), "time": iso8601(now),
        }))
        .await?;
        let revoked = self.revoke_as(statement.serial, revocation(&record, statement, now)).await?;
        self.spread(&record, statement, now).await?;
        Ok(revoked)
    }

    /// What else the key was or would be certified for.
    async fn spread(
        &self,
        record: &CertificateRecord,
        statement: Statement,
        now: i64,
    ) -> Result<(), CertificateError> {
        for used in self.0.store.key_uses(record.key_hash).await? {
            let serial: Serial = used.serial.parse()?;
            if let Some(other) = self.0.store.certificate(serial).await? {
                let held = Reason::CertificateHold.as_str();
                if other.revocation.as_ref().is_none_or(|r| r.reason.as_str() == held) {
                    self.revoke_as(serial, revocation(&other, statement, now)).await?;
                }
            } else if let Some(request) = self.0.store.request_of_serial(serial).await? {
                let why = Some("the key was reported as compromised by its holder".to_owned());
                let (from, to) = (RequestState::Awaiting, RequestState::Refused);
                self.0.store.move_request(&request.id, from, to, why).await?;
            }
        }
        Ok(())
    }
}

/// The holder's word, within what a list can say: not before the certificate, not in the future.
fn revocation(record: &CertificateRecord, statement: Statement, time: i64) -> Revocation {
    let since = statement.since.map(|at| at.max(record.not_before).min(time));
    Revocation { time, reason: Reason::KeyCompromise, by: "holder of the key".into(), invalid_since: since }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_reads_back_exactly_and_nothing_else_reads() {
        let serial = Serial::random().unwrap();
        for since in [None, Some(1_800_000_000)] {
            let statement = Statement { serial, since };
            assert_eq!(Statement::parse(&statement.to_string()), Some(statement));
        }
        let text = Statement { serial, since: Some(0) }.to_string();
        assert!(text.ends_with("\nsince 1970-01-01T00:00:00Z\n"), "{text}");
        for wrong in [
            text.trim_end().to_owned(),
            text.replace("Z\n", "+00:00\n"),
            text.replace("00Z", "00.5Z"),
            text.replace('\n', "\r\n"),
            format!("{text}\n"),
            text.to_uppercase(),
        ] {
            assert_eq!(Statement::parse(&wrong), None, "{wrong:?}");
        }
    }
}

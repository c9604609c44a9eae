//! OCSP (RFC 6960, 9654): what a relying party is told of one certificate, at once.
//!
//! Answers without a nonce are signed ahead, kept in memory and renewed at half of their life; an answer
//! with a nonce, and every answer about a serial that was never issued, is signed when it is asked for,
//! as often as [`FRESH_PER_SECOND`] allows. A change of a status forgets the kept answers before it is
//! reported, so that whoever asks afterwards is told.

mod answers;
mod request;
mod responder;
mod response;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::issuer::Issuer;
use super::{CertificateError, Serial};
use crate::clock::UtcMicros;
pub(super) use answers::Answers;
pub use answers::Signed;
pub use request::{CertId, IdHash, MAX_QUESTIONS, MAX_REQUEST_BYTES, OcspRequest};
pub(super) use responder::{Responder, key_of};
pub(crate) use response::refusal;
pub use response::{Refusal, Status, Window};

/// Seconds from thisUpdate to nextUpdate: as long an old answer can be shown after a revocation.
pub const LIFETIME: i64 = 3600;
/// Signatures a second that strangers may cause; the HSM has other work.
pub const FRESH_PER_SECOND: f64 = 200.0;
/// A status that keeps changing while it is being signed is read this often.
const READINGS: usize = 4;

/// What goes back.
#[derive(Debug, Clone)]
pub struct OcspAnswer {
    /// OCSPResponse, DER.
    pub der: Bytes,
    /// From when to when a cache may keep it; `None`: not at all.
    pub cacheable: Option<Window>,
}

impl From<Refusal> for OcspAnswer {
    fn from(status: Refusal) -> Self {
        Self { der: refusal(status).into(), cacheable: None }
    }
}

/// Fresh signatures left, with the fraction grown since the last one.
#[derive(Default)]
pub(super) struct Allowance(Mutex<Option<(f64, Instant)>>);

impl Allowance {
    fn take(&self, now: Instant) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = kept.unwrap_or((FRESH_PER_SECOND, now));
        let grown = now.saturating_duration_since(at).as_secs_f64() * FRESH_PER_SECOND;
        let left = (left + grown).min(FRESH_PER_SECOND);
        let allowed = left >= 1.0;
        *kept = Some((if allowed { left - 1.0 } else { left }, at.max(now)));
        allowed
    }
}

impl Issuer {
    /// The answer to an OCSPRequest, whatever it is. `now` is trusted time, or absent: then the last that
    /// was trusted; `at` measures how often a fresh signature is asked for.
    pub async fn ocsp(&self, request: &[u8], now: Option<UtcMicros>, at: Instant) -> OcspAnswer {
        let Ok(request) = OcspRequest::parse(request) else { return Refusal::MalformedRequest.into() };
        let Some(responder) = self.responder(&request.questions) else {
            return Refusal::Unauthorized.into();
        };
        let Ok(now) = self.at_or_last(now) else { return Refusal::TryLater.into() };
        if let ([one], None) = (&request.questions[..], request.nonce)
            && let Ok(serial) = Serial::try_from(one.serial)
            && let Some(kept) = self.0.answers.find(&serial, one.der, now)
        {
            return OcspAnswer { der: kept.der.clone(), cacheable: Some(kept.window) };
        }
        if !self.0.allowance.take(at) {
            return Refusal::TryLater.into();
        }
        match self.sign_answer(responder, &request, now).await {
            Ok((answer, cacheable)) => {
                OcspAnswer { der: answer.der.clone(), cacheable: cacheable.then_some(answer.window) }
            }
            Err(error) => {
                tracing::warn!(%error, "an OCSP answer could not be signed");
                failed(&error).into()
            }
        }
    }

    /// Who answers all of these; one signature cannot speak for two CAs.
    fn responder(&self, questions: &[CertId<'_>]) -> Option<&Responder> {
        let responder = self.0.responders.iter().find(|r| questions.first().is_some_and(|q| r.serves(q)))?;
        questions.iter().all(|q| responder.serves(q)).then_some(responder)
    }

    /// Signs over the statuses as they are; whether the answer may be kept.
    async fn sign_answer(
        &self,
        responder: &Responder,
        request: &OcspRequest<'_>,
        now: i64,
    ) -> Result<(Arc<Signed>, bool), CertificateError> {
        let mut readings = 0;
        loop {
            let changes = self.0.answers.changes();
            let mut answers = Vec::with_capacity(request.questions.len());
            for question in &request.questions {
                answers.push((question.der, self.status(responder, question.serial).await?));
            }
            let signed = self.sign_statuses(responder, &answers, now, request.nonce).await?;
            readings += 1;
            // A status may have changed since: what is told now must not be older than the question.
            let settled = match (&request.questions[..], request.nonce, answers[0].1) {
                ([one], None, Status::Good | Status::Revoked { .. }) => {
                    let serial = Serial::try_from(one.serial)?;
                    self.0.answers.keep(serial, one.der, signed.clone(), changes)
                }
                _ => self.0.answers.changes() == changes,
            };
            if settled || readings == READINGS {
                let issued = answers.iter().all(|(_, status)| *status != Status::NotIssued);
                return Ok((signed, settled && request.nonce.is_none() && issued));
            }
        }
    }

    async fn sign_statuses(
        &self,
        responder: &Responder,
        answers: &[(&[u8], Status)],
        now: i64,
        nonce: Option<&[u8]>,
    ) -> Result<Arc<Signed>, CertificateError> {
        let delegate = responder.delegate.load_full().filter(|d| now < d.not_after);
        let delegate = delegate
            .ok_or_else(|| CertificateError::Issuer(format!("{} has no certificate", responder.key)))?;
        let window = Window { this_update: now, next_update: (now + LIFETIME).min(delegate.not_after) };
        let draft = response::draft(&responder.key_id, answers, window, nonce);
        let signature = self.0.keys.sign(&responder.key, &draft).await?;
        let der = response::finish(&draft, signature.as_der(), &delegate.der);
        Ok(Arc::new(Signed { der: der.into(), window }))
    }

    /// What the store knows of a serial (INTEGER contents octets) of this responder's CA.
    async fn status(&self, responder: &Responder, serial: &[u8]) -> Result<Status, CertificateError> {
        let Ok(serial) = Serial::try_from(serial) else { return Ok(Status::NotIssued) };
        let record = self.0.store.certificate(serial).await?;
        Ok(match record.filter(|r| r.issuer == responder.issuer.as_str()) {
            None => Status::NotIssued,
            Some(record) => match record.revocation {
                Some(revocation) => Status::Revoked { time: revocation.time, reason: revocation.reason },
                None => Status::Good,
            },
        })
    }

    /// Signs ahead what is missing or past half of its life, for every certificate that has not expired;
    /// says how many. Stops at the first error: the next round goes on.
    pub async fn refresh_answers(&self, now: UtcMicros) -> Result<usize, CertificateError> {
        let now = self.at(now);
        let mut signed = 0;
        for responder in &self.0.responders {
            for serial in self.0.store.unexpired(responder.issuer.as_str(), now).await? {
                let usual = responder.usual_id(&serial);
                let mut due = self.0.answers.ending(&serial, now + LIFETIME / 2);
                if self.0.answers.find(&serial, &usual, now).is_none() && !due.contains(&usual) {
                    due.push(usual);
                }
                for id in due {
                    let question = CertId {
                        hash: None,
                        name_hash: &[],
                        key_hash: &[],
                        serial: serial.as_bytes(),
                        der: &id,
                    };
                    let request = OcspRequest { questions: vec![question], nonce: None };
                    self.sign_answer(responder, &request, now).await?;
                    signed += 1;
                }
            }
        }
        Ok(signed)
    }
}

/// What a client is told of an error on our side.
fn failed(error: &CertificateError) -> Refusal {
    match error {
        CertificateError::Key(_) | CertificateError::Issuer(_) | CertificateError::NoTime => {
            Refusal::TryLater
        }
        _ => Refusal::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn strangers_cause_no_more_than_their_share_of_signatures() {
        let (allowance, now) = (Allowance::default(), Instant::now());
        let count = |at| (0..1000).filter(|_| allowance.take(at)).count();
        assert_eq!(count(now), 200);
        assert_eq!(count(now + Duration::from_millis(500)), 100);
        assert_eq!(count(now), 0, "an earlier moment gives nothing back");
    }
}

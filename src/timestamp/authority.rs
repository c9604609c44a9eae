//! The flow of a token: prepare, record, sign, record, release.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::Serialize;

use crate::clock::{Clock, Permit, Untrusted, UtcMicros};
use crate::digest::{Digest, hex};
use crate::keys::{KeyError, Keys};

use super::reply::{FailInfo, Rejection, granted, rejected};
use super::request::{Hash, TimestampRequest};
use super::token::{Accuracy, Contents, Draft, Serial};
use super::unit::{Policy, Unit};
use super::{Answer, AuthorityError, RecordFn, UnitParts};

/// A clock this far behind the last genTime is waited for; further behind it is not to be trusted
/// (`regress`).
const WAIT_FOR_MARK_MS: i64 = 250;

/// The TSA: one unit, one clock, one HSM. Cheap to clone.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    unit: Unit,
    keys: Keys,
    clock: Clock,
    /// Latest genTime given out, milliseconds since 1970: it never decreases.
    mark_ms: AtomicI64,
    record: ArcSwapOption<RecordFn>,
}

/// A token that is ready to be recorded and signed.
struct Prepared {
    draft: Draft,
    permit: Permit,
    serial: Serial,
    gen_time: UtcMicros,
}

/// The record of a token, before it is signed.
#[derive(Serialize)]
struct Intent<'a> {
    serial: &'a str,
    imprint_algorithm: &'static str,
    imprint: String,
    gen_time: String,
    bound_us: u64,
    clock_state: &'static str,
    policy: &'a str,
    unit: &'a str,
    client: &'a str,
    tbs_sha256: Digest,
}

/// The record of a token that was recorded but did not leave.
#[derive(Serialize)]
struct Withheld<'a> {
    withheld: &'a str,
    reason: &'a str,
}

impl Authority {
    /// Checks certificate (EKU alone and critical, key = pinned key, chain) and policy texts; whether
    /// the certificates are valid is judged at each request's time.
    /// `not_before_us`: the journal's last time, below which genTime may never fall.
    pub fn new(
        unit: UnitParts,
        keys: Keys,
        clock: Clock,
        not_before_us: i64,
    ) -> Result<Authority, AuthorityError> {
        let refuse = |e: KeyError| AuthorityError(format!("unit {:?}: {e}", unit.key.as_str()));
        let pinned = keys.public_key_der(&unit.key).map_err(refuse)?;
        let unit = Unit::new(&unit, &pinned)?;
        let mark = not_before_us.div_euclid(1000) + i64::from(not_before_us.rem_euclid(1000) > 0);
        let (mark_ms, record) = (AtomicI64::new(mark), ArcSwapOption::empty());
        Ok(Authority(Arc::new(Inner { unit, keys, clock, mark_ms, record })))
    }

    /// Sets where tokens are recorded (the journal needs the authority for its own stamps first).
    pub fn record_with(&self, record: RecordFn) {
        self.0.record.store(Some(Arc::new(record)));
    }

    /// Answers one DER query; `client` goes into the record only.
    pub async fn answer(&self, query: &[u8], client: &str) -> Answer {
        match self.0.token(query, client).await {
            Ok(token) => Answer { reply: granted(&token), outcome: "granted", retry_after: None },
            Err(why) => {
                tracing::debug!(client, reason = %why, "timestamp refused");
                Answer { reply: rejected(&why), outcome: why.fail.word(), retry_after: why.retry_after }
            }
        }
    }

    /// Token (DER ContentInfo) over a SHA-256 imprint for a journal batch, certificates included;
    /// recorded by the batch itself.
    pub async fn stamp_batch(&self, imprint: Digest) -> Result<Vec<u8>, AuthorityError> {
        let inner = &self.0;
        let imprint = Hash::Sha256.imprint_der(imprint.as_bytes());
        let policy = inner.unit.default_policy();
        let stamped = async {
            let prepared = inner.prepare(policy, &imprint, None, true).await?;
            inner.sign_and_confirm(prepared).await
        };
        stamped.await.map_err(|why| AuthorityError(why.to_string()))
    }
}

impl Inner {
    async fn token(&self, query: &[u8], client: &str) -> Result<Vec<u8>, Rejection> {
        // 1. Prepare: judge the query, ask the clock, draft everything that will be signed.
        let request = TimestampRequest::parse(query)?;
        let policy = self.unit.policy_for(&request)?;
        let record = self
            .record
            .load_full()
            .ok_or(Rejection::new(FailInfo::SystemFailure, "tokens cannot be recorded yet"))?;
        let prepared = self.prepare(policy, request.imprint_der, request.nonce, request.cert_req).await?;
        // 2. Record: durable before the HSM sees anything.
        let serial = prepared.serial;
        record(*serial.as_bytes(), self.intent(&prepared, &request, policy, client)).await.map_err(|e| {
            tracing::error!(reason = %e, "token not recorded");
            Rejection::passing(FailInfo::SystemFailure, "the token could not be recorded", 5)
        })?;
        // 3. Sign, verify, and look at the clock again.
        match self.sign_and_confirm(prepared).await {
            // 5. Release.
            Ok(token) => Ok(token),
            // 4. Record that it is withheld; the refusal stands whether this succeeds or not.
            Err(why) => {
                if let Err(e) = record(withheld_id(serial), withheld(serial, &why)).await {
                    tracing::error!(serial = hex(serial.as_bytes()), reason = %e, "withheld token not recorded");
                }
                Err(why)
            }
        }
    }

    async fn prepare(
        &self,
        policy: &Policy,
        imprint: &[u8],
        nonce: Option<&[u8]>,
        certificates: bool,
    ) -> Result<Prepared, Rejection> {
        let (permit, gen_time) = self.gen_time().await?;
        self.unit.check_valid(permit.reading.utc)?;
        let accuracy = Accuracy::covering(permit.reading.bound).ok_or_else(|| {
            let text = format!("the clock's bound is {:?}, more than 1 s", permit.reading.bound);
            Rejection::passing(FailInfo::TimeNotAvailable, text, 30)
        })?;
        let serial = Serial::random().ok_or(Rejection::passing(
            FailInfo::SystemFailure,
            "no random serial number",
            5,
        ))?;
        let contents =
            Contents { policy: &policy.der, imprint, serial, gen_time, accuracy, nonce, certificates };
        let draft = Draft::new(&self.unit.form, &contents)
            .ok_or(Rejection::new(FailInfo::TimeNotAvailable, "the time is outside 1970 to 9999"))?;
        Ok(Prepared { draft, permit, serial, gen_time })
    }

    /// A permit whose time, cut to milliseconds, is not below any genTime given before.
    async fn gen_time(&self) -> Result<(Permit, UtcMicros), Rejection> {
        let mut waited = 0;
        loop {
            let permit = self.clock.permit().map_err(untrusted)?;
            let now = permit.reading.utc.millis();
            let behind = self.mark_ms.fetch_max(now, Ordering::SeqCst) - now;
            if behind <= 0 {
                return Ok((permit, UtcMicros(now * 1000)));
            }
            waited += behind;
            if waited > WAIT_FOR_MARK_MS {
                let text = format!("the clock is {behind} ms behind the last token's time");
                return Err(Rejection::passing(FailInfo::TimeNotAvailable, text, 30));
            }
            tokio::time::sleep(Duration::from_millis(behind.unsigned_abs())).await;
        }
    }

    fn intent(
        &self,
        prepared: &Prepared,
        request: &TimestampRequest<'_>,
        policy: &Policy,
        client: &str,
    ) -> Vec<u8> {
        let reading = prepared.permit.reading;
        let intent = Intent {
            serial: &hex(prepared.serial.as_bytes()),
            imprint_algorithm: request.hash.name(),
            imprint: hex(request.imprint),
            gen_time: prepared.gen_time.iso8601(),
            bound_us: u64::try_from(reading.bound.as_micros()).unwrap_or(u64::MAX),
            clock_state: if reading.holdover { "holdover" } else { "synchronised" },
            policy: &policy.text,
            unit: self.unit.key.as_str(),
            client,
            tbs_sha256: Digest::of(prepared.draft.to_be_signed()),
        };
        // Strings and numbers only: serialising them cannot fail.
        serde_json::to_vec(&intent).unwrap_or_default()
    }

    async fn sign_and_confirm(&self, prepared: Prepared) -> Result<Vec<u8>, Rejection> {
        let Prepared { draft, permit, .. } = prepared;
        let signature = self.keys.sign(&self.unit.key, draft.to_be_signed()).await.map_err(key_error)?;
        permit.confirm(&self.clock).map_err(untrusted)?;
        Ok(draft.finish(&self.unit.form, &signature))
    }
}

/// Id of the record that a token was withheld: derived, so that it stands once.
fn withheld_id(serial: Serial) -> [u8; 16] {
    let digest = Digest::of_parts(&[b"pechat/withheld/v1\n", serial.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    id
}

fn withheld(serial: Serial, why: &Rejection) -> Vec<u8> {
    let record = Withheld { withheld: &hex(serial.as_bytes()), reason: &why.to_string() };
    serde_json::to_vec(&record).unwrap_or_default()
}

fn untrusted(why: Untrusted) -> Rejection {
    let seconds = why.retry_after.as_secs() + u64::from(why.retry_after.subsec_nanos() > 0);
    Rejection::passing(FailInfo::TimeNotAvailable, why.to_string(), seconds)
}

fn key_error(why: KeyError) -> Rejection {
    let retry_after = match &why {
        KeyError::Busy => Some(1),
        // A dead or hung signer is replaced within 5 s.
        KeyError::Deadline(_) | KeyError::Down(_) | KeyError::Refused(_) => Some(5),
        KeyError::WrongSignature(_)
        | KeyError::Differs { .. }
        | KeyError::Unknown(_)
        | KeyError::BadLabel(_) => None,
    };
    Rejection { fail: FailInfo::SystemFailure, text: why.to_string().into(), retry_after }
}

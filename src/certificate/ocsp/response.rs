//! RFC 6960 section 4.2: answers, laid by hand; drafted here, signed in the HSM, finished here.

use crate::certificate::Reason;
use crate::timestamp::tlv::{element, tag, unsigned};

/// OCSPResponseStatus without an answer in it (RFC 6960 section 4.2.1; 4 is not used, 5 not here).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The request is not an OCSPRequest.
    MalformedRequest = 1,
    /// The store failed.
    InternalError = 2,
    /// HSM, clock or journal do not allow an answer now, or too many are asked for.
    TryLater = 3,
    /// The issuer is not one of ours, or several were asked about at once.
    Unauthorized = 6,
}

const ENUMERATED: u8 = 0x0A;
/// `[0] IMPLICIT NULL`: good.
const GOOD: &[u8] = &[0x80, 0x00];
/// 1.3.6.1.5.5.7.48.1.1 id-pkix-ocsp-basic.
const BASIC: &[u8] = &[0x06, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// 1.3.6.1.5.5.7.48.1.2 id-pkix-ocsp-nonce.
const NONCE: &[u8] = &[0x06, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
/// Extension 1.3.6.1.5.5.7.48.1.9 id-pkix-ocsp-extended-revoke, NULL (RFC 6960 section 4.4.8).
const EXTENDED_REVOKE: &[u8] =
    &[0x30, 0x0F, 0x06, 0x09, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x09, 0x04, 0x02, 0x05, 0x00];
/// ecdsa-with-SHA256, parameters absent (RFC 5758 section 3.2).
const ALGORITHM: &[u8] = &[0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];

/// An answer without answers: the status alone (RFC 6960 section 4.2.1).
pub(crate) fn refusal(status: Refusal) -> Vec<u8> {
    vec![tag::SEQUENCE, 3, ENUMERATED, 1, status as u8]
}

/// What is known of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Issued and not revoked.
    Good,
    /// Revoked, or on hold.
    Revoked {
        /// Seconds since 1970.
        time: i64,
        /// Why.
        reason: Reason,
    },
    /// Never issued: answered as revoked in 1970 and on hold, with extended-revoke (RFC 6960 section 2.2).
    NotIssued,
}

/// The moments of an answer, seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When the status was read; also producedAt.
    pub this_update: i64,
    /// When a newer answer is there at the latest.
    pub next_update: i64,
}

/// ResponseData, DER: what is signed. `responder` is the SHA-1 of the responder's key bits.
pub(super) fn draft(
    responder: &[u8],
    answers: &[(&[u8], Status)],
    window: Window,
    nonce: Option<&[u8]>,
) -> Vec<u8> {
    let by_key = element(tag::CONTEXT_2, &[&element(tag::OCTET_STRING, &[responder])]);
    let singles: Vec<u8> = answers.iter().flat_map(|(id, status)| single(id, *status, window)).collect();
    let mut extensions = nonce.map(nonce_extension).unwrap_or_default();
    if answers.iter().any(|(_, status)| *status == Status::NotIssued) {
        extensions.extend_from_slice(EXTENDED_REVOKE);
    }
    let mut trailer = Vec::new();
    if !extensions.is_empty() {
        trailer = element(tag::CONTEXT_1, &[&element(tag::SEQUENCE, &[&extensions])]);
    }
    let produced_at = time(window.this_update);
    element(tag::SEQUENCE, &[&by_key, &produced_at, &element(tag::SEQUENCE, &[&singles]), &trailer])
}

fn nonce_extension(nonce: &[u8]) -> Vec<u8> {
    let value = element(tag::OCTET_STRING, &[&element(tag::OCTET_STRING, &[nonce])]);
    element(tag::SEQUENCE, &[NONCE, &value])
}

fn single(id: &[u8], status: Status, window: Window) -> Vec<u8> {
    let status = match status {
        Status::Good => GOOD.to_vec(),
        Status::Revoked { time, reason } => revoked(time.min(window.this_update), reason),
        Status::NotIssued => revoked(0, Reason::CertificateHold),
    };
    let next_update = element(tag::CONTEXT_0, &[&time(window.next_update)]);
    element(tag::SEQUENCE, &[id, &status, &time(window.this_update), &next_update])
}

/// RevokedInfo; as in the list, no reason is expressed by absence.
fn revoked(at: i64, reason: Reason) -> Vec<u8> {
    let code = reason.code().map(|code| element(ENUMERATED, &[&[code as u8]]));
    let code = code.map(|code| element(tag::CONTEXT_0, &[&code])).unwrap_or_default();
    element(tag::CONTEXT_1, &[&time(at), &code])
}

/// GeneralizedTime in whole seconds.
fn time(seconds: i64) -> Vec<u8> {
    let calendar = crate::certificate::draft::iso8601(seconds);
    let digits: Vec<u8> = calendar.bytes().filter(u8::is_ascii_digit).collect();
    element(tag::GENERALIZED_TIME, &[&digits, b"Z"])
}

/// OCSPResponse, DER: the drafted bytes, a DER `Ecdsa-Sig-Value` and the responder's certificate.
pub(super) fn finish(draft: &[u8], signature: &[u8], certificate: &[u8]) -> Vec<u8> {
    let signature = element(tag::BIT_STRING, &[&[0], signature]);
    let certificates = element(tag::CONTEXT_0, &[&element(tag::SEQUENCE, &[certificate])]);
    let basic = element(tag::SEQUENCE, &[draft, ALGORITHM, &signature, &certificates]);
    let bytes = element(tag::SEQUENCE, &[BASIC, &element(tag::OCTET_STRING, &[&basic])]);
    let status = element(ENUMERATED, &[&[0]]);
    element(tag::SEQUENCE, &[&status, &element(tag::CONTEXT_0, &[&bytes])])
}

/// CertID, DER, of a serial (INTEGER contents octets): SHA-1 with NULL, as almost every client writes it.
pub(super) fn sha1_id(name_hash: &[u8], key_hash: &[u8], serial: &[u8]) -> Vec<u8> {
    const SHA1: &[u8] = &[0x30, 0x09, 0x06, 0x05, 0x2B, 0x0E, 0x03, 0x02, 0x1A, 0x05, 0x00];
    let name = element(tag::OCTET_STRING, &[name_hash]);
    let key = element(tag::OCTET_STRING, &[key_hash]);
    element(tag::SEQUENCE, &[SHA1, &name, &key, &unsigned(serial)])
}

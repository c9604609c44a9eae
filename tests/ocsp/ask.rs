//! Requests as `rasn-ocsp` writes them, answers as it reads them: a stranger to the code that serves.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use der::{Decode, Encode};
use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::Verifier;
use p256::pkcs8::DecodePublicKey;
use pechat::certificate::Serial;
use rasn::types::{Any, Integer, ObjectIdentifier, OctetString, Oid, SequenceOf};
use rasn_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspRequest, OcspResponse, OcspResponseStatus, Request,
    ResponderId, TbsRequest,
};
use rasn_pkix::{AlgorithmIdentifier, Extension};

pub const NONCE: &Oid = Oid::const_new(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 2]);
pub const EXTENDED_REVOKE: &Oid = Oid::const_new(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 9]);
const SHA1: &Oid = Oid::const_new(&[1, 3, 14, 3, 2, 26]);
const SHA256_OID: &Oid = Oid::const_new(&[2, 16, 840, 1, 101, 3, 4, 2, 1]);
const BASIC: &Oid = Oid::const_new(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 1]);

/// How a client names the issuer.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub sha256: bool,
    pub null: bool,
}

pub const USUAL: Form = Form { sha256: false, null: true };

/// The CertID of a serial of the CA with this certificate.
pub fn id(ca: &[u8], serial: &[u8], form: Form) -> CertId {
    let ca = x509_cert::Certificate::from_der(ca).unwrap();
    let tbs = ca.tbs_certificate();
    let (algorithm, oid): (&'static Algorithm, _) =
        if form.sha256 { (&SHA256, SHA256_OID) } else { (&SHA1_FOR_LEGACY_USE_ONLY, SHA1) };
    let hash = |bytes: &[u8]| OctetString::from(digest(algorithm, bytes).as_ref().to_vec());
    CertId {
        hash_algorithm: AlgorithmIdentifier {
            algorithm: ObjectIdentifier::from(oid),
            parameters: form.null.then(|| Any::new(vec![5, 0])),
        },
        issuer_name_hash: hash(&tbs.subject().to_der().unwrap()),
        issuer_key_hash: hash(tbs.subject_public_key_info().subject_public_key.raw_bytes()),
        serial_number: Integer::from(num_bigint::BigInt::from_bytes_be(num_bigint::Sign::Plus, serial)),
    }
}

/// A request, DER.
pub fn request(ids: Vec<CertId>, nonce: Option<&[u8]>) -> Vec<u8> {
    extended(ids, nonce.map(nonce_extension).into_iter().collect())
}

pub fn nonce_extension(nonce: &[u8]) -> Extension {
    let value = rasn::der::encode(&OctetString::from(nonce.to_vec())).unwrap();
    Extension { extn_id: ObjectIdentifier::from(NONCE), critical: false, extn_value: value.into() }
}

/// A request with these extensions, DER.
pub fn extended(ids: Vec<CertId>, extensions: Vec<Extension>) -> Vec<u8> {
    let one = |req_cert| Request { req_cert, single_request_extensions: None };
    let tbs_request = TbsRequest {
        version: Integer::from(0),
        requestor_name: None,
        request_list: ids.into_iter().map(one).collect::<SequenceOf<_>>(),
        request_extensions: (!extensions.is_empty()).then(|| extensions.into()),
    };
    rasn::der::encode(&OcspRequest { tbs_request, optional_signature: None }).unwrap()
}

/// The status of an answer without an answer in it, which has nothing else in it.
pub fn refusal(der: &[u8]) -> OcspResponseStatus {
    let answer: OcspResponse = rasn::der::decode(der).unwrap();
    assert_eq!(rasn::der::encode(&answer).unwrap(), der, "the refusal is DER");
    assert_eq!(answer.bytes, None);
    answer.status
}

/// What an answer says of one certificate: `None` is good, else when and with which code it was revoked.
pub type Said = Option<(i64, Option<u32>)>;

/// An answer whose form, signature and delegation were checked.
pub struct Told {
    pub basic: BasicOcspResponse,
    /// The responder's certificate, DER.
    pub delegate: Vec<u8>,
    pub produced_at: i64,
}

impl Told {
    /// Takes an answer apart; `ca` is the certificate (DER) of the CA that was asked about.
    pub fn read(der: &[u8], ca: &[u8]) -> Self {
        let answer: OcspResponse = rasn::der::decode(der).unwrap();
        assert_eq!(rasn::der::encode(&answer).unwrap(), der, "the answer is DER");
        assert_eq!(answer.status, OcspResponseStatus::Successful);
        let bytes = answer.bytes.unwrap();
        assert_eq!(bytes.r#type, *BASIC);
        let basic: BasicOcspResponse = rasn::der::decode(&bytes.response).unwrap();
        let tbs = rasn::der::encode(&basic.tbs_response_data).unwrap();
        let certificates = basic.certs.as_ref().unwrap();
        assert_eq!(certificates.len(), 1);
        let delegate = rasn::der::encode(&certificates[0]).unwrap();
        let key = spki(&delegate);
        let signature = p256::ecdsa::Signature::from_der(&basic.signature.clone().into_vec()).unwrap();
        VerifyingKey::from_public_key_der(&key).unwrap().verify(&tbs, &signature).unwrap();
        delegated(&delegate, ca);
        let bits = x509_cert::SubjectPublicKeyInfo::from_der(&key).unwrap();
        let id = digest(&SHA1_FOR_LEGACY_USE_ONLY, bits.subject_public_key.raw_bytes());
        let by_key = OctetString::from(id.as_ref().to_vec());
        assert_eq!(basic.tbs_response_data.responder_id, ResponderId::ByKey(by_key));
        let produced_at = basic.tbs_response_data.produced_at.timestamp();
        for single in &basic.tbs_response_data.responses {
            // Line 33.
            assert!(single.this_update.timestamp() <= produced_at);
            assert!(produced_at < single.next_update.unwrap().timestamp());
        }
        Self { basic, delegate, produced_at }
    }

    /// What it says, in the order asked.
    pub fn said(&self) -> Vec<Said> {
        let said = |status: &CertStatus| match status {
            CertStatus::Good => None,
            CertStatus::Revoked(info) => {
                Some((info.revocation_time.timestamp(), info.revocation_reason.map(|r| r as u32)))
            }
            CertStatus::Unknown(()) => panic!("unknown is never said"),
        };
        self.basic.tbs_response_data.responses.iter().map(|s| said(&s.cert_status)).collect()
    }

    pub fn ids(&self) -> Vec<CertId> {
        self.basic.tbs_response_data.responses.iter().map(|s| s.cert_id.clone()).collect()
    }

    /// Contents of an extension.
    pub fn extension(&self, oid: &Oid) -> Option<Vec<u8>> {
        let list = self.basic.tbs_response_data.response_extensions.as_ref()?;
        list.iter().find(|e| e.extn_id == *oid).map(|e| e.extn_value.to_vec())
    }
}

fn spki(certificate: &[u8]) -> Vec<u8> {
    let certificate = x509_cert::Certificate::from_der(certificate).unwrap();
    certificate.tbs_certificate().subject_public_key_info().to_der().unwrap()
}

/// Line 32: issued directly by the CA asked about.
fn delegated(delegate: &[u8], ca: &[u8]) {
    let certificate = x509_cert::Certificate::from_der(delegate).unwrap();
    let issuer = x509_cert::Certificate::from_der(ca).unwrap();
    assert_eq!(certificate.tbs_certificate().issuer(), issuer.tbs_certificate().subject());
    let signature = p256::ecdsa::Signature::from_der(certificate.signature().raw_bytes()).unwrap();
    let key = VerifyingKey::from_public_key_der(&spki(ca)).unwrap();
    key.verify(&certificate.tbs_certificate().to_der().unwrap(), &signature).unwrap();
}

/// A serial that was never drawn.
pub fn stranger() -> Serial {
    Serial::random().unwrap()
}

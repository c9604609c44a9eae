//! Answers made by hand, right in everything until a part is changed: what the judgements are tested with.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::exchange::{End, Seen, Sent};
use super::judge::FailInfo;
use super::query::Query;
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::timestamp::tlv::{element, set_of, tag};

const OID: u8 = tag::OID;
pub const SHA256: &[u8] = &[0x30, 11, 6, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
pub const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
const SIGNED_DATA: &[u8] = &[6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[6, 11, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x01, 0x04];
/// 2026-11-24 10:00:00 UTC.
pub const NOW: UtcMicros = UtcMicros(1_795_514_400_000_000);

static KEY: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());

/// One answer in parts; those of DER are whole elements, or empty when they are left out.
#[derive(Clone)]
pub struct Forge {
    pub http_status: u16,
    pub media_type: &'static str,
    pub chunked: bool,
    pub header: &'static str,
    /// After the reply, inside the body.
    pub after: Vec<u8>,

    pub status: Vec<u8>,
    pub texts: Vec<u8>,
    pub fail_info: Vec<u8>,
    pub with_token: bool,

    pub content_type: Vec<u8>,
    pub data_version: Vec<u8>,
    pub digests: Vec<u8>,
    pub inner_type: Vec<u8>,
    pub with_certificates: bool,
    pub sorted: bool,
    pub signatures: usize,
    pub signer_version: Vec<u8>,
    pub digest: Vec<u8>,
    pub algorithm: Vec<u8>,
    pub attribute_type: Vec<u8>,
    pub message_digest: Option<Vec<u8>>,
    pub ess: Ess,
    pub sorted_attributes: bool,
    pub good_signature: bool,

    pub version: Vec<u8>,
    pub policy: Vec<u8>,
    pub imprint: Vec<u8>,
    pub serial: Vec<u8>,
    pub gen_time: String,
    pub accuracy: Vec<u8>,
    pub ordering: Vec<u8>,
    pub nonce: Vec<u8>,
    pub tsa: Vec<u8>,
    pub extensions: Vec<u8>,

    /// Attributes of the unit's subject: last arc of 2.5.4 and text.
    pub subject: Vec<(u8, &'static str)>,
    /// Extensions of its certificate: OID contents, critical, value.
    pub unit_extensions: Vec<(Vec<u8>, bool, Vec<u8>)>,
}

/// The signing certificate attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ess {
    None,
    First,
    Second,
    SecondNamed,
    Anothers,
}

impl Forge {
    /// The right answer to `query`, the `n`-th of its exchange, in whole milliseconds after [`NOW`].
    pub fn granted(query: &Query, n: usize) -> Self {
        let policy = vec![OID, 2, 0x2A, 0x04];
        Self {
            http_status: 200,
            media_type: "application/timestamp-reply",
            chunked: false,
            header: "",
            after: vec![],
            status: vec![2, 1, 0],
            texts: vec![],
            fail_info: vec![],
            with_token: true,
            content_type: SIGNED_DATA.to_vec(),
            data_version: vec![2, 1, 3],
            digests: SHA256.to_vec(),
            inner_type: TST_INFO.to_vec(),
            with_certificates: !query.cert_req.is_empty(),
            sorted: true,
            signatures: 1,
            signer_version: vec![2, 1, 1],
            digest: SHA256.to_vec(),
            algorithm: ECDSA_SHA256.to_vec(),
            attribute_type: TST_INFO.to_vec(),
            message_digest: None,
            ess: Ess::Second,
            sorted_attributes: true,
            good_signature: true,
            version: vec![2, 1, 1],
            policy: if query.policy.is_empty() { policy } else { query.policy.clone() },
            imprint: query.imprint_der(),
            serial: vec![2, 2, 0x40, n as u8],
            gen_time: UtcMicros(NOW.0 + 1_000 * (n as i64 + 1)).generalized_time(),
            accuracy: vec![0x30, 3, 0x80, 1, 10],
            ordering: vec![],
            nonce: query.nonce.clone(),
            tsa: vec![],
            extensions: vec![],
            subject: vec![(6, "EX"), (10, "Registers"), (3, "Unit 1")],
            unit_extensions: vec![
                (vec![0x55, 0x1D, 0x0F], true, vec![3, 2, 6, 0xC0]),
                (vec![0x55, 0x1D, 0x25], true, vec![0x30, 0x0A, 6, 8, 0x2B, 6, 1, 5, 5, 7, 3, 8]),
                (vec![0x55, 0x1D, 0x10], false, element(0x30, &[&element(0x80, &[b"20260101000000Z"])])),
            ],
        }
    }

    /// The right rejection.
    pub fn rejected(query: &Query, fail: FailInfo) -> Self {
        let text = element(tag::SEQUENCE, &[&element(tag::UTF8_STRING, &[b"no"])]);
        let rejection =
            Self { status: vec![2, 1, 2], texts: text, with_token: false, ..Self::granted(query, 0) };
        Self { fail_info: fail.to_der(), ..rejection }
    }

    /// The unit's subject name.
    pub fn name(&self) -> Vec<u8> {
        let part = |(arc, text): &(u8, &str)| {
            let kind = if *arc == 6 { 0x13 } else { tag::UTF8_STRING };
            let pair =
                element(tag::SEQUENCE, &[&[OID, 3, 0x55, 4, *arc], &element(kind, &[text.as_bytes()])]);
            element(tag::SET, &[&pair])
        };
        element(tag::SEQUENCE, &[&self.subject.iter().map(part).collect::<Vec<_>>().concat()])
    }

    fn certificate(&self, serial: u8) -> Vec<u8> {
        let time = |text: &str| element(0x17, &[text.as_bytes()]);
        let validity = element(tag::SEQUENCE, &[&time("260101000000Z"), &time("300101000000Z")]);
        let curve = [6, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1, 6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
        let bits = element(tag::BIT_STRING, &[&[0], KEY.public_key().as_ref()]);
        let key = element(tag::SEQUENCE, &[&element(tag::SEQUENCE, &[&curve]), &bits]);
        let extension = |(oid, critical, value): &(Vec<u8>, bool, Vec<u8>)| {
            let critical: &[u8] = if *critical { &[1, 1, 0xFF] } else { &[] };
            element(tag::SEQUENCE, &[&element(OID, &[oid]), critical, &element(tag::OCTET_STRING, &[value])])
        };
        let extensions: Vec<u8> = self.unit_extensions.iter().flat_map(extension).collect();
        let extensions = element(0xA3, &[&element(tag::SEQUENCE, &[&extensions])]);
        let serial = [2, 1, serial];
        let version = [0xA0, 3, 2, 1, 2];
        let name = self.name();
        let fields: [&[u8]; 8] =
            [&version, &serial, ECDSA_SHA256, &name, &validity, &name, &key, &extensions];
        let tbs = element(tag::SEQUENCE, &fields);
        element(tag::SEQUENCE, &[&tbs, ECDSA_SHA256, &element(tag::BIT_STRING, &[&[0], &sign(&tbs)])])
    }

    fn info(&self) -> Vec<u8> {
        let time = element(tag::GENERALIZED_TIME, &[self.gen_time.as_bytes()]);
        let first: [&[u8]; 5] = [&self.version, &self.policy, &self.imprint, &self.serial, &time];
        let second: [&[u8]; 5] = [&self.accuracy, &self.ordering, &self.nonce, &self.tsa, &self.extensions];
        element(tag::SEQUENCE, &[&first.concat(), &second.concat()])
    }

    fn attributes(&self, unit: &[u8], info: &[u8]) -> Vec<u8> {
        let one = |oid: &[u8], value: &[u8]| {
            element(tag::SEQUENCE, &[&element(OID, &[oid]), &element(tag::SET, &[value])])
        };
        let own = element(tag::OCTET_STRING, &[Digest::of(info).as_bytes()]);
        let digest = self.message_digest.clone().unwrap_or(own);
        let hash = element(tag::OCTET_STRING, &[Digest::of(unit).as_bytes()]);
        let of = |first: &[u8]| element(0x30, &[&element(0x30, &[&element(0x30, &[first])])]);
        let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, unit);
        let ess = |arc, value: &[u8]| {
            one(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x02, arc], value)
        };
        let mut all = vec![
            one(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x03], &self.attribute_type),
            one(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x04], &digest),
        ];
        match self.ess {
            Ess::None => {}
            Ess::First => all.push(ess(0x0C, &of(&element(tag::OCTET_STRING, &[sha1.as_ref()])))),
            Ess::Second => all.push(ess(0x2F, &of(&hash))),
            Ess::SecondNamed => all.push(ess(0x2F, &of(&[SHA256, &hash].concat()))),
            Ess::Anothers => all.push(ess(0x2F, &of(&element(tag::OCTET_STRING, &[&[9; 32]])))),
        }
        all.sort();
        if !self.sorted_attributes {
            all.reverse();
        }
        all.concat()
    }

    fn token(&self) -> Vec<u8> {
        let (unit, info) = (self.certificate(5), self.info());
        let attributes = self.attributes(&unit, &info);
        let mut signature = sign(&element(tag::SET, &[&attributes]));
        if !self.good_signature {
            signature = sign(&element(tag::CONTEXT_0, &[&attributes]));
        }
        let sid = if self.signer_version == [2, 1, 1] {
            element(tag::SEQUENCE, &[&self.name(), &[2, 1, 5]])
        } else {
            vec![0x80, 1, 5]
        };
        let attributes = element(tag::CONTEXT_0, &[&attributes]);
        let signature = element(tag::OCTET_STRING, &[&signature]);
        let fields: [&[u8]; 6] =
            [&self.signer_version, &sid, &self.digest, &attributes, &self.algorithm, &signature];
        let signer = element(tag::SEQUENCE, &fields).repeat(self.signatures);
        let mut certificates = [unit, self.certificate(9)];
        certificates.sort();
        if !self.sorted {
            certificates.reverse();
        }
        let mut held = set_of(tag::CONTEXT_0, vec![certificates.concat()]);
        if !self.with_certificates {
            held.clear();
        }
        let content = element(tag::CONTEXT_0, &[&element(tag::OCTET_STRING, &[&info])]);
        let inner = element(tag::SEQUENCE, &[&self.inner_type, &content]);
        let digests = element(tag::SET, &[&self.digests]);
        let fields: [&[u8]; 5] =
            [&self.data_version, &digests, &inner, &held, &element(tag::SET, &[&signer])];
        let data = element(tag::SEQUENCE, &fields);
        element(tag::SEQUENCE, &[&self.content_type, &element(tag::CONTEXT_0, &[&data])])
    }

    /// TimeStampResp and what follows it.
    pub fn reply(&self) -> Vec<u8> {
        let status = element(tag::SEQUENCE, &[&self.status, &self.texts, &self.fail_info]);
        let token = if self.with_token { self.token() } else { vec![] };
        [element(tag::SEQUENCE, &[&status, &token]), self.after.clone()].concat()
    }

    /// The whole answer.
    pub fn answer(&self) -> Vec<u8> {
        let body = self.reply();
        let kind = match self.media_type {
            "" => String::new(),
            kind => format!("Content-Type: {kind}\r\n"),
        };
        let head = format!("HTTP/1.1 {} X\r\n{kind}{}", self.http_status, self.header);
        if self.chunked {
            let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
            [head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()
        } else {
            [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
        }
    }
}

fn sign(message: &[u8]) -> Vec<u8> {
    KEY.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

/// The right answers to all queries of `sent`, each changed.
pub fn tokens(sent: &Sent, change: impl Fn(&mut Forge)) -> Seen {
    let answer = |(n, query)| {
        let mut forge = Forge::granted(query, n);
        change(&mut forge);
        forge.answer()
    };
    seen(sent.queries.iter().enumerate().flat_map(answer).collect())
}

/// These bytes, and every step taken.
pub fn seen(bytes: Vec<u8>) -> Seen {
    Seen { bytes, end: End::Done, between: (NOW, NOW) }
}

//! A token: drafted (everything that will be signed), then finished with the signature.
//!
//! TSTInfo is RFC 3161 section 2.4.2, SignedData and SignerInfo RFC 5652 sections 5.1 and 5.3,
//! ESSCertIDv2 RFC 5035 section 4. What does not change while a unit lives is laid once, in [`TokenForm`].

use std::time::Duration;

use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::keys::Signature;

use super::tlv::{element, set_of, tag, unsigned};

/// id-sha256 in an AlgorithmIdentifier without parameters (RFC 5754 section 2).
const SHA256: &[u8] = &[0x30, 11, 6, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// ecdsa-with-SHA256; parameters are absent (RFC 5758 section 3.2).
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02];
/// id-signedData, id-ct-TSTInfo and the three signed attributes' types, each a whole OID element.
pub(super) const SIGNED_DATA: &[u8] = &[6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02];
pub(super) const TST_INFO: &[u8] = &[6, 11, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x01, 0x04];
pub(super) const CONTENT_TYPE: &[u8] = &[6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x03];
pub(super) const MESSAGE_DIGEST: &[u8] = &[6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x04];
pub(super) const SIGNING_CERTIFICATE_V2: &[u8] =
    &[6, 11, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x02, 0x2F];

/// Most accurate claim first, microseconds (`accuracy` is the smallest that covers the bound).
const ACCURACY_LADDER_US: [u32; 7] = [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000];

/// genTime is cut to milliseconds, which moves it by less than this.
const TRUNCATION: Duration = Duration::from_millis(1);

/// What a token promises: `|genTime - true UTC|` is at most this many microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accuracy(u32);

impl Accuracy {
    /// The smallest step that covers the clock's bound and the cut to milliseconds; `None` beyond 1 s.
    pub fn covering(bound: Duration) -> Option<Accuracy> {
        let needed = bound.saturating_add(TRUNCATION).as_nanos();
        ACCURACY_LADDER_US.into_iter().find(|us| u128::from(*us) * 1000 >= needed).map(Accuracy)
    }

    /// SEQUENCE { seconds, [0] millis }: zero parts are left out.
    fn to_der(self) -> Vec<u8> {
        let (seconds, millis) = (self.0 / 1_000_000, self.0 % 1_000_000 / 1000);
        let whole = if seconds > 0 { unsigned(&seconds.to_be_bytes()) } else { vec![] };
        let mut part = if millis > 0 { unsigned(&millis.to_be_bytes()) } else { vec![] };
        if let Some(identifier) = part.first_mut() {
            *identifier = tag::PRIMITIVE_0;
        }
        element(tag::SEQUENCE, &[&whole, &part])
    }
}

/// serialNumber: 127 random bits, so positive, at most 16 bytes, and unique without stored state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// From the process's random generator; `None` when it gives nothing.
    pub fn random() -> Option<Serial> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        bytes[0] &= 0x7F;
        (bytes != [0; 16]).then_some(Serial(bytes))
    }

    /// Big-endian, leading zeros kept: also the record's id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// First instant after the years GeneralizedTime can write.
const YEAR_10000: UtcMicros = UtcMicros(253_402_300_800_000_000);

/// The parts every token of one unit shares.
pub(super) struct TokenForm {
    /// `[0] IMPLICIT CertificateSet`: unit and issuers, DER SET order (section 11.6 of X.690).
    certificates: Vec<u8>,
    /// The signing-certificate-v2 attribute.
    signing_certificate: Vec<u8>,
    /// SignerInfo up to the signed attributes: version 1, issuer and serial, digest algorithm.
    signer_head: Vec<u8>,
}

impl TokenForm {
    /// `issuer` and `serial` are the unit certificate's, each a whole DER element.
    pub fn new(certificate: &[u8], chain: &[Vec<u8>], issuer: &[u8], serial: &[u8]) -> TokenForm {
        let mut set = vec![certificate.to_vec()];
        set.extend(chain.iter().cloned());
        // hashAlgorithm is left out: SHA-256 is its default, and DER does not encode defaults.
        let hash = element(tag::OCTET_STRING, &[Digest::of(certificate).as_bytes()]);
        let ids = element(tag::SEQUENCE, &[&element(tag::SEQUENCE, &[&hash])]);
        let signer = element(tag::SEQUENCE, &[issuer, serial]);
        TokenForm {
            certificates: set_of(tag::CONTEXT_0, set),
            signing_certificate: attribute(SIGNING_CERTIFICATE_V2, &element(tag::SEQUENCE, &[&ids])),
            signer_head: [&[tag::INTEGER, 1, 1], &signer[..], SHA256].concat(),
        }
    }
}

fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    element(tag::SEQUENCE, &[oid, &element(tag::SET, &[value])])
}

/// What goes into one token, judged and decided.
pub(super) struct Contents<'a> {
    /// Whole OID element.
    pub policy: &'a [u8],
    /// Whole MessageImprint.
    pub imprint: &'a [u8],
    pub serial: Serial,
    /// Cut to milliseconds when written.
    pub gen_time: UtcMicros,
    pub accuracy: Accuracy,
    /// INTEGER contents octets.
    pub nonce: Option<&'a [u8]>,
    pub certificates: bool,
}

/// A token without its signature.
pub(super) struct Draft {
    tst_info: Vec<u8>,
    signed_attributes: Vec<u8>,
    certificates: bool,
}

impl Draft {
    /// `None` when genTime lies outside the years 1970 to 9999.
    pub fn new(form: &TokenForm, c: &Contents<'_>) -> Option<Draft> {
        if c.gen_time < UtcMicros(0) || c.gen_time >= YEAR_10000 {
            return None;
        }
        let gen_time = element(tag::GENERALIZED_TIME, &[c.gen_time.generalized_time().as_bytes()]);
        let nonce = c.nonce.map(|n| element(tag::INTEGER, &[n])).unwrap_or_default();
        let serial = unsigned(c.serial.as_bytes());
        let accuracy = c.accuracy.to_der();
        // ordering, tsa and extensions stay out: EN 319 422 section 5.2.2 and nothing to say.
        let tst_info = element(
            tag::SEQUENCE,
            &[&[tag::INTEGER, 1, 1], c.policy, c.imprint, &serial, &gen_time, &accuracy, &nonce],
        );
        let digest = element(tag::OCTET_STRING, &[Digest::of(&tst_info).as_bytes()]);
        let attributes = vec![
            attribute(CONTENT_TYPE, TST_INFO),
            attribute(MESSAGE_DIGEST, &digest),
            form.signing_certificate.clone(),
        ];
        let signed_attributes = set_of(tag::SET, attributes);
        Some(Draft { tst_info, signed_attributes, certificates: c.certificates })
    }

    /// What is signed: the attributes as a SET, tag 31 (RFC 5652 section 5.4).
    pub fn to_be_signed(&self) -> &[u8] {
        &self.signed_attributes
    }

    /// The token: DER ContentInfo. Only a signature that verified can be given.
    pub fn finish(self, form: &TokenForm, signature: &Signature) -> Vec<u8> {
        self.assemble(form, signature.as_der())
    }

    fn assemble(mut self, form: &TokenForm, signature: &[u8]) -> Vec<u8> {
        self.signed_attributes[0] = tag::CONTEXT_0;
        let signature = element(tag::OCTET_STRING, &[signature]);
        let signer =
            element(tag::SEQUENCE, &[&form.signer_head, &self.signed_attributes, ECDSA_SHA256, &signature]);
        let content = element(tag::CONTEXT_0, &[&element(tag::OCTET_STRING, &[&self.tst_info])]);
        let certificates = if self.certificates { &form.certificates[..] } else { &[] };
        let signed_data = element(
            tag::SEQUENCE,
            &[
                &[tag::INTEGER, 1, 3],
                &element(tag::SET, &[SHA256]),
                &element(tag::SEQUENCE, &[TST_INFO, &content]),
                certificates,
                &element(tag::SET, &[&signer]),
            ],
        );
        element(tag::SEQUENCE, &[SIGNED_DATA, &element(tag::CONTEXT_0, &[&signed_data])])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rasn_cms::tsp::TstInfo;
    use rasn_cms::{ContentInfo, SignedData};

    use super::*;
    use crate::timestamp::request::Hash;

    fn form() -> TokenForm {
        TokenForm::new(&[0x30, 1, 9], &[vec![0x30, 0]], &[0x30, 0], &[2, 1, 5])
    }

    fn contents(ms: i64, imprint: &[u8]) -> Contents<'_> {
        Contents {
            policy: &[6, 6, 4, 0, 0x8F, 0x67, 1, 1],
            imprint,
            serial: Serial([1; 16]),
            gen_time: UtcMicros(ms * 1000),
            accuracy: Accuracy(10_000),
            nonce: None,
            certificates: true,
        }
    }

    #[test]
    fn gen_time_has_seconds_no_trailing_zeros_and_midnight_of_the_next_day() {
        for (ms, text) in [
            (0, "19700101000000Z"),
            (1_795_514_400_123, "20261124100000.123Z"),
            (1_795_514_400_120, "20261124100000.12Z"),
            (1_795_514_400_100, "20261124100000.1Z"),
            (1_795_514_400_001, "20261124100000.001Z"),
            (1_795_564_799_999, "20261124235959.999Z"),
            (1_795_564_800_000, "20261125000000Z"),
            (253_402_300_799_999, "99991231235959.999Z"),
        ] {
            let draft = Draft::new(&form(), &contents(ms, &[0x30, 0])).unwrap();
            let written = element(tag::GENERALIZED_TIME, &[text.as_bytes()]);
            assert!(draft.tst_info.windows(written.len()).any(|w| w == written), "{text}");
        }
        for ms in [-1, 253_402_300_800_000] {
            assert!(Draft::new(&form(), &contents(ms, &[0x30, 0])).is_none());
        }
    }

    #[test]
    fn accuracy_is_the_smallest_step_that_covers_bound_and_truncation() {
        for (bound_us, step) in [
            (0, Some(10_000)),
            (9_000, Some(10_000)),
            (9_001, Some(20_000)),
            (49_000, Some(50_000)),
            (99_001, Some(200_000)),
            (499_000, Some(500_000)),
            (999_000, Some(1_000_000)),
            (999_001, None),
        ] {
            assert_eq!(Accuracy::covering(Duration::from_micros(bound_us)).map(|a| a.0), step);
        }
        assert_eq!(Accuracy::covering(Duration::MAX), None);
        assert_eq!(Accuracy(10_000).to_der(), [0x30, 3, 0x80, 1, 10]);
        assert_eq!(Accuracy(200_000).to_der(), [0x30, 4, 0x80, 2, 0, 200]);
        assert_eq!(Accuracy(1_000_000).to_der(), [0x30, 3, 2, 1, 1]);
    }

    #[test]
    fn signed_attributes_stand_in_der_order_whatever_they_hold() {
        let attributes = [attribute(CONTENT_TYPE, TST_INFO), attribute(MESSAGE_DIGEST, &[0xFF; 34])];
        assert!(attributes[0] < attributes[1]);
        assert!(attributes[1] < form().signing_certificate);
    }

    proptest! {
        #[test]
        fn rasn_reads_back_what_was_drafted(
            serial in any::<[u8; 16]>(), gen_time_ms in 0..4_102_444_800_000_i64, step in 0..7_usize,
            nonce in proptest::option::of(any::<i128>()), certificates in any::<bool>(), digest in any::<[u8; 32]>(),
        ) {
            let mut serial = Serial(serial);
            serial.0[0] &= 0x7F;
            let nonce_der = nonce.map(|n| rasn::der::encode(&rasn::types::Integer::from(n)).unwrap());
            let imprint = Hash::Sha256.imprint_der(&digest);
            let contents = Contents {
                serial,
                accuracy: Accuracy(ACCURACY_LADDER_US[step]),
                nonce: nonce_der.as_ref().map(|n| &n[2..]),
                certificates,
                ..contents(gen_time_ms, &imprint)
            };
            let draft = Draft::new(&form(), &contents).unwrap();
            let signed = draft.to_be_signed().to_vec();
            // The form's certificates are placeholders here, so only tokens without them are read as CMS.
            let draft = Draft { certificates: false, ..draft };
            let token = draft.assemble(&form(), &[1, 2, 3]);
            let info: ContentInfo = rasn::der::decode(&token).unwrap();
            prop_assert_eq!(rasn::der::encode(&info).unwrap(), token);
            let data: SignedData = rasn::der::decode(info.content.as_bytes()).unwrap();
            let tst_der = data.encap_content_info.content.unwrap();
            let tst: TstInfo = rasn::der::decode(&tst_der).unwrap();
            prop_assert_eq!(tst.serial_number, rasn::types::Integer::from(i128::from_be_bytes(serial.0)));
            prop_assert_eq!(tst.gen_time.timestamp_millis(), gen_time_ms);
            prop_assert_eq!(tst.nonce, nonce.map(rasn::types::Integer::from));
            prop_assert_eq!(&tst.message_imprint.hashed_message[..], &digest[..]);
            prop_assert_eq!(signed[0], 0x31);
        }
    }
}

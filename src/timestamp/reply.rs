//! RFC 3161 section 2.4.2: TimeStampResp, the status and the reason of a refusal.

use std::borrow::Cow;

use super::tlv::{element, tag};

/// PKIFailureInfo; the value is the bit's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailInfo {
    /// Hash unknown, forbidden, or with parameters other than NULL.
    BadAlg = 0,
    /// Version not 1, or the caller may not use this unit.
    BadRequest = 2,
    /// Not decodable, or the imprint's length does not fit its algorithm.
    BadDataFormat = 5,
    /// The clock gives no time that may be signed.
    TimeNotAvailable = 14,
    /// The policy asked for is not offered.
    UnacceptedPolicy = 15,
    /// Any extension.
    UnacceptedExtension = 16,
    /// Extension known, information not to be had; never sent, as no extension is known.
    AddInfoNotAvailable = 17,
    /// HSM, key, certificate, journal or capacity.
    SystemFailure = 25,
}

impl FailInfo {
    /// The RFC's word, also the metric's label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadAlg => "badAlg",
            Self::BadRequest => "badRequest",
            Self::BadDataFormat => "badDataFormat",
            Self::TimeNotAvailable => "timeNotAvailable",
            Self::UnacceptedPolicy => "unacceptedPolicy",
            Self::UnacceptedExtension => "unacceptedExtension",
            Self::AddInfoNotAvailable => "addInfoNotAvailable",
            Self::SystemFailure => "systemFailure",
        }
    }

    /// DER BIT STRING with this one bit; a named bit list has no trailing zero bits (X.690 section 11.2.2).
    pub(crate) fn to_der(self) -> Vec<u8> {
        let bit = self as usize;
        let mut content = vec![0; bit / 8 + 2];
        content[0] = 7 - (bit % 8) as u8;
        content[bit / 8 + 1] = 0x80 >> (bit % 8);
        element(tag::BIT_STRING, &[&content])
    }
}

/// Why no token is given, as the caller will read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", .fail.word())]
pub struct Rejection {
    /// The RFC's reason.
    pub fail: FailInfo,
    /// The same in a short sentence: PKIStatusInfo.statusString.
    pub text: Cow<'static, str>,
    /// Seconds after which asking again makes sense, for reasons that pass.
    pub retry_after: Option<u64>,
}

impl Rejection {
    /// A refusal that asking again does not change.
    pub fn new(fail: FailInfo, text: impl Into<Cow<'static, str>>) -> Self {
        Self { fail, text: text.into(), retry_after: None }
    }

    /// A refusal that passes.
    pub fn passing(fail: FailInfo, text: impl Into<Cow<'static, str>>, seconds: u64) -> Self {
        Self { fail, text: text.into(), retry_after: Some(seconds) }
    }
}

/// TimeStampResp with status granted and `token`; without statusString, which breaks jarsigner builds.
pub fn granted(token: &[u8]) -> Vec<u8> {
    element(tag::SEQUENCE, &[&[0x30, 0x03, 0x02, 0x01, 0x00], token])
}

/// TimeStampResp with status rejection, one sentence and one failInfo bit.
pub fn rejected(rejection: &Rejection) -> Vec<u8> {
    let text = element(tag::UTF8_STRING, &[rejection.text.as_bytes()]);
    let free_text = element(tag::SEQUENCE, &[&text]);
    let status = element(tag::SEQUENCE, &[&[0x02, 0x01, 0x02], &free_text, &rejection.fail.to_der()]);
    element(tag::SEQUENCE, &[&status])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fail_info_has_the_bytes_openssl_reads() {
        for (fail, der) in [
            (FailInfo::BadAlg, &[0x03, 0x02, 0x07, 0x80][..]),
            (FailInfo::BadRequest, &[0x03, 0x02, 0x05, 0x20]),
            (FailInfo::BadDataFormat, &[0x03, 0x02, 0x02, 0x04]),
            (FailInfo::TimeNotAvailable, &[0x03, 0x03, 0x01, 0x00, 0x02]),
            (FailInfo::UnacceptedPolicy, &[0x03, 0x03, 0x00, 0x00, 0x01]),
            (FailInfo::UnacceptedExtension, &[0x03, 0x04, 0x07, 0x00, 0x00, 0x80]),
            (FailInfo::AddInfoNotAvailable, &[0x03, 0x04, 0x06, 0x00, 0x00, 0x40]),
            (FailInfo::SystemFailure, &[0x03, 0x05, 0x06, 0x00, 0x00, 0x00, 0x40]),
        ] {
            assert_eq!(fail.to_der(), der, "{}", fail.word());
            let reply = rejected(&Rejection::new(fail, "no"));
            let status = [&[0x02, 0x01, 0x02, 0x30, 0x04, 0x0C, 0x02, b'n', b'o'], der].concat();
            assert_eq!(&reply[4..], status);
            assert_eq!(reply[..4], [0x30, status.len() as u8 + 2, 0x30, status.len() as u8]);
        }
    }

    #[test]
    fn a_granted_reply_is_status_zero_and_the_token() {
        assert_eq!(granted(&[0x05, 0x00]), [0x30, 7, 0x30, 3, 2, 1, 0, 5, 0]);
    }
}

//! Signatures that are not what was asked for. Pure: bytes in, bytes out.

use serde::Deserialize;

/// How a signature is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One bit of its last byte.
    BitFlipped,
    /// Its last byte is missing.
    Truncated,
    /// Sixteen zeros follow it.
    OverLong,
    /// No bytes at all, with CKR_OK.
    Empty,
    /// First half zero.
    ZeroR,
    /// Second half zero.
    ZeroS,
    /// All zero.
    AllZero,
    /// First half all ones: above the order of any curve.
    HighBits,
    /// The halves in the other order.
    Swapped,
    /// DER (RFC 3279 Ecdsa-Sig-Value) instead of `r || s`.
    Der,
    /// The one before, over other data.
    Old,
    /// A right one over other data.
    OtherData,
    /// A right one by another key of the token.
    OtherKey,
}

impl Kind {
    /// Whether the result may be longer than a signature, so that a length query has to ask for more room.
    pub(crate) fn lengthens(self) -> bool {
        matches!(self, Self::OverLong | Self::Der)
    }
}

/// More bytes than a signature has that the longest result needs.
pub(crate) const MORE: usize = 16;

/// What leaves instead of `right`. `old` is the last signature before this one.
pub fn tamper(kind: Kind, right: &[u8], old: Option<&[u8]>) -> Vec<u8> {
    let (r, s) = right.split_at(right.len() / 2);
    let zeros = |half: &[u8]| vec![0; half.len()];
    match kind {
        Kind::BitFlipped => flipped(right),
        Kind::Truncated => right[..right.len().saturating_sub(1)].to_vec(),
        Kind::OverLong => [right, &[0; MORE]].concat(),
        Kind::Empty => Vec::new(),
        Kind::ZeroR => [zeros(r), s.to_vec()].concat(),
        Kind::ZeroS => [r.to_vec(), zeros(s)].concat(),
        Kind::AllZero => zeros(right),
        Kind::HighBits => [vec![0xff; r.len()], s.to_vec()].concat(),
        Kind::Swapped => [s, r].concat(),
        Kind::Der => der(r, s),
        // Without an earlier one nothing old can leave; a wrong one still does.
        Kind::Old => old.map_or_else(|| flipped(right), <[u8]>::to_vec),
        // Made wrong before the module behind signed.
        Kind::OtherData | Kind::OtherKey => right.to_vec(),
    }
}

fn flipped(right: &[u8]) -> Vec<u8> {
    let mut wrong = right.to_vec();
    if let Some(last) = wrong.last_mut() {
        *last ^= 1;
    }
    wrong
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

fn integer(half: &[u8]) -> Vec<u8> {
    let digits = &half[half.iter().position(|b| *b != 0).unwrap_or(half.len().saturating_sub(1))..];
    let sign: &[u8] = if digits.first().is_some_and(|b| *b >= 0x80) { &[0] } else { &[] };
    [&[0x02, (sign.len() + digits.len()) as u8][..], sign, digits].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_wrong_in_its_own_way() {
        let right: Vec<u8> = (1..=64).collect();
        let is = |kind| tamper(kind, &right, Some(&[9; 64]));
        assert_eq!(is(Kind::BitFlipped)[..63], right[..63]);
        assert_eq!(is(Kind::BitFlipped)[63], 65);
        assert_eq!(is(Kind::Truncated), right[..63]);
        assert_eq!(is(Kind::OverLong), [&right[..], &[0; 16]].concat());
        assert!(is(Kind::Empty).is_empty());
        assert_eq!(is(Kind::ZeroR), [&[0; 32], &right[32..]].concat());
        assert_eq!(is(Kind::ZeroS), [&right[..32], &[0; 32]].concat());
        assert_eq!(is(Kind::AllZero), [0; 64]);
        assert_eq!(is(Kind::HighBits), [&[0xff; 32], &right[32..]].concat());
        assert_eq!(is(Kind::Swapped), [&right[32..], &right[..32]].concat());
        assert_eq!(is(Kind::Old), [9; 64]);
        assert_eq!(tamper(Kind::Old, &right, None), is(Kind::BitFlipped));
        assert_eq!(is(Kind::OtherKey), right);
    }

    #[test]
    fn der_has_short_and_signed_integers() {
        let mut right = [0; 64];
        (right[30], right[31], right[32]) = (0x80, 1, 0x7f);
        let wrong = tamper(Kind::Der, &right, None);
        assert_eq!(wrong[..9], [0x30, 39, 2, 3, 0, 0x80, 1, 2, 32]);
        assert_eq!(tamper(Kind::Der, &[0xff; 64], None).len(), 64 + 8);
    }
}

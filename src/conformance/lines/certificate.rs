//! Lines 26 to 28 and 34: the unit's certificate (RFC 3161 section 2.3, EN 319 422 section 6) and the
//! statement of a qualified token.

use const_oid::db::rfc5280;
use der::asn1::ObjectIdentifier;

use super::{Judgement, Mark, Probe};
use crate::conformance::exchange::Sent;
use crate::conformance::judge::{Granted, holds};
use crate::digest::hex;
use crate::timestamp::chain::Certificate;

use Mark::{Etsi, Rfc};

const TIME_STAMPING: &[u8] = &[0x30, 0x0A, 6, 8, 0x2B, 6, 1, 5, 5, 7, 3, 8];
const AD_TIME_STAMPING: &[u8] = &[6, 8, 0x2B, 6, 1, 5, 5, 7, 0x30, 3];
/// qcStatements, OID contents; and its one value, esi4-qtstStatement-1.
const QC_STATEMENTS: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 1, 3];
const QUALIFIED: &[u8] = &[0x30, 0x0B, 0x30, 0x09, 6, 7, 4, 0, 0x81, 0x97, 0x5E, 1, 1];

pub fn lines() -> Vec<Probe> {
    let ask = Probe::ordinary;
    vec![
        ask("26a", Rfc, "one critical extendedKeyUsage, timeStamping alone", purpose),
        ask("26b", Rfc, "the key signs nothing else", nothing_else),
        ask("27a", Rfc, "subjectInfoAccess absent or with id-ad-timeStamping", access),
        ask("28a", Etsi, "country, organisation and common name", subject),
        ask("28b", Etsi, "privateKeyUsagePeriod", period),
        ask("34a", Etsi, "qcStatements absent or esi4-qtstStatement-1, not critical", qualified),
    ]
}

/// Critical flag and value of the one extension of this kind.
fn extension(unit: &Certificate, oid: ObjectIdentifier) -> Result<Option<(bool, Vec<u8>)>, String> {
    let mut found =
        unit.x509.tbs_certificate().extensions().into_iter().flatten().filter(|e| e.extn_id == oid);
    let one = found.next().map(|e| (e.critical, e.extn_value.as_bytes().to_vec()));
    if found.next().is_some() { Err(format!("extension {oid} twice")) } else { Ok(one) }
}

fn purpose(_: &Sent, g: &Granted) -> Judgement {
    let (critical, value) =
        extension(&g.unit()?, rfc5280::ID_CE_EXT_KEY_USAGE)?.ok_or("no extendedKeyUsage")?;
    holds(critical, "extendedKeyUsage is not critical")?;
    holds(value == TIME_STAMPING, format!("extendedKeyUsage {}", hex(&value)))?;
    Ok("critical, timeStamping alone".into())
}

fn nothing_else(_: &Sent, g: &Granted) -> Judgement {
    let unit = g.unit()?;
    let Some((_, usage)) = extension(&unit, rfc5280::ID_CE_KEY_USAGE)? else {
        return Ok("no keyUsage".into());
    };
    // BIT STRING: digitalSignature (bit 0) and nonRepudiation (bit 1) only.
    let bits = usage.get(3..).unwrap_or_default();
    let alone = bits.first().is_some_and(|b| b & 0x3F == 0 && *b != 0) && bits[1..].iter().all(|b| *b == 0);
    holds(alone, format!("keyUsage {}", hex(&usage)))?;
    Ok("signatures alone".into())
}

fn access(_: &Sent, g: &Granted) -> Judgement {
    let Some((critical, value)) = extension(&g.unit()?, rfc5280::ID_PE_SUBJECT_INFO_ACCESS)? else {
        return Ok("absent".into());
    };
    let named = value.windows(AD_TIME_STAMPING.len()).any(|w| w == AD_TIME_STAMPING);
    holds(!critical && named, format!("subjectInfoAccess {}", hex(&value)))?;
    Ok("id-ad-timeStamping".into())
}

fn subject(_: &Sent, g: &Granted) -> Judgement {
    let name = g.unit()?.subject();
    let missing: Vec<&str> = ["C=", "O=", "CN="].into_iter().filter(|part| !has_part(&name, part)).collect();
    holds(missing.is_empty(), format!("{name:?} lacks {}", missing.join(" ")))?;
    Ok(name)
}

fn has_part(name: &str, part: &str) -> bool {
    name.split([',', '+']).any(|p| p.trim_start().starts_with(part))
}

fn period(_: &Sent, g: &Granted) -> Judgement {
    let found = extension(&g.unit()?, rfc5280::ID_CE_PRIVATE_KEY_USAGE_PERIOD)?;
    found.map(|_| "there".into()).ok_or_else(|| "no privateKeyUsagePeriod".into())
}

fn qualified(_: &Sent, g: &Granted) -> Judgement {
    let mut statements = g.info.extensions.iter().filter(|(oid, ..)| *oid == QC_STATEMENTS);
    match (statements.next(), statements.next()) {
        (None, _) => Ok("absent".into()),
        (Some((_, false, value)), None) if *value == QUALIFIED => Ok("qualified".into()),
        (Some((_, critical, value)), _) => Err(format!("qcStatements {}, critical {critical}", hex(value))),
    }
}

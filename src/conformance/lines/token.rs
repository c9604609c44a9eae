//! Lines 14 to 19, 30 to 33 and 36: TSTInfo (RFC 3161 section 2.4.2, EN 319 422 section 5.2).

use std::collections::HashSet;

use super::{Judgement, Mark, Probe};
use crate::clock::UtcMicros;
use crate::conformance::exchange::{Known, Seen, Sent, Step};
use crate::conformance::judge::{Granted, finals, granted, holds, only, open};
use crate::conformance::query::Query;
use crate::digest::hex;
use crate::timestamp::tlv::{Reader, element, tag};

use Mark::{Etsi, Rfc};

/// id-signedData and id-ct-TSTInfo, contents octets.
const SIGNED_DATA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x07, 0x02];
pub(super) const TST_INFO: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x01, 0x04];
/// 2.5.29.32.0, contents octets.
const ANY_POLICY: &[u8] = &[0x55, 0x1D, 0x20, 0x00];
/// Most that genTime may be off the prober's own clock, which is not known to be right.
const CLOCKS_APART_US: i64 = 60_000_000;
/// Tokens asked for where one says too little.
const SEVERAL: usize = 20;

pub fn lines() -> Vec<Probe> {
    let plain = |_: &Known, _: &mut Query| ();
    let null = |_: &Known, q: &mut Query| q.parameters = vec![tag::NULL, 0];
    let full = |known: &Known, q: &mut Query| q.policy = element(tag::OID, &[&known.policy]);
    let one = "an ordinary query";
    vec![
        Probe::query(("14a", Rfc), (one, "TSTInfo version 1, the imprint as sent"), plain, granted(as_sent)),
        Probe::query(
            ("14b", Rfc),
            ("hash parameters NULL", "the imprint as sent, NULL included"),
            null,
            granted(as_sent),
        ),
        Probe::query(("15a", Rfc), (one, "serial positive, at most 160 bits"), plain, granted(serial)),
        several(("15b", Rfc), "20 different serials", serials),
        Probe::query(("16a", Rfc), (one, "genTime YYYYMMDDhhmmss[.f]Z"), plain, granted(gen_time)),
        several(("16b", Rfc), "20 genTimes of that form", each(gen_time)),
        Probe::query(("16c", Rfc), (one, "genTime within 60 s of this clock"), plain, on_time),
        Probe::query(("17a", Rfc), (one, "accuracy parts 1 to 999, none zero"), plain, granted(accuracy)),
        several(("17b", Rfc), "ordering only if genTimes rise", ordered),
        Probe::query(("18a", Rfc), (one, "tsa absent or a name of the signer"), plain, granted(tsa)),
        Probe::query(("19a", Rfc), (one, "id-signedData with id-ct-TSTInfo"), plain, granted(types)),
        Probe::query(
            ("30a", Etsi),
            ("reqPolicy, nonce and certReq", "all three honoured"),
            full,
            granted(honoured),
        ),
        Probe::query(("31a", Etsi), (one, "a policy other than anyPolicy"), plain, granted(policy)),
        Probe::query(("32a", Etsi), (one, "accuracy of 1 s or better"), plain, granted(one_second)),
        several(("32b", Etsi), "genTime as fine as the accuracy", precise),
        Probe::query(("33a", Etsi), (one, "ordering absent or false"), plain, granted(unordered)),
        Probe::query(("33b", Etsi), (one, "no critical extension in TSTInfo"), plain, granted(extensions)),
        Probe::query(("36a", Rfc), (one, "exactly one DER message"), plain, one_message),
    ]
}

/// A probe that asks for several tokens, one after the other.
fn several(
    id: (&'static str, Mark),
    expected: &'static str,
    judge: impl Fn(&Sent, &Seen) -> Judgement + Send + Sync + 'static,
) -> Probe {
    let ask = move |known: &Known| {
        let named = |n| Query::plain(&known.seed, &format!("{}-{n}", id.0));
        let queries: Vec<Query> = (0..SEVERAL).map(named).collect();
        let send = |q: &Query| [Step::Send(known.post("", &q.der())), Step::Answer];
        let steps = queries.iter().flat_map(send).collect();
        known.steps(queries, steps)
    };
    Probe::new(id, ("20 queries one after the other", expected), ask, judge)
}

/// What `look` gives for each of the tokens asked for.
fn of_all<T>(
    sent: &Sent,
    seen: &Seen,
    look: impl Fn(&Sent, &Granted) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let all = finals(sent, seen)?;
    holds(
        all.len() == sent.queries.len(),
        format!("{} answers to {} queries", all.len(), sent.queries.len()),
    )?;
    all.iter().map(|answer| open(answer, |granted| look(sent, granted))).collect()
}

fn each(look: fn(&Sent, &Granted) -> Judgement) -> impl Fn(&Sent, &Seen) -> Judgement {
    move |sent, seen| Ok(format!("all {}", of_all(sent, seen, look)?.len()))
}

fn as_sent(sent: &Sent, g: &Granted) -> Judgement {
    holds(g.info.version == [1], format!("TSTInfo version {}", hex(g.info.version)))?;
    let asked = sent.queries[0].imprint_der();
    holds(g.info.imprint == asked, format!("asked {}, token has {}", hex(&asked), hex(g.info.imprint)))?;
    Ok("version 1, the same imprint".into())
}

fn serial(_: &Sent, g: &Granted) -> Judgement {
    let serial = g.info.serial;
    let magnitude = serial.strip_prefix(&[0]).unwrap_or(serial);
    holds(serial[0] < 0x80 && !magnitude.is_empty(), format!("serial {} is not positive", hex(serial)))?;
    holds(magnitude.len() <= 20, format!("a serial of {} bytes", magnitude.len()))?;
    Ok(format!("{} bytes", magnitude.len()))
}

fn serials(sent: &Sent, seen: &Seen) -> Judgement {
    let all = of_all(sent, seen, |_, g| Ok(g.info.serial.to_vec()))?;
    let different: HashSet<&Vec<u8>> = all.iter().collect();
    holds(different.len() == all.len(), format!("{} serials in {} tokens", different.len(), all.len()))?;
    Ok(format!("{} serials", all.len()))
}

/// RFC 3161: UTC with seconds, `Z`, a fraction after `.` without trailing zeros and not empty.
fn gen_time(_: &Sent, g: &Granted) -> Judgement {
    let text = String::from_utf8_lossy(g.info.gen_time);
    micros(&text).ok_or_else(|| format!("genTime {text:?}"))?;
    Ok(text.into_owned())
}

fn micros(text: &str) -> Option<i64> {
    let time = text.strip_suffix('Z')?;
    let (whole, fraction) = time.split_once('.').map_or((time, None), |(w, f)| (w, Some(f)));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || fraction.is_some_and(|f| !digits(f) || f.ends_with('0')) {
        return None;
    }
    let part = |from: usize, to: usize| whole[from..to].parse::<i8>().ok();
    let year = whole[..4].parse().ok()?;
    let civil = jiff::civil::DateTime::new(
        year,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
        0,
    );
    let seconds = jiff::tz::Offset::UTC.to_timestamp(civil.ok()?).ok()?;
    let fraction = format!("{:0<6.6}", fraction.unwrap_or("0"));
    Some(seconds.as_microsecond() + fraction.parse::<i64>().ok()?)
}

fn on_time(sent: &Sent, seen: &Seen) -> Judgement {
    open(&only(sent, seen)?, |g| {
        let text = String::from_utf8_lossy(g.info.gen_time);
        let at = micros(&text).ok_or_else(|| format!("genTime {text:?}"))?;
        let (before, after) = (seen.between.0.0 - CLOCKS_APART_US, seen.between.1.0 + CLOCKS_APART_US);
        let here = UtcMicros(seen.between.1.0).iso8601();
        holds((before..=after).contains(&at), format!("genTime {text}, this clock {here}"))?;
        Ok(format!("{text}, this clock {here}"))
    })
}

/// Microseconds; `None` without the field.
fn accuracy_us(g: &Granted) -> Result<Option<u64>, String> {
    let Some(content) = g.info.accuracy else { return Ok(None) };
    let bad = || format!("accuracy {}", hex(content));
    let (mut fields, mut total) = (Reader::new(content), 0_u64);
    for (tag, unit, most) in
        [(tag::INTEGER, 1_000_000, 1 << 31), (tag::PRIMITIVE_0, 1_000, 999), (tag::PRIMITIVE_1, 1, 999)]
    {
        let Some(part) = fields.optional(tag).map_err(|_| bad())? else { continue };
        let value = part.iter().take(5).fold(0_u64, |n, b| n << 8 | u64::from(*b));
        let minimal = element(tag::INTEGER, &[part]) == crate::timestamp::tlv::unsigned(&value.to_be_bytes());
        holds(minimal && (1..=most).contains(&value), bad())?;
        total += value * unit;
    }
    fields.finish().map_err(|_| bad())?;
    Ok(Some(total))
}

fn accuracy(_: &Sent, g: &Granted) -> Judgement {
    Ok(accuracy_us(g)?.map_or("absent".into(), |us| format!("{us} µs")))
}

fn one_second(_: &Sent, g: &Granted) -> Judgement {
    let us = accuracy_us(g)?.ok_or("no accuracy")?;
    holds((1..=1_000_000).contains(&us), format!("accuracy {us} µs"))?;
    Ok(format!("{us} µs"))
}

fn precise(sent: &Sent, seen: &Seen) -> Judgement {
    let look =
        |_: &Sent, g: &Granted| Ok((accuracy_us(g)?.unwrap_or(1_000_000), g.info.gen_time.contains(&b'.')));
    let all = of_all(sent, seen, look)?;
    let fine = all.iter().any(|(us, fraction)| *fraction || *us >= 1_000_000);
    holds(fine, format!("accuracy {} µs, genTimes of whole seconds", all[0].0))?;
    Ok("precise enough".into())
}

fn ordered(sent: &Sent, seen: &Seen) -> Judgement {
    let look =
        |_: &Sent, g: &Granted| Ok((g.info.ordering, micros(&String::from_utf8_lossy(g.info.gen_time))));
    let all = of_all(sent, seen, look)?;
    if !all.iter().any(|(ordering, _)| *ordering) {
        return Ok("ordering absent".into());
    }
    holds(all.windows(2).all(|w| w[0].1 < w[1].1), "ordering true, but genTimes do not rise")?;
    Ok("ordering true, genTimes rise".into())
}

fn unordered(_: &Sent, g: &Granted) -> Judgement {
    holds(!g.info.ordering, "ordering true")?;
    Ok("absent".into())
}

fn tsa(_: &Sent, g: &Granted) -> Judgement {
    let Some(name) = g.info.tsa else { return Ok("absent".into()) };
    let unit = g.unit()?;
    let tbs = unit.x509.tbs_certificate();
    let subject = der::Encode::to_der(tbs.subject()).map_err(|e| e.to_string())?;
    let alternative = tbs.extensions().into_iter().flatten().any(|extension| {
        let value = extension.extn_value.as_bytes();
        extension.extn_id == const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME
            && value.windows(name.len().max(1)).any(|w| w == name)
    });
    holds(
        name == element(0xA4, &[&subject]) || alternative,
        format!("tsa {} is no name of the signer", hex(name)),
    )?;
    Ok("a name of the signer".into())
}

fn types(_: &Sent, g: &Granted) -> Judgement {
    holds(g.token.content_type == SIGNED_DATA, format!("contentType {}", hex(g.token.content_type)))?;
    holds(g.token.inner_type == TST_INFO, format!("eContentType {}", hex(g.token.inner_type)))?;
    Ok("both".into())
}

fn honoured(sent: &Sent, g: &Granted) -> Judgement {
    let asked = &sent.queries[0];
    holds(element(tag::OID, &[g.info.policy]) == asked.policy, format!("policy {}", hex(g.info.policy)))?;
    holds(g.info.nonce == Some(&asked.nonce), "another nonce")?;
    holds(g.token.certificates.is_some(), "no certificates")?;
    Ok("all three".into())
}

fn policy(_: &Sent, g: &Granted) -> Judgement {
    holds(g.info.policy != ANY_POLICY, "anyPolicy")?;
    Ok(format!("policy {}", hex(g.info.policy)))
}

fn extensions(_: &Sent, g: &Granted) -> Judgement {
    let critical = g.info.extensions.iter().find(|(_, critical, _)| *critical);
    holds(critical.is_none(), "a critical extension")?;
    Ok(format!("{} extensions", g.info.extensions.len()))
}

fn one_message(sent: &Sent, seen: &Seen) -> Judgement {
    let answer = only(sent, seen)?;
    let mut reader = Reader::new(&answer.body);
    let whole = reader.element(tag::SEQUENCE).map_err(|e| format!("the body is {e}"))?.whole.len();
    holds(whole == answer.body.len(), format!("{} bytes after the message", answer.body.len() - whole))?;
    Ok(format!("{whole} bytes"))
}

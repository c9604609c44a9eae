//! Lines 10 to 13: who asked, status and failInfo (RFC 3161 section 2.4.2).

use super::{Judgement, Mark, Probe};
use crate::conformance::exchange::{Known, MARKER, Seen, Sent, Step};
use crate::conformance::judge::{FailInfo, granted, holds, in_reply, only, told};
use crate::conformance::query::Query;
use crate::digest::hex;
use crate::timestamp::tlv::{Reader, element, tag};

use Mark::{Clients, Rfc};

pub fn lines() -> Vec<Probe> {
    let mut all = vec![
        Probe::new(
            ("10a", Rfc),
            ("names in headers and certificate", "none of them in the token"),
            named,
            anonymous(),
        ),
        Probe::query(("11a", Rfc), ("an ordinary query", "status 0 or 1"), |_, _| (), status_is(&[0, 1])),
        Probe::query(("11b", Rfc), ("version 2", "status 2 to 5"), of_version_2, status_is(&[2, 3, 4, 5])),
        Probe::query(
            ("12a", Rfc),
            ("an ordinary query", "a token"),
            |_, _| (),
            granted(|_, _| Ok("a token".into())),
        ),
        Probe::query(("12b", Rfc), ("version 2", "no token"), of_version_2, no_token),
        Probe::query(("12c", Clients), ("an ordinary query", "status 0, not 1"), |_, _| (), status_is(&[0])),
        Probe::query(("13f", Rfc), ("version 2", "statusString absent or UTF8Strings"), of_version_2, texts),
    ];
    let sha1 = |_: &Known, q: &mut Query| {
        q.hash = vec![0x2A, 0x03];
    };
    let policy = |_: &Known, q: &mut Query| q.policy = vec![tag::OID, 2, 0x2A, 0x03];
    let extension = |_: &Known, q: &mut Query| {
        q.extensions = element(tag::CONTEXT_0, &[&element(tag::SEQUENCE, &[&[6, 2, 0x2A, 3, 4, 0]])]);
    };
    let short = |_: &Known, q: &mut Query| q.imprint.truncate(31);
    all.extend([
        encoded("13a", ("an unknown hash", "failInfo 03 02 07 80"), FailInfo::BadAlg, sha1),
        encoded("13b", ("version 2", "failInfo 03 02 05 20"), FailInfo::BadRequest, of_version_2),
        encoded("13c", ("an imprint of 31 bytes", "failInfo 03 02 02 04"), FailInfo::BadDataFormat, short),
        encoded("13d", ("reqPolicy 1.2.3", "failInfo 03 03 00 00 01"), FailInfo::UnacceptedPolicy, policy),
        encoded(
            "13e",
            ("an extension", "failInfo 03 04 07 00 00 80"),
            FailInfo::UnacceptedExtension,
            extension,
        ),
    ]);
    all
}

fn of_version_2(_: &Known, query: &mut Query) {
    query.version = vec![tag::INTEGER, 1, 2];
}

fn named(known: &Known) -> Sent {
    let query = Query::plain(&known.seed, "10a");
    let from = format!("From: {MARKER}@example.org\r\nX-Forwarded-For: {MARKER}\r\n");
    let bytes = known.post(&from, &query.der());
    let mut sent = known.steps(vec![query], vec![Step::Send(bytes), Step::Answer]);
    sent.names.push(MARKER.into());
    sent
}

fn anonymous() -> impl Fn(&Sent, &Seen) -> Judgement {
    granted(|sent, g| {
        let inside = |name: &&String| g.answer.body.windows(name.len().max(1)).any(|w| w == name.as_bytes());
        match sent.names.iter().find(inside) {
            Some(name) => Err(format!("{name:?} is in the token")),
            None => Ok(format!("none of {} names", sent.names.len())),
        }
    })
}

fn status_is(good: &'static [u8]) -> impl Fn(&Sent, &Seen) -> Judgement {
    move |sent, seen| {
        in_reply(&only(sent, seen)?, |reply| {
            holds(matches!(reply.status, [one] if good.contains(one)), told(reply))?;
            Ok(format!("status {}", hex(reply.status)))
        })
    }
}

fn no_token(sent: &Sent, seen: &Seen) -> Judgement {
    in_reply(&only(sent, seen)?, |reply| {
        holds(!reply.grants() && reply.token.is_none(), told(reply))?;
        Ok("no token".into())
    })
}

/// PKIFreeText ::= SEQUENCE SIZE (1..MAX) OF UTF8String.
fn texts(sent: &Sent, seen: &Seen) -> Judgement {
    in_reply(&only(sent, seen)?, |reply| {
        holds(!reply.grants(), told(reply))?;
        let Some(texts) = reply.texts else { return Ok("no text".into()) };
        let mut list = Reader::new(texts).enter(tag::SEQUENCE).map_err(|e| e.to_string())?;
        let mut all = Vec::new();
        while list.peek().is_some() {
            let text = list.take(tag::UTF8_STRING).map_err(|e| format!("statusString is {e}"))?;
            all.push(std::str::from_utf8(text).map_err(|e| format!("statusString: {e}"))?);
        }
        holds(!all.is_empty(), "an empty statusString")?;
        Ok(format!("{:?}", all.join(" / ")))
    })
}

/// Line 13: a named bit list has no trailing zero bits (X.690 section 11.2.2).
fn encoded(
    id: &'static str,
    words: (&'static str, &'static str),
    fail: FailInfo,
    change: impl Fn(&Known, &mut Query) + Send + Sync + 'static,
) -> Probe {
    let judge = move |sent: &Sent, seen: &Seen| {
        in_reply(&only(sent, seen)?, |reply| {
            holds(reply.fail_info == Some(&fail.to_der()[..]), told(reply))?;
            Ok(format!("failInfo {}", hex(&fail.to_der())))
        })
    };
    Probe::query((id, Rfc), words, change, judge)
}

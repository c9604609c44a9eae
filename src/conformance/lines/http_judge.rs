//! The judgements of lines 35 and 37 to 39.

use super::Judgement;
use crate::conformance::answer::{Answer, Framing};
use crate::conformance::exchange::{End, Seen, Sent};
use crate::conformance::judge::{ending, finals, granted, holds, in_reply, only, open, told};

pub(super) fn over_tls(sent: &Sent, seen: &Seen) -> Judgement {
    only(sent, seen)?;
    holds(sent.secure, "plain HTTP")?;
    Ok("TLS".into())
}

pub(super) fn media_type(sent: &Sent, seen: &Seen) -> Judgement {
    typed(&only(sent, seen)?)
}

fn typed(answer: &Answer) -> Judgement {
    let kind = answer.header("content-type").ok_or("no Content-Type")?;
    holds(kind == "application/timestamp-reply", format!("Content-Type {kind:?}"))?;
    Ok(kind.into())
}

fn framed(answer: &Answer) -> Judgement {
    holds(answer.status == 200, format!("HTTP {}", answer.status))?;
    holds(answer.framing == Framing::Length, format!("body delimited by {:?}", answer.framing))?;
    Ok("200, Content-Length".into())
}

pub(super) fn shape(sent: &Sent, seen: &Seen) -> Judgement {
    framed(&only(sent, seen)?)
}

pub(super) fn rejection_shape(sent: &Sent, seen: &Seen) -> Judgement {
    let answer = only(sent, seen)?;
    framed(&answer)?;
    typed(&answer)?;
    in_reply(&answer, |reply| holds(!reply.grants(), told(reply)))?;
    Ok("200, a rejection".into())
}

pub(super) fn no_text(sent: &Sent, seen: &Seen) -> Judgement {
    granted(|_, g| {
        holds(g.reply.texts.is_none(), "a statusString")?;
        Ok("none".into())
    })(sent, seen)
}

pub(super) fn is_granted(sent: &Sent, seen: &Seen) -> Judgement {
    in_order(sent, seen).map(|_| "granted".into())
}

/// As many tokens as queries, each with its query's nonce, in order.
pub(super) fn in_order(sent: &Sent, seen: &Seen) -> Judgement {
    let all = finals(sent, seen)?;
    holds(
        all.len() == sent.queries.len(),
        format!("{} answers to {} queries", all.len(), sent.queries.len()),
    )?;
    for (answer, query) in all.iter().zip(&sent.queries) {
        open(answer, |g| holds(g.info.nonce == Some(&query.nonce), "another query's nonce"))?;
    }
    Ok(format!("{} tokens", all.len()))
}

pub(super) fn granted_or_411(sent: &Sent, seen: &Seen) -> Judgement {
    match only(sent, seen)?.status {
        411 => Ok("411".into()),
        _ => is_granted(sent, seen),
    }
}

pub(super) fn old_shape(sent: &Sent, seen: &Seen) -> Judgement {
    holds(only(sent, seen)?.framing != Framing::Chunked, "a chunked answer to HTTP/1.0")?;
    is_granted(sent, seen)
}

pub(super) fn refused_or_answered(sent: &Sent, seen: &Seen) -> Judgement {
    let answer = only(sent, seen)?;
    // 501: a server that knows no such method (RFC 9110 section 9.1).
    if (400..500).contains(&answer.status) || answer.status == 501 {
        return Ok(format!("HTTP {}", answer.status));
    }
    in_reply(&answer, |reply| Ok(format!("HTTP {}, {}", answer.status, told(reply))))
}

pub(super) fn without_body(sent: &Sent, seen: &Seen) -> Judgement {
    let answer = only(sent, seen)?;
    holds(answer.status < 500 || answer.status == 501, format!("HTTP {}", answer.status))?;
    Ok(format!("HTTP {}", answer.status))
}

pub(super) fn not_served(sent: &Sent, seen: &Seen) -> Judgement {
    if seen.bytes.is_empty() && matches!(seen.end, End::Closed | End::Failed(_)) {
        return Ok(ending(&seen.end));
    }
    let answer = only(sent, seen)?;
    holds((400..500).contains(&answer.status), format!("HTTP {}", answer.status))?;
    Ok(format!("HTTP {}", answer.status))
}

pub(super) fn one_at_most(sent: &Sent, seen: &Seen) -> Judgement {
    if seen.bytes.is_empty() && matches!(seen.end, End::Closed | End::Failed(_)) {
        return Ok(ending(&seen.end));
    }
    let answer = only(sent, seen)?;
    holds(answer.status < 500, format!("HTTP {}", answer.status))?;
    Ok(format!("HTTP {}", answer.status))
}

/// Request smuggling: what one server takes for a body, the next takes for a request (RFC 9112 section 11.2).
pub(super) fn not_split(sent: &Sent, seen: &Seen) -> Judgement {
    if seen.bytes.is_empty() && matches!(seen.end, End::Closed | End::Failed(_)) {
        return Ok(ending(&seen.end));
    }
    let statuses: Vec<u16> = finals(sent, seen)?.iter().map(|answer| answer.status).collect();
    let good = |status: &u16| *status == 200 || (400..500).contains(status);
    holds(statuses.len() <= 2 && statuses.iter().all(good), format!("HTTP {statuses:?}"))?;
    holds(
        statuses.len() < 2 || statuses[1] == 200,
        format!("HTTP {statuses:?}: a part of the body was asked"),
    )?;
    Ok(format!("HTTP {statuses:?}"))
}

pub(super) fn closes(sent: &Sent, seen: &Seen) -> Judgement {
    is_granted(sent, seen)?;
    holds(seen.end == End::Done, "the connection stays open")?;
    Ok("granted, closed".into())
}

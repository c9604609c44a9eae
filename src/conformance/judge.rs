//! What many lines have in common: one answer, a rejection, a token with its parts.

use super::answer::Answer;
use super::exchange::{End, Seen, Sent};
use super::lines::Judgement;
use super::reply::{Info, Reply, Signer, Token};
use crate::digest::hex;
use crate::timestamp::chain::Certificate;

pub use crate::timestamp::reply::FailInfo;

/// `Err` with the text unless it holds.
pub fn holds(good: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if good { Ok(()) } else { Err(otherwise.into()) }
}

/// Every final answer; an error when the connection failed first or bytes are left over.
pub fn finals(sent: &Sent, seen: &Seen) -> Result<Vec<Answer>, String> {
    let mut all = Answer::all(&seen.bytes, sent.head).map_err(|e| match &seen.end {
        End::Done => e.to_string(),
        end => format!("{e}; {}", ending(end)),
    })?;
    all.retain(|answer| answer.status >= 200);
    if all.is_empty() { Err(ending(&seen.end)) } else { Ok(all) }
}

/// How an exchange without an answer ended.
pub fn ending(end: &End) -> String {
    match end {
        End::Done => "no answer".into(),
        End::Closed => "the connection was closed without an answer".into(),
        End::TimedOut => "no answer within the time limit".into(),
        End::Failed(why) => format!("no answer: {why}"),
    }
}

/// The one final answer.
pub fn only(sent: &Sent, seen: &Seen) -> Result<Answer, String> {
    let mut all = finals(sent, seen)?;
    match (all.pop(), all.len()) {
        (Some(answer), 0) => Ok(answer),
        (_, more) => Err(format!("{} answers to one request", more + 1)),
    }
}

/// The TimeStampResp in an answer, for a look at it.
pub fn in_reply<T>(answer: &Answer, look: impl FnOnce(&Reply) -> Result<T, String>) -> Result<T, String> {
    let status = answer.status;
    let reply = Reply::read(&answer.body)
        .map_err(|e| format!("HTTP {status}, no TimeStampResp ({} bytes, {e})", answer.body.len()))?;
    look(&reply)
}

/// The numbers of the bits that a failInfo sets.
pub fn bits(fail_info: &[u8]) -> Vec<usize> {
    let bytes = fail_info.get(3..).unwrap_or_default();
    (0..bytes.len() * 8).filter(|bit| bytes[bit / 8] & 0x80 >> (bit % 8) != 0).collect()
}

/// Status and failInfo in words.
pub fn told(reply: &Reply) -> String {
    let fail = reply.fail_info.map_or("no failInfo".into(), |f| format!("failInfo {}", hex(f)));
    let token = if reply.token.is_some() { ", a token" } else { "" };
    format!("status {}, {fail}{token}", hex(reply.status))
}

/// Rejection with exactly this reason; its encoding is judged by line 13.
pub fn refused(fail: FailInfo) -> impl Fn(&Sent, &Seen) -> Judgement {
    move |sent, seen| {
        in_reply(&only(sent, seen)?, |reply| {
            let reason = reply.fail_info.map(bits) == Some(vec![fail as usize]);
            holds(reply.status == [2] && reply.token.is_none() && reason, told(reply))?;
            Ok(format!("status 2, {}", fail.word()))
        })
    }
}

/// A granted reply taken apart.
pub struct Granted<'a> {
    pub answer: &'a Answer,
    pub reply: &'a Reply<'a>,
    pub token: Token<'a>,
    pub info: Info<'a>,
}

/// A token came back; a further look at it.
pub fn granted(look: impl Fn(&Sent, &Granted) -> Judgement) -> impl Fn(&Sent, &Seen) -> Judgement {
    move |sent, seen| {
        let answer = only(sent, seen)?;
        open(&answer, |granted| look(sent, granted))
    }
}

/// The token in one answer.
pub fn open<T>(answer: &Answer, look: impl FnOnce(&Granted) -> Result<T, String>) -> Result<T, String> {
    in_reply(answer, |reply| {
        let token = reply.token.filter(|_| reply.grants()).ok_or_else(|| told(reply))?;
        let token = Token::read(token).map_err(|e| format!("the token is {e}"))?;
        let info = Info::read(token.content).map_err(|e| format!("TSTInfo is {e}"))?;
        look(&Granted { answer, reply, token, info })
    })
}

impl Granted<'_> {
    /// The one SignerInfo.
    pub fn signer(&self) -> Result<&Signer<'_>, String> {
        match &self.token.signers[..] {
            [one] => Ok(one),
            all => Err(format!("{} signatures", all.len())),
        }
    }

    /// The one value of a signed attribute.
    pub fn attribute(&self, oid: &[u8]) -> Result<Option<&[u8]>, String> {
        let all = self.signer()?.attributes().map_err(|e| format!("signedAttrs are {e}"))?;
        let mut of_kind = all.into_iter().filter(|(kind, _)| *kind == oid).map(|(_, values)| values);
        match (of_kind.next().as_deref(), of_kind.next()) {
            (None, _) => Ok(None),
            (Some([value]), None) => Ok(Some(value)),
            _ => Err("a signed attribute has not exactly one value".into()),
        }
    }

    /// The unit's certificate: the one that sid names.
    pub fn unit(&self) -> Result<Certificate<'_>, String> {
        let sid = self.signer()?.sid.content;
        for der in self.token.certificates.iter().flatten() {
            let certificate = Certificate::read(der).map_err(|e| e.to_string())?;
            let (issuer, serial) = certificate.issuer_and_serial().map_err(|e| e.to_string())?;
            if [issuer, serial].concat() == sid {
                return Ok(certificate);
            }
        }
        Err("the signer's certificate is not in the token".into())
    }
}

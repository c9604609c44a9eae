//! Every judgement with answers made by hand: the right one passes, and each fault fails exactly the
//! probes whose line it breaks.

use std::collections::BTreeSet;

use super::exchange::{End, Known, Seen, Sent};
use super::faults::{FAULTS, WIDE};
use super::forge::{Forge, NOW, seen, tokens};
use super::judge::FailInfo;
use super::lines::{Probe, all};
use crate::timestamp::tlv::{element, tag};

fn known() -> Known {
    Known {
        host: "h".into(),
        path: "/tsa".into(),
        secure: true,
        seed: b"seed".to_vec(),
        policy: vec![0x2A, 0x04],
        names: vec!["client-of-the-test".into()],
    }
}

/// The reason a probe's rejection must have; `None` where a token is expected.
fn reason(probe: &Probe) -> Option<FailInfo> {
    use FailInfo::*;
    match probe.id {
        "11b" | "12b" | "13b" | "13f" | "39a" => return Some(BadRequest),
        "13a" => return Some(BadAlg),
        "13c" | "39b" => return Some(BadDataFormat),
        "13d" => return Some(UnacceptedPolicy),
        "13e" => return Some(UnacceptedExtension),
        _ => {}
    }
    let all = [BadAlg, BadRequest, BadDataFormat, UnacceptedPolicy, UnacceptedExtension];
    all.into_iter().find(|f| probe.expected.starts_with("rejection") && probe.expected.ends_with(f.word()))
}

/// Probes of broken HTTP, that a 400 answers.
fn of_broken_http(probe: &Probe) -> bool {
    ["37b", "37c", "37d", "37f", "38i", "38j", "38k", "38l", "38m"].contains(&probe.id)
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno";

/// What the best of authorities would answer, changed.
fn answered(probe: &Probe, sent: &Sent, change: impl Fn(&mut Forge)) -> Seen {
    if probe.id == "37e" {
        return seen(b"HTTP/1.1 405 No\r\nContent-Length: 9\r\n\r\n".to_vec());
    } else if of_broken_http(probe) {
        return seen(BAD_REQUEST.to_vec());
    }
    match reason(probe) {
        None => tokens(sent, change),
        Some(fail) => {
            let mut forge = Forge::rejected(&sent.queries[0], fail);
            change(&mut forge);
            seen(forge.answer())
        }
    }
}

/// Ids of the probes that fail when every answer is changed so.
fn failing(change: impl Fn(&mut Forge)) -> Vec<&'static str> {
    let known = known();
    let fails = |probe: &Probe| {
        let sent = probe.ask(&known);
        probe.judge(&sent, &answered(probe, &sent, &change)).is_err()
    };
    all().iter().filter(|probe| fails(probe)).map(|probe| probe.id).collect()
}

fn ids(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn the_right_answers_pass_every_probe() {
    let known = known();
    for probe in all() {
        let sent = probe.ask(&known);
        let judgement = probe.judge(&sent, &answered(&probe, &sent, |_| ()));
        assert!(judgement.is_ok(), "{}: {judgement:?}", probe.id);
    }
}

fn failed_by_wide_faults() -> Vec<&'static str> {
    let mut found = Vec::new();
    for (name, change, expected) in WIDE {
        let failing = failing(change);
        assert!(ids(expected).iter().all(|id| failing.contains(id)), "{name}: {failing:?}");
        found.extend(failing);
    }
    found
}

#[test]
fn each_fault_fails_exactly_the_probes_of_its_lines() {
    let mut wrong = Vec::new();
    for (name, change, expected) in FAULTS {
        let found = failing(change);
        if found != ids(expected) {
            wrong.push(format!("{name}: {}", found.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A probe of this id, judged on these bytes and this end.
fn judged(id: &str, bytes: impl Fn(&Sent) -> Vec<u8>, end: End) -> Result<String, String> {
    let probe = all().into_iter().find(|p| p.id == id).unwrap_or_else(|| panic!("{id}"));
    let sent = probe.ask(&known());
    probe.judge(&sent, &Seen { bytes: bytes(&sent), end, between: (NOW, NOW) })
}

fn token(sent: &Sent) -> Vec<u8> {
    tokens(sent, |_| ()).bytes
}

type Bytes = fn(&Sent) -> Vec<u8>;

/// Answers that only one probe can be wrong about.
const OWN: &[(&str, Bytes, End)] = &[
    ("37b", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec(), End::Done),
    ("37c", |_| b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec(), End::Done),
    ("37d", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec(), End::Done),
    ("37e", |_| b"HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno".to_vec(), End::Done),
    ("37f", |_| b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_vec(), End::Done),
    ("38f", |sent| swapped(sent), End::Done),
    ("38g", |sent| swapped(sent), End::Done),
    ("38g", |sent| token(sent)[..1500].to_vec(), End::Closed),
    ("38i", token, End::Done),
    ("38i", |_| vec![], End::TimedOut),
    ("38j", |_| vec![], End::Closed),
    ("38k", |sent| token(sent).repeat(3), End::Done),
    ("38k", |sent| [token(sent), BAD_REQUEST.to_vec()].concat(), End::Done),
    ("38l", token, End::Done),
    ("38m", |_| vec![], End::TimedOut),
    ("38n", token, End::TimedOut),
];

fn swapped(sent: &Sent) -> Vec<u8> {
    let mut sent = sent.clone();
    sent.queries.reverse();
    token(&sent)
}

#[test]
fn answers_of_broken_http_fail_their_probes() {
    for (id, bytes, end) in OWN {
        assert!(judged(id, bytes, end.clone()).is_err(), "{id}");
    }
    let probe = all().into_iter().find(|p| p.id == "35a").unwrap();
    let sent = probe.ask(&Known { secure: false, ..known() });
    assert_eq!(probe.judge(&sent, &tokens(&sent, |_| ())), Err("plain HTTP".into()));
}

#[test]
fn what_is_allowed_beside_the_best_answer_passes() {
    let closed = |_: &Sent| vec![];
    for (id, bytes, end) in [
        ("38i", closed as Bytes, End::Closed),
        ("38l", closed, End::Closed),
        ("38m", token, End::Done),
        ("38k", token, End::Done),
        ("38c", |_| b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n".to_vec(), End::Done),
        ("37d", |_| b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n".to_vec(), End::Done),
        ("37b", token, End::Done),
        ("38e", |sent| [b"HTTP/1.1 100 Continue\r\n\r\n", &token(sent)[..]].concat(), End::Done),
    ] {
        assert!(judged(id, bytes, end.clone()).is_ok(), "{id}: {:?}", judged(id, bytes, end));
    }
}

#[test]
fn no_answer_and_answers_of_servers_in_trouble_fail_every_probe() {
    let html = b"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\n<html>".to_vec();
    let head = b"HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\n".to_vec();
    for probe in all() {
        let sent = probe.ask(&known());
        let answer = if sent.head { head.clone() } else { html.clone() };
        // Whether the connection is TLS is seen from any answer.
        let judgement = probe.judge(&sent, &seen(answer));
        assert!(judgement.is_err() || probe.id == "35a", "{}: {judgement:?}", probe.id);
        for (bytes, end) in [(&b""[..], End::TimedOut), (b"HTTP/1.1 200 OK\r\nContent-Len", End::Closed)] {
            let cut = Seen { bytes: bytes.to_vec(), end, between: (NOW, NOW) };
            assert!(probe.judge(&sent, &cut).is_err(), "{}: {cut:?}", probe.id);
        }
    }
}

#[test]
fn every_rejection_must_have_its_reason_and_the_shortest_bits() {
    let known = known();
    for probe in all() {
        let (sent, Some(right)) = (probe.ask(&known), reason(&probe)) else { continue };
        let judge = |forge: &Forge| probe.judge(&sent, &seen(forge.answer()));
        let of_status = ["11b", "12b", "13f", "39a", "39b"].contains(&probe.id);
        let another = if right == FailInfo::BadAlg { FailInfo::SystemFailure } else { FailInfo::BadAlg };
        assert!(judge(&Forge::rejected(&sent.queries[0], another)).is_err() || of_status, "{}", probe.id);
        assert!(judge(&Forge::granted(&sent.queries[0], 0)).is_err(), "{}", probe.id);
        let mut padded = Forge::rejected(&sent.queries[0], right);
        let bits = [&[0], &padded.fail_info[3..], &[0]].concat();
        padded.fail_info = element(tag::BIT_STRING, &[&bits]);
        let exact = probe.line() == 13 && probe.id != "13f";
        assert_eq!(judge(&padded).is_err(), exact, "{}", probe.id);
    }
}

#[test]
fn every_probe_has_an_answer_by_which_it_alone_or_its_kind_fails() {
    let mut covered: BTreeSet<&str> = FAULTS.iter().flat_map(|(_, _, expected)| ids(expected)).collect();
    covered.extend(failed_by_wide_faults());
    covered.extend(OWN.iter().map(|(id, ..)| *id));
    let missing: Vec<&str> = all().iter().map(|p| p.id).filter(|id| !covered.contains(id)).collect();
    assert_eq!(missing, ["35a"; 0]);
}

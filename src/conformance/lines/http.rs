//! Lines 35 and 37 to 39: TSP over HTTP (RFC 3161 section 3.4, RFC 9112, EN 319 422 section 7) as
//! clients in the field need it.

use std::time::Duration;

use super::http_judge::{
    closes, granted_or_411, in_order, is_granted, media_type, no_text, not_served, not_split, old_shape,
    one_at_most, over_tls, refused_or_answered, rejection_shape, shape, without_body,
};
use super::{Judgement, Mark, Probe};
use crate::conformance::exchange::{Known, QUERY, Seen, Sent, Step};
use crate::conformance::query::Query;
use crate::timestamp::tlv::tag;

use Mark::{Clients, Etsi, Rfc};

const ORDINARY: &str = "an ordinary query";
const REFUSED_OR_ANSWERED: &str = "a 4xx answer or a TimeStampResp";

pub fn lines() -> Vec<Probe> {
    let plain = |_: &Known, _: &mut Query| ();
    let version = |_: &Known, q: &mut Query| q.version = vec![tag::INTEGER, 1, 2];
    let mut all = vec![
        Probe::query(("35a", Etsi), (ORDINARY, "over TLS"), plain, over_tls),
        Probe::query(
            ("37a", Clients),
            (ORDINARY, "application/timestamp-reply, no parameter"),
            plain,
            media_type,
        ),
        Probe::query(("38a", Clients), (ORDINARY, "status 200, Content-Length, not chunked"), plain, shape),
        Probe::query(("38b", Clients), (ORDINARY, "no statusString beside status 0"), plain, no_text),
        Probe::query(
            ("39a", Clients),
            ("version 2", "a rejection, HTTP 200 in the same form"),
            version,
            rejection_shape,
        ),
        head(
            "39b",
            Clients,
            ("text in place of a query", "a rejection, HTTP 200 in the same form"),
            rejection_shape,
            |k, _| k.post("", b"hello"),
        ),
    ];
    all.extend(media_types());
    all.extend(framings());
    all.extend(faults());
    all
}

/// A probe that sends bytes of its own and awaits one answer.
fn head(
    id: &'static str,
    mark: Mark,
    words: (&'static str, &'static str),
    judge: impl Fn(&Sent, &Seen) -> Judgement + Send + Sync + 'static,
    bytes: fn(&Known, &Query) -> Vec<u8>,
) -> Probe {
    steps(id, mark, words, judge, move |known, query| vec![Step::Send(bytes(known, query)), Step::Answer])
}

fn steps(
    id: &'static str,
    mark: Mark,
    words: (&'static str, &'static str),
    judge: impl Fn(&Sent, &Seen) -> Judgement + Send + Sync + 'static,
    steps: impl Fn(&Known, &Query) -> Vec<Step> + Send + Sync + 'static,
) -> Probe {
    let ask = move |known: &Known| {
        let query = Query::plain(&known.seed, id);
        let steps = steps(known, &query);
        known.steps(vec![query], steps)
    };
    Probe::new((id, mark), words, ask, judge)
}

fn media_types() -> Vec<Probe> {
    let typed = |k: &Known, q: &Query, kind: &str, more: &str| {
        let body = q.der();
        let lines = format!("Content-Length: {}\r\n{more}", body.len());
        [k.head("POST", "1.1", kind, &lines), body].concat()
    };
    let wrong = (("text/plain in place of the media type"), REFUSED_OR_ANSWERED);
    let no_body = |k: &Known, _: &Query| k.head("GET", "1.1", "", "");
    let get = Probe::new(
        ("37e", Clients),
        ("HEAD", "a 2xx to 4xx answer without body"),
        |known: &Known| {
            let bytes = known.head("HEAD", "1.1", "", "");
            let sent = known.steps(vec![], vec![Step::Send(bytes), Step::Answer]);
            Sent { head: true, ..sent }
        },
        without_body,
    );
    let put = |k: &Known, q: &Query| {
        let body = q.der();
        [k.head("PUT", "1.1", QUERY, &format!("Content-Length: {}\r\n", body.len())), body].concat()
    };
    let typed_as =
        move |id, words, judge: fn(&Sent, &Seen) -> Judgement, kind: &'static str, more: &'static str| {
            steps(id, Clients, words, judge, move |k, q| {
                vec![Step::Send(typed(k, q, kind, more)), Step::Answer]
            })
        };
    vec![
        typed_as("37b", wrong, refused_or_answered, "text/plain", ""),
        typed_as("37c", ("no media type", REFUSED_OR_ANSWERED), refused_or_answered, "", ""),
        head("37d", Clients, ("GET", REFUSED_OR_ANSWERED), refused_or_answered, no_body),
        get,
        head("37f", Clients, ("PUT", REFUSED_OR_ANSWERED), refused_or_answered, put),
        typed_as(
            "37g",
            ("Accept: text/html, image/gif (jarsigner)", "granted"),
            is_granted,
            QUERY,
            "Accept: text/html, image/gif\r\n",
        ),
        typed_as(
            "37h",
            ("the media type in capitals", "granted"),
            is_granted,
            "Application/Timestamp-Query",
            "",
        ),
    ]
}

fn framings() -> Vec<Probe> {
    let pieces = |k: &Known, q: &Query| {
        let bytes = k.post("", &q.der());
        let (first, second) = (bytes.len() - 40, bytes.len() - 3);
        let pause = Step::Pause(Duration::from_millis(150));
        let send = |part: &[u8]| Step::Send(part.to_vec());
        vec![
            send(&bytes[..first]),
            pause.clone(),
            send(&bytes[first..second]),
            pause,
            send(&bytes[second..]),
            Step::Answer,
        ]
    };
    let chunked = |k: &Known, q: &Query| {
        let body = q.der();
        let head = k.head("POST", "1.1", QUERY, "Transfer-Encoding: chunked\r\n");
        [head, format!("{:x}\r\n", body.len()).into_bytes(), body, b"\r\n0\r\n\r\n".to_vec()].concat()
    };
    let old = |k: &Known, q: &Query| {
        let body = q.der();
        [k.head("POST", "1.0", QUERY, &format!("Content-Length: {}\r\n", body.len())), body].concat()
    };
    let expecting = |k: &Known, q: &Query| {
        let body = q.der();
        let lines = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
        vec![Step::Send(k.head("POST", "1.1", QUERY, &lines)), Step::Continue, Step::Send(body), Step::Answer]
    };
    vec![
        head("38c", Rfc, ("a chunked query", "granted, or 411"), granted_or_411, chunked),
        head("38d", Clients, ("HTTP/1.0", "granted, not chunked"), old_shape, old),
        steps("38e", Rfc, ("Expect: 100-continue", "granted"), is_granted, expecting),
        two("38f", ("two queries on one connection", "two tokens, each its own"), false),
        two("38g", ("two queries at once (pipelining)", "two tokens in order"), true),
        steps("38h", Rfc, ("a query in three pieces", "granted"), is_granted, pieces),
    ]
}

fn two(id: &'static str, words: (&'static str, &'static str), at_once: bool) -> Probe {
    let ask = move |known: &Known| {
        let queries = ["a", "b"].map(|n| Query::plain(&known.seed, &format!("{id}-{n}")));
        let [first, second] = queries.clone().map(|q| known.post("", &q.der()));
        let steps = if at_once {
            vec![Step::Send([first, second].concat()), Step::Answer, Step::Answer]
        } else {
            vec![Step::Send(first), Step::Answer, Step::Send(second), Step::Answer]
        };
        known.steps(queries.to_vec(), steps)
    };
    Probe::new((id, Rfc), words, ask, in_order)
}

fn faults() -> Vec<Probe> {
    const REFUSED: &str = "4xx, or the connection closed";
    let stalled = |k: &Known, _: &Query| {
        [k.head("POST", "1.1", QUERY, "Content-Length: 100\r\n"), vec![0x30; 10]].concat()
    };
    let large = |k: &Known, _: &Query| k.post("", &vec![0; 1 << 20]);
    let both = |k: &Known, q: &Query| {
        let body = q.der();
        let head = k.head("POST", "1.1", QUERY, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
        [head, format!("{:x}\r\n", body.len()).into_bytes(), body, b"\r\n0\r\n\r\n".to_vec()].concat()
    };
    let twice = |k: &Known, q: &Query| {
        let body = q.der();
        let lines = format!("Content-Length: {}\r\nContent-Length: 3\r\n", body.len());
        [k.head("POST", "1.1", QUERY, &lines), body].concat()
    };
    let long_head = |k: &Known, q: &Query| k.post(&format!("X-Long: {}\r\n", "a".repeat(64 << 10)), &q.der());
    let last = |k: &Known, q: &Query| {
        vec![Step::Send(k.post("Connection: close\r\n", &q.der())), Step::Answer, Step::End]
    };
    vec![
        head("38i", Clients, ("a body that stops after 10 of 100 bytes", REFUSED), not_served, stalled),
        head("38j", Clients, ("a body of 1 MiB", REFUSED_OR_ANSWERED), refused_or_answered, large),
        steps(
            "38k",
            Rfc,
            ("Content-Length and Transfer-Encoding, then a query", "no third request made of two"),
            not_split,
            move |k, q| {
                let next = Query::plain(&k.seed, "38k-next");
                let last = k.post("Connection: close\r\n", &next.der());
                vec![Step::Send(both(k, q)), Step::Answer, Step::Send(last), Step::Answer, Step::End]
            },
        ),
        head("38l", Rfc, ("two Content-Lengths", REFUSED), not_served, twice),
        head(
            "38m",
            Clients,
            ("a header of 64 KiB", "granted, 4xx, or the connection closed"),
            one_at_most,
            long_head,
        ),
        steps("38n", Rfc, ("Connection: close", "granted, then the connection's end"), closes, last),
    ]
}

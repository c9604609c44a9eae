//! The lines of the checklist that can be seen from outside, in the order of their numbers.

mod certificate;
mod http;
mod http_judge;
mod request;
mod signature;
mod status;
mod token;

use super::exchange::{Known, Seen, Sent};
use super::judge::{Granted, granted};
use super::query::Query;

/// What a judgement says: what was seen when it is good, what is wrong when it is not.
pub type Judgement = Result<String, String>;

type Ask = Box<dyn Fn(&Known) -> Sent + Send + Sync>;
type Judge = Box<dyn Fn(&Sent, &Seen) -> Judgement + Send + Sync>;

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// RFC 3161, 5816 or 5652.
    Rfc,
    /// EN 319 422.
    Etsi,
    /// What clients in the field demand.
    Clients,
    /// DER to the letter: BER and its like are refused.
    Strict,
}

/// One probe of one line.
pub struct Probe {
    /// The line's number and a letter, `09c`.
    pub id: &'static str,
    /// Where the line comes from.
    pub mark: Mark,
    /// What is sent, in words.
    pub sent: &'static str,
    /// What must come back, in words.
    pub expected: &'static str,
    ask: Ask,
    judge: Judge,
}

impl Probe {
    fn new(
        (id, mark): (&'static str, Mark),
        (sent, expected): (&'static str, &'static str),
        ask: impl Fn(&Known) -> Sent + Send + Sync + 'static,
        judge: impl Fn(&Sent, &Seen) -> Judgement + Send + Sync + 'static,
    ) -> Self {
        Self { id, mark, sent, expected, ask: Box::new(ask), judge: Box::new(judge) }
    }

    /// A probe that sends one query, changed.
    fn query(
        id: (&'static str, Mark),
        words: (&'static str, &'static str),
        change: impl Fn(&Known, &mut Query) + Send + Sync + 'static,
        judge: impl Fn(&Sent, &Seen) -> Judgement + Send + Sync + 'static,
    ) -> Self {
        let ask = move |known: &Known| {
            let mut query = Query::plain(&known.seed, id.0);
            change(known, &mut query);
            known.ask(query)
        };
        Self::new(id, words, ask, judge)
    }

    /// A probe that sends an ordinary query and looks at the token that comes back.
    fn ordinary(
        id: &'static str,
        mark: Mark,
        expected: &'static str,
        look: fn(&Sent, &Granted) -> Judgement,
    ) -> Self {
        Self::query((id, mark), ("an ordinary query", expected), |_, _| (), granted(look))
    }

    /// The line of the checklist.
    pub fn line(&self) -> u32 {
        self.id[..2].parse().unwrap_or(0)
    }

    /// What to send.
    pub fn ask(&self, known: &Known) -> Sent {
        (self.ask)(known)
    }

    /// Whether what came back is what the line asks for.
    pub fn judge(&self, sent: &Sent, seen: &Seen) -> Judgement {
        (self.judge)(sent, seen)
    }
}

/// All probes.
pub fn all() -> Vec<Probe> {
    let mut all = request::lines();
    all.extend(status::lines());
    all.extend(token::lines());
    all.extend(signature::lines());
    all.extend(certificate::lines());
    all.extend(http::lines());
    all.sort_by_key(|probe| probe.id);
    all
}

/// Lines that no request can show, with where they are to be looked for.
pub const UNSEEN: &[(&str, &str)] = &[
    ("13", "timeNotAvailable, addInfoNotAvailable and systemFailure: no request provokes them"),
    ("29", "the revocation reason of a retired key: in the authority's revocation list"),
    ("39", "503 and Retry-After under overload: the probe loads nobody"),
    ("40-53", "device, key life cycle, clock, log and termination: by audit of the authority"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_can_be_seen_has_a_probe_and_no_two_share_an_id() {
        let all = all();
        assert!(all.windows(2).all(|w| w[0].id < w[1].id), "ids are sorted and unique");
        let lines: std::collections::BTreeSet<u32> = all.iter().map(Probe::line).collect();
        let wanted: Vec<u32> = (1..=28).chain(30..=39).collect();
        assert_eq!(lines.into_iter().collect::<Vec<_>>(), wanted);
    }
}

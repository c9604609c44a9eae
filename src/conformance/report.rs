//! What came of the probes, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::lines::{Mark, UNSEEN};
use super::run::Outcome;

/// Everything about one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was probed.
    pub url: String,
    /// How many probes were as they should be.
    pub passed: usize,
    /// How many were not.
    pub failed: usize,
    /// The same for each origin of lines.
    pub scores: Vec<Score>,
    /// Probe by probe.
    pub probes: Vec<Outcome>,
}

/// Probes whose lines come from one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Where from.
    pub mark: Mark,
    /// As they should be.
    pub passed: usize,
    /// All.
    pub of: usize,
}

impl Mark {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Mark::Rfc => "RFC 3161 and those it rests on",
            Mark::Etsi => "EN 319 422",
            Mark::Clients => "clients in the field",
            Mark::Strict => "strict DER",
        }
    }
}

impl Report {
    /// Counts what is in `probes`.
    pub fn new(url: String, probes: Vec<Outcome>) -> Self {
        let passed = probes.iter().filter(|o| o.pass).count();
        let score = |mark| {
            let of: Vec<&Outcome> = probes.iter().filter(|o| o.mark == mark).collect();
            Score { mark, passed: of.iter().filter(|o| o.pass).count(), of: of.len() }
        };
        let scores = [Mark::Rfc, Mark::Etsi, Mark::Clients, Mark::Strict].map(score);
        let scores = scores.into_iter().filter(|s| s.of > 0).collect();
        Self { url, passed, failed: probes.len() - passed, scores, probes }
    }

    /// The table: number, verdict, what was sent, what should come, what came.
    pub fn table(&self) -> String {
        let width =
            |of: fn(&Outcome) -> &str| self.probes.iter().map(|o| of(o).chars().count()).max().unwrap_or(0);
        let (sent, expected) = (width(|o| o.sent), width(|o| o.expected).max("expected".len()));
        let mut text = String::new();
        let mut row = |id: &str, verdict: &str, a: &str, b: &str, c: &str| {
            let _ = writeln!(text, "{id:<4} {verdict:<4}  {a:<sent$}  {b:<expected$}  {}", printable(c));
        };
        row("line", "", "sent", "expected", "seen");
        for o in &self.probes {
            row(o.id, if o.pass { "ok" } else { "FAIL" }, o.sent, o.expected, &o.seen);
        }
        text.push('\n');
        for Score { mark, passed, of } in &self.scores {
            let _ = writeln!(text, "{passed:>4} of {of:<4} {}", mark.words());
        }
        let _ = writeln!(text, "{:>4} of {:<4} in all: {}", self.passed, self.probes.len(), self.url);
        let _ = writeln!(text, "\nnot to be seen from outside:");
        for (lines, why) in UNSEEN {
            let _ = writeln!(text, "  {lines:<6} {why}");
        }
        text
    }
}

/// What a stranger sent goes to a terminal: no control characters, at most 200 characters.
fn printable(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut cut: String = clean.take(200).collect();
    if text.chars().count() > 200 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(id: &'static str, mark: Mark, seen: &str, pass: bool) -> Outcome {
        Outcome { id, line: 1, mark, sent: "a query", expected: "granted", seen: seen.into(), pass }
    }

    #[test]
    fn the_table_has_a_row_a_probe_and_the_scores() {
        let probes = vec![
            outcome("01a", Mark::Rfc, "granted", true),
            outcome("09j", Mark::Strict, "a \u{1b}[31m token", false),
        ];
        let report = Report::new("http://h/tsa".into(), probes);
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "line       sent     expected  seen",
                "01a  ok    a query  granted   granted",
                "09j  FAIL  a query  granted   a ?[31m token",
            ]
        );
        assert_eq!(
            lines[4..7],
            [
                "   1 of 1    RFC 3161 and those it rests on",
                "   0 of 1    strict DER",
                "   1 of 2    in all: http://h/tsa",
            ]
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["failed"], &json["probes"][1]["mark"]), (&1.into(), &"strict".into()));
    }

    #[test]
    fn a_long_answer_is_cut() {
        assert_eq!(printable(&"я".repeat(300)), "я".repeat(200) + "…");
    }
}

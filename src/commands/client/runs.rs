//! The receipts kept beside a sealed file: one run of neighbouring lines per line of `receipts.jsonl`. Pure.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::journal::receipt::{HeadProof, RangeEntry};

/// Most digests one request may carry.
pub const MOST_PER_REQUEST: usize = 4096;

/// Evidence for entries that follow each other in the journal, as the server gives it. The client
/// knows ids and digests itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Sequence of the first entry.
    pub first: u64,
    /// Number of entries.
    pub count: usize,
    /// Place in the request of the first entry, when the run follows the request's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// Otherwise: place in the request of each entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<Vec<usize>>,
    /// Time of all entries, microseconds UTC; absent when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
    /// Clock error bound of all entries, microseconds; absent when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<u32>,
    /// Type of all entries; absent when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<u16>,
    /// `prev` of the first entry.
    pub prev: Digest,
    /// Subtree roots left and right of the run.
    pub range_path: Vec<Digest>,
    /// What each entry says, when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<RangeEntry>>,
    /// The journal's head and everything above it.
    #[serde(flatten)]
    pub proof: HeadProof,
}

/// A run and the lines of the file its entries seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// Line of the first entry, from 1, when the run follows the file's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Otherwise: line of each entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<usize>>,
    /// The receipt.
    #[serde(flatten)]
    pub run: Run,
}

/// Why stored or received runs are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A line of `receipts.jsonl` cannot be read.
    #[error("receipt {number} is damaged: {reason}")]
    Damaged {
        /// Line of `receipts.jsonl`, from 1.
        number: usize,
        /// What the parser says.
        reason: String,
    },
    /// A run speaks of lines that are not there.
    #[error("receipt {number} speaks of lines beyond the {lines} of the file")]
    Beyond {
        /// Line of `receipts.jsonl`, from 1.
        number: usize,
        /// Planned lines.
        lines: usize,
    },
    /// Two runs claim the same line.
    #[error("line {line} has two receipts, the second is receipt {number}")]
    Twice {
        /// The line of the file.
        line: usize,
        /// Line of `receipts.jsonl`, from 1.
        number: usize,
    },
    /// The server's runs do not cover the request exactly.
    #[error("the server was sent {sent} digests, but its receipts do not cover them one by one")]
    NotCovered {
        /// Digests sent.
        sent: usize,
    },
}

impl StoredRun {
    /// The lines this run covers, as indexes from 0 in the order of its entries; `None` when the
    /// numbers make no sense or reach beyond `lines` lines.
    pub fn indexes(&self, lines: usize) -> Option<Vec<usize>> {
        let indexes: Vec<usize> = match (&self.line, &self.lines) {
            (Some(first), None) => {
                let start = first.checked_sub(1)?;
                let end = start.checked_add(self.run.count).filter(|end| *end <= lines)?;
                (start..end).collect()
            }
            (None, Some(each)) if each.len() == self.run.count => {
                each.iter().map(|line| line.checked_sub(1)).collect::<Option<_>>()?
            }
            _ => return None,
        };
        let fit = !indexes.is_empty() && indexes.iter().all(|i| *i < lines);
        fit.then_some(indexes)
    }

    /// Places a run of the server on lines: the request's first digest is on line index `start`.
    fn placed(mut run: Run, start: usize) -> Option<StoredRun> {
        let line = |place: usize| start.checked_add(place)?.checked_add(1);
        let (line, lines) = match (run.offset.take(), run.covers.take()) {
            (Some(offset), None) => (Some(line(offset)?), None),
            (None, Some(places)) => (None, Some(places.into_iter().map(line).collect::<Option<_>>()?)),
            _ => return None,
        };
        Some(StoredRun { line, lines, run })
    }
}

/// Reads `receipts.jsonl`. Gives the runs and how many bytes of the file they fill: what follows is
/// a torn last write, which [`lines_without_receipt`] simply asks for again.
pub fn parse(text: &[u8]) -> Result<(Vec<StoredRun>, usize), RunError> {
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let runs = super::plan::records(&text[..whole])
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_slice(line)
                .map_err(|e| RunError::Damaged { number: i + 1, reason: e.to_string() })
        })
        .collect::<Result<_, _>>()?;
    Ok((runs, whole))
}

/// Which run covers each of `lines` lines, as an index into `runs`.
pub fn coverage(runs: &[StoredRun], lines: usize) -> Result<Vec<Option<usize>>, RunError> {
    let mut covered = vec![None; lines];
    for (i, stored) in runs.iter().enumerate() {
        let number = i + 1;
        for line in stored.indexes(lines).ok_or(RunError::Beyond { number, lines })? {
            if covered[line].replace(i).is_some() {
                return Err(RunError::Twice { line: line + 1, number });
            }
        }
    }
    Ok(covered)
}

/// The lines still to be sealed, as requests of at most `most` neighbouring lines (indexes from 0).
pub fn lines_without_receipt(covered: &[Option<usize>], most: usize) -> Vec<Range<usize>> {
    let mut requests: Vec<Range<usize>> = Vec::new();
    for line in (0..covered.len()).filter(|i| covered[*i].is_none()) {
        match requests.last_mut() {
            Some(last) if last.end == line && last.len() < most => last.end += 1,
            _ => requests.push(line..line + 1),
        }
    }
    requests
}

/// Places the server's runs for the request `lines` (indexes from 0) on the file's lines; every line
/// must be covered exactly once.
pub fn place(runs: Vec<Run>, lines: &Range<usize>) -> Result<Vec<StoredRun>, RunError> {
    let not_covered = || RunError::NotCovered { sent: lines.len() };
    let placed = runs.into_iter().map(|run| StoredRun::placed(run, lines.start));
    let placed = placed.collect::<Option<Vec<_>>>().ok_or_else(not_covered)?;
    let covered = coverage(&placed, lines.end).map_err(|_| not_covered())?;
    let exactly = covered.iter().enumerate().all(|(line, run)| run.is_some() == lines.contains(&line));
    if exactly { Ok(placed) } else { Err(not_covered()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::commands::client) fn run(offset: usize, count: usize) -> Run {
        Run {
            first: 100 + offset as u64,
            count,
            offset: Some(offset),
            covers: None,
            time: Some(1),
            bound: Some(2),
            kind: Some(3),
            prev: Digest::of(b"prev"),
            range_path: vec![Digest::of(b"left")],
            entries: None,
            proof: HeadProof {
                head: "h\n".into(),
                root_index: 0,
                root_path: vec![],
                checkpoint: "c\n".into(),
            },
        }
    }

    fn mixed(covers: &[usize]) -> Run {
        Run { offset: None, covers: Some(covers.to_vec()), ..run(0, covers.len()) }
    }

    pub(in crate::commands::client) fn stored(line: usize, count: usize) -> StoredRun {
        StoredRun { line: Some(line), lines: None, run: Run { offset: None, ..run(0, count) } }
    }

    fn written(runs: &[StoredRun]) -> Vec<u8> {
        runs.iter().flat_map(|r| (serde_json::to_string(r).unwrap() + "\n").into_bytes()).collect()
    }

    #[test]
    fn torn_last_receipt_is_set_aside_and_its_lines_are_asked_for_again() {
        let runs = vec![stored(1, 3), stored(4, 2)];
        let mut text = written(&runs);
        let whole = text.len();
        text.extend_from_slice(&written(&[stored(6, 5)])[..40]);
        let (read, bytes) = parse(&text).unwrap();
        assert_eq!((&read, bytes), (&runs, whole));
        let covered = coverage(&read, 10).unwrap();
        assert_eq!(lines_without_receipt(&covered, 3), vec![5..8, 8..10]);
    }

    #[test]
    fn damaged_receipt_in_the_middle_is_named() {
        let mut text = written(&[stored(1, 3), stored(4, 2)]);
        text[0] = b'x';
        let error = parse(&text).unwrap_err();
        assert!(error.to_string().starts_with("receipt 1 is damaged"), "{error}");
    }

    #[test]
    fn gaps_become_requests_of_neighbouring_lines_only() {
        let covered = coverage(&[stored(3, 2), stored(8, 1)], 9).unwrap();
        assert_eq!(lines_without_receipt(&covered, 4096), vec![0..2, 4..7, 8..9]);
        assert_eq!(lines_without_receipt(&[], 4096), Vec::<Range<usize>>::new());
    }

    #[test]
    fn receipt_beyond_the_plan_or_for_a_line_twice_is_refused() {
        let beyond = Err(RunError::Beyond { number: 1, lines: 2 });
        for bad in [stored(2, 2), stored(0, 1), stored(1, 0), stored(1, usize::MAX)] {
            assert_eq!(coverage(&[bad], 2), beyond);
        }
        let lines = StoredRun { line: None, lines: Some(vec![1, 9]), run: mixed(&[0, 1]) };
        assert_eq!(coverage(&[lines], 2), beyond);
        assert_eq!(coverage(&[stored(1, 2), stored(2, 1)], 2), Err(RunError::Twice { line: 2, number: 2 }));
    }

    #[test]
    fn server_runs_are_placed_on_lines_in_any_order() {
        let placed = place(vec![run(3, 2), mixed(&[2, 0, 1])], &(10..15)).unwrap();
        assert_eq!((placed[0].line, placed[0].lines.as_deref()), (Some(14), None));
        assert_eq!((placed[1].line, placed[1].lines.as_deref()), (None, Some(&[13, 11, 12][..])));
        assert_eq!(placed[1].indexes(15), Some(vec![12, 10, 11]));
        assert_eq!(parse(&written(&placed)).unwrap().0, placed);
    }

    #[test]
    fn server_runs_with_a_gap_an_overlap_or_an_excess_are_refused() {
        let neither = Run { offset: None, ..run(0, 5) };
        let cases = [
            vec![],
            vec![run(0, 4)],
            vec![run(0, 2), run(1, 4)],
            vec![run(1, 4)],
            vec![run(0, 6)],
            vec![mixed(&[0, 1, 2, 3, 3])],
            vec![mixed(&[0, 1, 2, 3, usize::MAX])],
            vec![neither],
        ];
        for runs in cases {
            assert_eq!(place(runs, &(3..8)), Err(RunError::NotCovered { sent: 5 }));
        }
    }
}

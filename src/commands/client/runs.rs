//! The receipts kept beside a sealed file: one run of neighbouring lines per line of `receipts.jsonl`. Pure.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::journal::receipt::HeadProof;

/// Most digests one request may carry.
pub const MOST_PER_REQUEST: usize = 4096;

/// Evidence for a run of entries as the server gives it. The client knows ids and digests itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Sequence of the first entry.
    pub first: u64,
    /// Number of entries.
    pub count: u64,
    /// Place of the first entry within the request, from 0.
    pub offset: u64,
    /// Time of every entry of the run, microseconds UTC.
    pub time: i64,
    /// Clock error bound, microseconds.
    pub bound: u32,
    /// Entry type.
    pub kind: u16,
    /// `prev` of the first entry.
    pub prev: Digest,
    /// Subtree roots left and right of the run.
    pub range_path: Vec<Digest>,
    /// The journal's head and everything above it.
    #[serde(flatten)]
    pub proof: HeadProof,
}

/// A run and the line of the file its first entry seals, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    /// First line.
    pub line: u64,
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
    /// A run reaches beyond the planned lines.
    #[error("receipt {number} speaks of lines {first} to {last}, but there are only {lines} lines")]
    Beyond {
        /// Line of `receipts.jsonl`, from 1.
        number: usize,
        /// Its first line.
        first: u64,
        /// Its last line.
        last: u64,
        /// Planned lines.
        lines: usize,
    },
    /// Two runs claim the same line.
    #[error("line {line} has two receipts, the second is receipt {number}")]
    Twice {
        /// The line of the file.
        line: u64,
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
    /// The lines this run covers, as indexes from 0; `None` when the numbers overflow.
    pub fn indexes(&self) -> Option<Range<usize>> {
        let first = usize::try_from(self.line.checked_sub(1)?).ok()?;
        let count = usize::try_from(self.run.count).ok().filter(|n| *n > 0)?;
        Some(first..first.checked_add(count)?)
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
        let beyond = || RunError::Beyond {
            number,
            first: stored.line,
            last: stored.line.saturating_add(stored.run.count).saturating_sub(1),
            lines,
        };
        let range = stored.indexes().filter(|r| r.end <= lines).ok_or_else(beyond)?;
        for line in range {
            if covered[line].replace(i).is_some() {
                return Err(RunError::Twice { line: line as u64 + 1, number });
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
    let mut runs = runs;
    runs.sort_by_key(|r| r.offset);
    let mut next = 0u64;
    let mut placed = Vec::with_capacity(runs.len());
    for run in runs {
        if run.offset != next || run.count == 0 {
            return Err(not_covered());
        }
        next = next.checked_add(run.count).ok_or_else(not_covered)?;
        placed.push(StoredRun { line: lines.start as u64 + 1 + run.offset, run });
    }
    if next == lines.len() as u64 { Ok(placed) } else { Err(not_covered()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::commands::client) fn run(offset: u64, count: u64) -> Run {
        Run {
            first: 100 + offset,
            count,
            offset,
            time: 1,
            bound: 2,
            kind: 3,
            prev: Digest::of(b"prev"),
            range_path: vec![Digest::of(b"left")],
            proof: HeadProof {
                head: "h\n".into(),
                root_index: 0,
                root_path: vec![],
                checkpoint: "c\n".into(),
            },
        }
    }

    fn stored(line: u64, count: u64) -> StoredRun {
        StoredRun { line, run: run(0, count) }
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
        assert!(matches!(
            coverage(&[stored(2, 2)], 2),
            Err(RunError::Beyond { number: 1, first: 2, last: 3, .. })
        ));
        assert!(matches!(coverage(&[stored(0, 1)], 2), Err(RunError::Beyond { .. })));
        assert!(matches!(coverage(&[stored(1, u64::MAX)], 2), Err(RunError::Beyond { .. })));
        assert_eq!(coverage(&[stored(1, 2), stored(2, 1)], 2), Err(RunError::Twice { line: 2, number: 2 }));
    }

    #[test]
    fn server_runs_are_placed_on_lines_in_any_order() {
        let placed = place(vec![run(3, 2), run(0, 3)], &(10..15)).unwrap();
        assert_eq!(placed.iter().map(|p| (p.line, p.run.count)).collect::<Vec<_>>(), [(11, 3), (14, 2)]);
    }

    #[test]
    fn server_runs_with_a_gap_an_overlap_or_an_excess_are_refused() {
        for runs in [vec![], vec![run(0, 4)], vec![run(0, 2), run(1, 3)], vec![run(1, 4)], vec![run(0, 6)]] {
            assert_eq!(place(runs, &(0..5)), Err(RunError::NotCovered { sent: 5 }));
        }
    }
}

//! Random operations against a plain list, with reopening, refused clocks and a failing stamp.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use pechat::digest::Digest;
use pechat::journal::{JournalError, JournalName, Journals, Submission};
use proptest::prelude::*;

use super::fixture::*;

#[derive(Debug, Clone)]
enum Operation {
    /// Ids (mod 40), whether with the other digest, expectation right or wrong or none.
    Seal(Vec<(u8, bool)>, Option<bool>),
    Reopen,
    Clock(bool),
    Stamp(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let one = (0u8..40, prop::bool::weighted(0.05));
    prop_oneof![
        8 => (prop::collection::vec(one, 1..6), prop::option::weighted(0.3, prop::bool::weighted(0.8)))
            .prop_map(|(ids, expect)| Operation::Seal(ids, expect)),
        2 => Just(Operation::Reopen),
        1 => prop::bool::weighted(0.7).prop_map(Operation::Clock),
        1 => prop::bool::weighted(0.7).prop_map(Operation::Stamp),
    ]
}

/// What the journal should hold.
#[derive(Default)]
struct Model {
    entries: Vec<Submission>,
    by_id: BTreeMap<[u8; 16], u64>,
    receipts: BTreeMap<u64, String>,
}

impl Model {
    /// New entries of a request in order, or that it conflicts.
    fn fresh(&self, submissions: &[Submission]) -> Result<Vec<Submission>, ()> {
        let mut fresh: Vec<Submission> = Vec::new();
        for submission in submissions {
            let stored = self.by_id.get(&submission.request_id.0).map(|seq| self.entries[*seq as usize - 1]);
            let staged = fresh.iter().find(|f| f.request_id == submission.request_id).copied();
            match stored.or(staged) {
                Some(same) if same.digest == submission.digest => {}
                Some(_) => return Err(()),
                None => fresh.push(*submission),
            }
        }
        Ok(fresh)
    }

    fn add(&mut self, fresh: Vec<Submission>) {
        for submission in fresh {
            self.entries.push(submission);
            self.by_id.insert(submission.request_id.0, self.entries.len() as u64);
        }
    }
}

struct Run {
    world: World,
    dir: tempfile::TempDir,
    journals: Option<Journals>,
    land: JournalName,
    model: Model,
    trusted: bool,
    stamping: bool,
}

impl Run {
    async fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Seal(ids, expect) => self.seal(ids, expect).await,
            Operation::Reopen => {
                self.journals = None;
                self.journals = Some(self.world.open(self.dir.path()).await.unwrap());
            }
            Operation::Clock(trusted) => {
                self.trusted = trusted;
                if trusted { self.world.trust_clock() } else { self.world.untrust_clock() }
            }
            Operation::Stamp(works) => {
                self.stamping = works;
                self.world.stamp_works.store(works, Ordering::SeqCst);
            }
        }
        let size = self.journals.as_ref().unwrap().info(&self.land).unwrap().size;
        assert_eq!(size, self.model.entries.len() as u64 + 1);
    }

    async fn seal(&mut self, ids: Vec<(u8, bool)>, expect: Option<bool>) {
        let digest = |number: u8, other: bool| Digest::of(&[number, u8::from(other)]);
        let sent: Vec<Submission> = ids
            .iter()
            .map(|(n, other)| Submission { request_id: id(u64::from(*n)), digest: digest(*n, *other) })
            .collect();
        let size = self.model.entries.len() as u64 + 1;
        let expected = expect.map(|right| if right { size } else { size + 7 });
        let answer = self.journals.as_ref().unwrap().seal(&self.land, sent.clone(), expected).await;
        let fresh = self.model.fresh(&sent);
        let Ok(fresh) = fresh else {
            assert!(matches!(answer, Err(JournalError::Conflict { .. })), "{answer:?}");
            return;
        };
        let new = !fresh.is_empty();
        match answer {
            Ok(receipts) => {
                assert!(!new || (self.trusted && expected.is_none_or(|e| e == size)));
                self.model.add(fresh);
                let mut covered = BTreeMap::new();
                for receipt in &receipts {
                    for entry in self.world.check(receipt).entries {
                        covered.insert(entry.request_id.0, (entry.seq, entry.digest));
                    }
                }
                for submission in sent {
                    let seq = self.model.by_id[&submission.request_id.0];
                    assert_eq!(
                        covered.remove(&submission.request_id.0).unwrap_or((seq, submission.digest)),
                        (seq, submission.digest)
                    );
                    self.receipt(seq).await;
                }
                assert!(covered.is_empty());
            }
            Err(JournalError::Stale { .. }) => assert!(new && expected.is_some_and(|e| e != size)),
            Err(JournalError::NotNow(_)) if new && !self.trusted => {}
            Err(JournalError::NotNow(_)) => {
                assert!(!self.stamping);
                self.model.add(fresh);
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// A receipt once given never changes.
    async fn receipt(&mut self, seq: u64) {
        let text = self.journals.as_ref().unwrap().receipt(&self.land, seq).await.unwrap();
        assert_eq!(self.world.check_text(&text), (seq, self.model.entries[seq as usize - 1].digest));
        assert_eq!(*self.model.receipts.entry(seq).or_insert_with(|| text.clone()), text);
    }

    async fn finish(mut self) {
        self.step(Operation::Clock(true)).await;
        self.step(Operation::Stamp(true)).await;
        self.step(Operation::Reopen).await;
        self.step(Operation::Seal(vec![(200, false)], None)).await;
        for seq in 1..=self.model.entries.len() as u64 {
            self.receipt(seq).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_is_the_list_of_what_it_acknowledged(operations in prop::collection::vec(operation(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
            let journals = world.open(dir.path()).await.unwrap();
            let land = land(&journals).await;
            let (journals, model) = (Some(journals), Model::default());
            let mut run = Run { world, dir, journals, land, model, trusted: true, stamping: true };
            for operation in operations {
                run.step(operation).await;
            }
            run.finish().await;
        });
    }
}

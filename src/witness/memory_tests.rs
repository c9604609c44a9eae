use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64, Encoding};

use super::*;
use crate::digest::Digest;
use crate::journal::checkpoint::{NoteLine, note_line};
use crate::journal::tree::{consistency_path, leaf_hash, node_hash};
use crate::witness::cosignature;
use crate::witness::request::SignedCheckpoint;
use crate::witness::vkey::KeyKind;

const ORIGIN: &str = "log.example/root";

/// A log whose leaves from `fork` on carry another content.
#[derive(Clone, Copy)]
struct Log {
    fork: u64,
}

const HONEST: Log = Log { fork: u64::MAX };

impl Log {
    fn node(self, level: u8, index: u64) -> Digest {
        match level {
            0 => leaf_hash(&[index.to_be_bytes(), u64::from(index >= self.fork).to_be_bytes()].concat()),
            _ => node_hash(&self.node(level - 1, 2 * index), &self.node(level - 1, 2 * index + 1)),
        }
    }

    fn root(self, size: u64) -> Digest {
        // The proof from nothing has no hash, so the root is rebuilt from the leaves.
        let mut range = tree::CompactRange::new();
        (0..size).for_each(|index| range.append(self.node(0, index)));
        range.root()
    }

    fn proof(self, old: u64, new: u64) -> Vec<Digest> {
        let read = |l, i| Ok::<_, std::convert::Infallible>(self.node(l, i));
        consistency_path(old, new, read).unwrap_or_else(|never| match never {})
    }

    fn asks(self, old: u64, new: u64) -> AddCheckpoint {
        let root = self.root(new);
        let body = format!("{ORIGIN}\n{new}\n{}\n", Base64::encode_string(root.as_bytes()));
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let payload = pair.sign(body.as_bytes()).as_ref().to_vec();
        let line = NoteLine { name: ORIGIN.into(), key_hash: log_key().id(), payload };
        let checkpoint =
            SignedCheckpoint { origin: ORIGIN.into(), size: new, root, body, signatures: vec![line] };
        AddCheckpoint { old, proof: self.proof(old, new), checkpoint }
    }
}

fn log_key() -> VerifierKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    VerifierKey::new(ORIGIN, KeyKind::Ed25519(public)).unwrap()
}

fn now() -> UtcMicros {
    UtcMicros(1_700_000_000_999_999)
}

fn witness_in(dir: &std::path::Path) -> Witness {
    let key = CosignerKey::from_seed("w.example", [2; 32]).unwrap();
    let memory = HeadsFile::open(dir, key.public()).unwrap();
    let logs = vec![KnownLog { origin: ORIGIN.into(), keys: vec![log_key()] }];
    Witness::new(key, logs, memory, now)
}

fn fresh() -> (tempfile::TempDir, Witness) {
    let dir = tempfile::tempdir().unwrap();
    let key = CosignerKey::from_seed("w.example", [2; 32]).unwrap();
    HeadsFile::create(dir.path(), key.public()).unwrap();
    let witness = witness_in(dir.path());
    (dir, witness)
}

#[test]
fn a_log_that_only_grows_is_cosigned_at_every_step() {
    let (_dir, witness) = fresh();
    let mut old = 0;
    for new in [1, 2, 3, 3, 7, 8, 21, 64, 65] {
        let request = HONEST.asks(old, new);
        let line = note_line(&witness.add(&request).unwrap()).unwrap();
        let at = cosignature::check(witness.public(), &request.checkpoint.body, &line);
        assert_eq!(at, Some(1_700_000_000), "from {old} to {new}");
        old = new;
    }
}

#[test]
fn a_proof_from_any_other_size_than_the_latest_is_a_conflict_that_tells_it() {
    let (_dir, witness) = fresh();
    witness.add(&HONEST.asks(0, 7)).unwrap();
    for old in [0, 1, 6, 8] {
        assert_eq!(witness.add(&HONEST.asks(old, 9)), Err(Refusal::Conflict(7)), "{old}");
    }
    assert_eq!(witness.add(&HONEST.asks(3, 5)), Err(Refusal::Conflict(7)), "a rolled back log");
    assert_eq!(witness.add(&HONEST.asks(0, 7)), Err(Refusal::Conflict(7)));
}

#[test]
fn a_second_head_of_one_size_is_never_cosigned() {
    let (_dir, witness) = fresh();
    witness.add(&HONEST.asks(0, 7)).unwrap();
    let forked = Log { fork: 3 };
    assert_eq!(witness.add(&forked.asks(7, 7)), Err(Refusal::Fork(7)));
    assert!(witness.add(&HONEST.asks(7, 7)).is_ok(), "the same head again is no second one");
}

#[test]
fn a_fork_is_refused_at_every_larger_size() {
    let (_dir, witness) = fresh();
    witness.add(&HONEST.asks(0, 7)).unwrap();
    for new in 8..20 {
        let refused = witness.add(&Log { fork: 6 }.asks(7, new));
        assert!(matches!(refused, Err(Refusal::Proof(_))), "{new}: {refused:?}");
    }
    let mut padded = HONEST.asks(7, 9);
    padded.proof.push(Digest::default());
    assert!(matches!(witness.add(&padded), Err(Refusal::Proof(_))));
    let mut from_nothing = HONEST.asks(0, 9);
    from_nothing.proof.push(Digest::default());
    let (_other_dir, other) = fresh();
    assert!(matches!(other.add(&from_nothing), Err(Refusal::Proof(_))), "from 0 the proof is empty");
}

#[test]
fn an_empty_log_has_one_root() {
    let (_dir, witness) = fresh();
    assert!(witness.add(&HONEST.asks(0, 0)).is_ok());
    let mut other = HONEST.asks(0, 0);
    other.checkpoint.root = Digest::default();
    assert_eq!(witness.add(&other), Err(Refusal::Fork(0)));
}

#[test]
fn unknown_logs_unsigned_and_shrinking_checkpoints_are_told_apart() {
    let (_dir, witness) = fresh();
    let mut unknown = HONEST.asks(0, 3);
    unknown.checkpoint.origin = "another.example".into();
    assert_eq!(witness.add(&unknown), Err(Refusal::UnknownLog("another.example".into())));
    let mut unsigned = HONEST.asks(0, 3);
    unsigned.checkpoint.signatures[0].payload[5] ^= 1;
    assert_eq!(witness.add(&unsigned), Err(Refusal::Unsigned));
    let mut stranger = HONEST.asks(0, 3);
    stranger.checkpoint.signatures[0].name = "stranger.example".into();
    assert_eq!(witness.add(&stranger), Err(Refusal::Unsigned));
    assert_eq!(witness.add(&HONEST.asks(4, 3)), Err(Refusal::Shrinks { old: 4, new: 3 }));
}

#[test]
fn signatures_of_unknown_keys_beside_a_known_one_are_ignored() {
    let (_dir, witness) = fresh();
    let mut request = HONEST.asks(0, 3);
    let foreign = NoteLine { name: "w9.example".into(), key_hash: [0; 4], payload: vec![1] };
    request.checkpoint.signatures.insert(0, foreign);
    assert!(witness.add(&request).is_ok());
}

#[test]
fn what_was_cosigned_is_remembered_by_the_next_process() {
    let (dir, witness) = fresh();
    witness.add(&HONEST.asks(0, 7)).unwrap();
    drop(witness);
    let next = witness_in(dir.path());
    assert_eq!(next.add(&Log { fork: 3 }.asks(0, 7)), Err(Refusal::Conflict(7)));
    assert_eq!(next.add(&Log { fork: 3 }.asks(7, 7)), Err(Refusal::Fork(7)));
    assert!(next.add(&HONEST.asks(7, 9)).is_ok());
}

#[test]
fn of_many_histories_at_the_same_time_one_is_cosigned() {
    let (_dir, witness) = fresh();
    let witness = Arc::new(witness);
    let threads: Vec<_> = (0..8)
        .map(|fork| {
            let witness = witness.clone();
            std::thread::spawn(move || witness.add(&Log { fork }.asks(0, 9)).is_ok())
        })
        .collect();
    let cosigned = threads.into_iter().map(|t| t.join().unwrap()).filter(|cosigned| *cosigned).count();
    assert_eq!(cosigned, 1);
}

#[test]
fn a_witness_that_cannot_remember_signs_nothing_more() {
    let (dir, witness) = fresh();
    witness.add(&HONEST.asks(0, 3)).unwrap();
    std::fs::create_dir(dir.path().join("heads.new")).unwrap();
    assert!(matches!(witness.add(&HONEST.asks(3, 5)), Err(Refusal::Storage(_))));
    std::fs::remove_dir(dir.path().join("heads.new")).unwrap();
    for request in [HONEST.asks(3, 5), HONEST.asks(5, 6), HONEST.asks(3, 3)] {
        assert!(matches!(witness.add(&request), Err(Refusal::Storage(_))));
    }
}

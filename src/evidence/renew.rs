//! Making and renewing evidence records: RFC 4998 sections 4.2 and 5.2. One token for any number of files.

use super::record::{ArchiveTimestamp, EvidenceRecord, PartialTree, sequence_der};
use super::tree::reduced;
use crate::timestamp::Hash;
use crate::timestamp::strength::with_lists;

/// Makes a token over a value of a hash.
pub type Stamp<'a> = &'a mut dyn FnMut(Hash, &[u8]) -> Result<Vec<u8>, String>;

/// A record a file; `digests` are the files' values of `hash`.
pub fn begin(hash: Hash, digests: &[Vec<u8>], stamp: Stamp<'_>) -> Result<Vec<EvidenceRecord>, String> {
    let leaves: Vec<PartialTree> = digests.iter().map(|digest| vec![digest.clone()]).collect();
    let timestamps = cover(hash, &leaves, stamp)?;
    Ok(timestamps.into_iter().map(|first| EvidenceRecord { chains: vec![vec![first]] }).collect())
}

/// Time-stamp renewal: certificates or signatures age, the hash is sound. `lists` are the revocation lists that
/// speak for the newest tokens; they go into them before they are covered.
///
/// The new time-stamp covers all of the chain's, not the last alone: some readers look for each of them.
pub fn renew_timestamps(
    records: &[EvidenceRecord],
    lists: &[Vec<u8>],
    stamp: Stamp<'_>,
) -> Result<Vec<EvidenceRecord>, String> {
    let mut records = completed(records, lists)?;
    let hash = one_hash(&records)?;
    let group = |record: &EvidenceRecord| -> PartialTree {
        record.chains.iter().last().into_iter().flatten().map(|t| hash.of(&[&t.token])).collect()
    };
    let groups: Vec<PartialTree> = records.iter().map(group).collect();
    let mut leaves = groups.clone();
    leaves.sort();
    leaves.dedup();
    let timestamps = cover(hash, &leaves, stamp)?;
    for (record, group) in records.iter_mut().zip(&groups) {
        let at = leaves.binary_search(group).map_err(|_| "a leaf is missing from its own tree")?;
        if let Some(chain) = record.chains.last_mut() {
            chain.push(timestamps[at].clone());
        }
    }
    Ok(records)
}

/// Hash renewal, while the old hash is unbroken: new chains with `hash`, over the files' new values and all that
/// was there: H(H(file) || H(sequence so far)).
pub fn renew_hashes(
    records: &[EvidenceRecord],
    hash: Hash,
    digests: &[Vec<u8>],
    lists: &[Vec<u8>],
    stamp: Stamp<'_>,
) -> Result<Vec<EvidenceRecord>, String> {
    if records.len() != digests.len() {
        return Err("there is not one file a record".into());
    }
    let mut records = completed(records, lists)?;
    let leaf = |(record, digest): (&EvidenceRecord, &Vec<u8>)| {
        vec![renewed(hash, digest, &sequence_der(&record.chains))]
    };
    let leaves: Vec<PartialTree> = records.iter().zip(digests).map(leaf).collect();
    let timestamps = cover(hash, &leaves, stamp)?;
    for (record, first) in records.iter_mut().zip(timestamps) {
        record.chains.push(vec![first]);
    }
    Ok(records)
}

/// What a hash renewal covers.
pub(super) fn renewed(hash: Hash, digest: &[u8], sequence: &[u8]) -> Vec<u8> {
    hash.of(&[digest, &hash.of(&[sequence])])
}

fn one_hash(records: &[EvidenceRecord]) -> Result<Hash, String> {
    let mut hashes = records.iter().filter_map(|record| record.last().map(|last| last.hash));
    let hash = hashes.next().ok_or("there is nothing to renew")?;
    if hashes.all(|other| other == hash) {
        return Ok(hash);
    }
    Err("the records use different hashes; renew them apart, or renew the hash".into())
}

fn completed(records: &[EvidenceRecord], lists: &[Vec<u8>]) -> Result<Vec<EvidenceRecord>, String> {
    let mut records = records.to_vec();
    for last in records.iter_mut().filter_map(|r| r.chains.last_mut().and_then(|chain| chain.last_mut())) {
        last.token = with_lists(&last.token, lists).map_err(|e| e.to_string())?;
    }
    Ok(records)
}

fn cover(hash: Hash, leaves: &[PartialTree], stamp: Stamp<'_>) -> Result<Vec<ArchiveTimestamp>, String> {
    if leaves.is_empty() {
        return Err("there is nothing to stamp".into());
    }
    let (root, trees) = reduced(hash, leaves);
    let token = stamp(hash, &root)?;
    Ok(trees.into_iter().map(|tree| ArchiveTimestamp { hash, tree, token: token.clone() }).collect())
}

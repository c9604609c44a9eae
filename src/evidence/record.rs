//! EvidenceRecord of RFC 4998 section 3 and 4, in DER, both ways.
//!
//! There is one way to write each: algorithms without parameters, `digestAlgorithm` and `reducedHashtree` always
//! present, no attributes, no cryptoInfos, no encryptionInfo. Whatever is read is written as the same bytes again.

use crate::timestamp::tlv::{NotDer, Reader, element, tag, well_formed};
use crate::timestamp::{Hash, UnreadableToken, token_info};

/// Longest record that is looked at, bytes.
pub const MAX_RECORD_BYTES: usize = 4 << 20;
/// Deepest nesting: a token's certificates, five levels down.
const MAX_DEPTH: usize = 32;

/// Why bytes are no evidence record of the form that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Encoding or order of fields.
    #[error("the evidence record is {0}")]
    NotDer(#[from] NotDer),
    /// Well-formed, but with parts that are not understood.
    #[error("the evidence record {0}")]
    Unsupported(&'static str),
    /// One of its tokens.
    #[error("time-stamp {1} of chain {0}: {2}")]
    Token(usize, usize, UnreadableToken),
}

/// A list of hash values; their order means nothing to a reader.
pub type PartialTree = Vec<Vec<u8>>;

/// ArchiveTimeStamp: a token, and the way from what it covers to its imprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveTimestamp {
    /// Hash of the tree and of the token's imprint.
    pub hash: Hash,
    /// reducedHashtree.
    pub tree: Vec<PartialTree>,
    /// timeStamp: ContentInfo, DER.
    pub token: Vec<u8>,
}

/// ArchiveTimeStampChain: time-stamps over each other, all with one hash.
pub type Chain = Vec<ArchiveTimestamp>;

/// EvidenceRecord of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// archiveTimeStampSequence, oldest first.
    pub chains: Vec<Chain>,
}

impl EvidenceRecord {
    /// DER.
    pub fn to_der(&self) -> Vec<u8> {
        let mut digests: Vec<Vec<u8>> = Vec::new();
        for timestamp in self.chains.iter().flatten() {
            let algorithm = timestamp.hash.algorithm_der();
            if !digests.contains(&algorithm) {
                digests.push(algorithm);
            }
        }
        let version = [tag::INTEGER, 1, 1];
        element(tag::SEQUENCE, &[&version, &sequence(digests), &sequence_der(&self.chains)])
    }

    /// Reads strict DER; refuses what [`EvidenceRecord::to_der`] would not write.
    pub fn from_der(der: &[u8]) -> Result<EvidenceRecord, RecordError> {
        if der.len() > MAX_RECORD_BYTES {
            return Err(NotDer("longer than 4 MiB").into());
        }
        well_formed(der, MAX_DEPTH)?;
        let mut outer = Reader::new(der);
        let mut fields = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        if fields.integer()? != [1] {
            return Err(RecordError::Unsupported("has another version than 1"));
        }
        fields.element(tag::SEQUENCE)?;
        if matches!(fields.peek(), Some(tag::CONTEXT_0 | tag::CONTEXT_1)) {
            return Err(RecordError::Unsupported("has cryptoInfos or encryptionInfo"));
        }
        let chains = list(fields.enter(tag::SEQUENCE)?, |mut chains| {
            let chain = chains.enter(tag::SEQUENCE)?;
            Ok((list(chain, read_timestamp)?, chains))
        })?;
        fields.finish()?;
        let record = EvidenceRecord { chains };
        record.check()?;
        if record.to_der() != der {
            return Err(RecordError::Unsupported("is not in its one form"));
        }
        Ok(record)
    }

    /// No empty lists, one hash a chain, tokens that can be read.
    fn check(&self) -> Result<(), RecordError> {
        if self.chains.is_empty() || self.chains.iter().any(Vec::is_empty) {
            return Err(RecordError::Unsupported("has no time-stamp, or an empty chain"));
        }
        for (c, chain) in self.chains.iter().enumerate() {
            for (t, timestamp) in chain.iter().enumerate() {
                if timestamp.hash != chain[0].hash {
                    return Err(RecordError::Unsupported("changes its hash within a chain"));
                }
                token_info(&timestamp.token).map_err(|e| RecordError::Token(c, t, e))?;
            }
        }
        Ok(())
    }

    /// The newest time-stamp.
    pub fn last(&self) -> Option<&ArchiveTimestamp> {
        self.chains.last().and_then(|chain| chain.last())
    }
}

/// ArchiveTimeStampSequence, DER: what a hash renewal hashes (section 5.2).
pub fn sequence_der(chains: &[Chain]) -> Vec<u8> {
    let chain = |chain: &Chain| sequence(chain.iter().map(timestamp_der).collect());
    sequence(chains.iter().map(chain).collect())
}

fn timestamp_der(timestamp: &ArchiveTimestamp) -> Vec<u8> {
    let algorithm = timestamp.hash.algorithm_der();
    // [0] and [2] are IMPLICIT: the module's default (RFC 4998 appendix A).
    let algorithm = element(tag::CONTEXT_0, &[&algorithm[2..]]);
    let part = |part: &PartialTree| {
        sequence(part.iter().map(|value| element(tag::OCTET_STRING, &[value])).collect())
    };
    let parts: Vec<_> = timestamp.tree.iter().map(part).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    element(tag::SEQUENCE, &[&algorithm, &element(tag::CONTEXT_2, &parts), &timestamp.token])
}

fn sequence(members: Vec<Vec<u8>>) -> Vec<u8> {
    let parts: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
    element(tag::SEQUENCE, &parts)
}

/// All members of a list; `read` takes one and gives the reader behind it.
fn list<'a, T>(
    mut reader: Reader<'a>,
    read: impl Fn(Reader<'a>) -> Result<(T, Reader<'a>), RecordError>,
) -> Result<Vec<T>, RecordError> {
    let mut found = Vec::new();
    while reader.peek().is_some() {
        let (member, rest) = read(reader)?;
        found.push(member);
        reader = rest;
    }
    Ok(found)
}

fn read_timestamp(mut timestamps: Reader<'_>) -> Result<(ArchiveTimestamp, Reader<'_>), RecordError> {
    let mut fields = timestamps.enter(tag::SEQUENCE)?;
    let Some(tag::CONTEXT_0) = fields.peek() else {
        return Err(RecordError::Unsupported("leaves digestAlgorithm out"));
    };
    let oid = fields.enter(tag::CONTEXT_0)?.oid()?;
    let hash = Hash::from_oid(oid).ok_or(RecordError::Unsupported("uses an unknown hash"))?;
    if fields.peek() == Some(tag::CONTEXT_1) {
        return Err(RecordError::Unsupported("has attributes"));
    }
    let Some(tag::CONTEXT_2) = fields.peek() else {
        return Err(RecordError::Unsupported("leaves reducedHashtree out"));
    };
    let tree = list(fields.enter(tag::CONTEXT_2)?, |mut parts| {
        let part = list(parts.enter(tag::SEQUENCE)?, |mut values| {
            let value = values.take(tag::OCTET_STRING)?;
            if value.len() != hash.bytes() {
                return Err(RecordError::Unsupported("has a hash value of another length"));
            }
            Ok((value.to_vec(), values))
        })?;
        if part.is_empty() {
            return Err(RecordError::Unsupported("has an empty partial tree"));
        }
        Ok((part, parts))
    })?;
    if tree.is_empty() {
        return Err(RecordError::Unsupported("has an empty tree"));
    }
    let token = fields.element(tag::SEQUENCE)?.whole.to_vec();
    fields.finish()?;
    Ok((ArchiveTimestamp { hash, tree, token }, timestamps))
}

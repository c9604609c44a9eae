//! The SHA3-256 root that `own.twins` states of the journal, against the entries of the export.

use std::fs::File;
use std::io::{BufReader, Read};

use super::{EXPORT, Folder, unreadable};
use crate::commands::audit::Fault;
use crate::digest::Digest;
use crate::journal::OwnJournal;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::entry::ENTRY_BYTES;
use crate::journal::range_export::Preamble;
use crate::journal::tree::{CompactRange, leaf_hash};
use crate::journal::twin::{Statement, Twin, TwinTree};
use crate::journal::verify::verify_receipt;

/// The newest statement about the journal when the folder was made.
pub const STATEMENT: &str = "twin.json";
/// The receipt of its entry in `own.twins`.
pub const RECEIPT: &str = "twin-receipt.txt";

/// What was found to hold.
pub struct Held {
    /// Both roots.
    pub twin: Twin,
    /// The root log that the statement is sealed in.
    pub checkpoint: Checkpoint,
    /// Whether the export holds all entries below the roots, so that both were computed; a part may not.
    pub covered: bool,
}

impl Folder<'_> {
    /// `None` where the folder has no statement. One that is there must be sealed by the same keys, and both its
    /// roots must be those of the export's entries, if it holds them all.
    pub fn twin(&self) -> Result<Option<Held>, Fault> {
        let Some(statement) = self.optional(STATEMENT)? else { return Ok(None) };
        let bad = |reason: String| Fault::failed(reason).of(STATEMENT);
        let checkpoint = self.sealed(&statement)?;
        let statement = Statement::parse(&statement).map_err(bad)?;
        let file = File::open(self.dir.join(EXPORT)).map_err(|e| unreadable(EXPORT, &e))?;
        let mut input = BufReader::with_capacity(1 << 16, file);
        let (header, _) = Preamble::read(&mut input).map_err(|e| Fault::failed(e.to_string()).of(EXPORT))?;
        let twin = statement.of(header.origin());
        let twin = twin.ok_or_else(|| bad(format!("says nothing of {}", header.origin())))?.clone();
        let part = matches!(header, Preamble::Part(_));
        if part && (header.first() > 0 || header.count() < twin.size) {
            return Ok(Some(Held { twin, checkpoint, covered: false }));
        }
        let (root, sha3) = roots(&mut input, twin.size).map_err(bad)?;
        for (what, found, stated) in [("SHA-256", root, twin.root), ("SHA3-256", sha3, twin.twin)] {
            if found != stated {
                return Err(bad(format!(
                    "the {what} root of the export's first {} entries is {found}, stated is {stated}",
                    twin.size
                )));
            }
        }
        Ok(Some(Held { twin, checkpoint, covered: true }))
    }

    /// Whether the statement is an entry of `own.twins` under the trusted keys.
    fn sealed(&self, statement: &[u8]) -> Result<Checkpoint, Fault> {
        let bad = |reason: String| Fault::failed(reason).of(RECEIPT);
        let receipt = self.optional(RECEIPT)?.ok_or_else(|| {
            Fault::indeterminate(format!("nothing says that {STATEMENT} was sealed: there is no {RECEIPT}"))
        })?;
        let text = str::from_utf8(&receipt).map_err(|_| bad("is not UTF-8".into()))?;
        let facts = self.trusting(|trust| verify_receipt(text, trust)).map_err(|e| bad(e.to_string()))?;
        let (head, checkpoint) = (facts.proof.head, facts.proof.checkpoint);
        let own = format!("{}j/{}", checkpoint.origin.trim_end_matches("root"), OwnJournal::Twins.name());
        if head.origin != own {
            return Err(bad(format!("is of {}, statements are entries of {own}", head.origin)));
        }
        if facts.entry.digest != Digest::of(statement) {
            return Err(bad(format!("its entry is not that of {STATEMENT}")));
        }
        Ok(checkpoint)
    }
}

/// SHA-256 and SHA3-256 root of the next `size` entries.
fn roots(input: &mut impl Read, size: u64) -> Result<(Digest, Digest), String> {
    let (mut sha2, mut sha3) = (CompactRange::new(), TwinTree::default());
    let mut entry = [0; ENTRY_BYTES];
    for seq in 0..size {
        input
            .read_exact(&mut entry)
            .map_err(|e| format!("covers {size} entries, the export ends at {seq}: {e}"))?;
        sha2.append(leaf_hash(&entry));
        sha3.append(&entry);
    }
    Ok((sha2.root(), sha3.root()))
}

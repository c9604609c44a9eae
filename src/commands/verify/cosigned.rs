//! Which of the trusted witnesses cosigned a checkpoint, and whether they are enough.

use serde_json::{Value, json};

use crate::clock::UtcMicros;
use crate::journal::checkpoint::NoteLine;
use crate::witness::{KeyKind, VerifierKey, cosignature};

/// The trusted witnesses and how many of them are needed.
pub struct Quorum {
    witnesses: Vec<VerifierKey>,
    needed: usize,
}

/// Who cosigned, and when (seconds since 1970).
pub struct Cosigned {
    of: usize,
    by: Vec<(String, u64)>,
}

impl Quorum {
    /// Reads the verifier keys; errors are about the command line.
    pub fn new(vkeys: &[String], needed: usize) -> Result<Quorum, String> {
        let mut witnesses: Vec<VerifierKey> = Vec::new();
        for vkey in vkeys {
            let key: VerifierKey = vkey.parse().map_err(|e| format!("--witness: {e}"))?;
            if !matches!(key.kind(), KeyKind::Cosignature(_)) {
                return Err(format!(
                    "--witness: {} is not a witness's key: its type is not 0x04",
                    key.name()
                ));
            }
            // One witness counts once, whatever names its key goes by.
            if witnesses.iter().any(|known| known.kind() == key.kind()) {
                return Err(format!("--witness: the key of {} is given twice", key.name()));
            }
            witnesses.push(key);
        }
        if needed > witnesses.len() {
            return Err(format!("--cosigned {needed}: only {} witnesses are given", witnesses.len()));
        }
        Ok(Quorum { witnesses, needed })
    }

    /// Judges a checkpoint's lines; one of a trusted witness that does not hold spoils it
    /// (C2SP `signed-note`).
    pub fn of(&self, body: &str, lines: &[NoteLine]) -> Result<Cosigned, String> {
        let mut by = Vec::new();
        for witness in &self.witnesses {
            let Some(line) = lines.iter().find(|line| witness.made(line)) else { continue };
            let seconds = cosignature::check(witness, body, line);
            let bad = || format!("the cosignature of {} on the checkpoint does not verify", witness.name());
            by.push((witness.name().to_owned(), seconds.ok_or_else(bad)?));
        }
        let of = self.witnesses.len();
        if by.len() < self.needed {
            let (found, needed) = (by.len(), self.needed);
            return Err(format!(
                "the checkpoint is cosigned by {found} of {of} witnesses; {needed} are needed"
            ));
        }
        Ok(Cosigned { of, by })
    }
}

impl Cosigned {
    /// `k of n`, and who when; nothing when no witness is trusted.
    pub fn lines(&self) -> Vec<String> {
        if self.of == 0 {
            return Vec::new();
        }
        let mut lines =
            vec![format!("its checkpoint is cosigned by {} of {} witnesses", self.by.len(), self.of)];
        let line = |(name, at): &(String, u64)| format!("cosigned by {name} at {}", time(*at));
        lines.extend(self.by.iter().map(line));
        lines
    }

    /// The same for machines; null when no witness is trusted.
    pub fn json(&self) -> Value {
        if self.of == 0 {
            return Value::Null;
        }
        let by: Vec<_> = self.by.iter().map(|(name, at)| json!({ "name": name, "time": at })).collect();
        json!({ "count": self.by.len(), "of": self.of, "by": by })
    }
}

fn time(seconds: u64) -> String {
    let micros = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000)).unwrap_or(i64::MAX);
    UtcMicros(micros).iso8601()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::checkpoint::note_line;
    use crate::witness::cosignature::CosignerKey;

    const BODY: &str = "seal.example.gov/root\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key(seed: u8) -> CosignerKey {
        CosignerKey::from_seed(&format!("w{seed}.example"), [seed; 32]).unwrap()
    }

    fn quorum(needed: usize) -> Quorum {
        let vkeys: Vec<_> = (1..=3).map(|seed| key(seed).public().to_string()).collect();
        Quorum::new(&vkeys, needed).unwrap()
    }

    #[test]
    fn only_trusted_witnesses_are_counted_and_too_few_are_refused() {
        let line = |seed: u8| note_line(&key(seed).cosign(BODY, 1_700_000_000)).unwrap();
        let lines = [line(1), line(9), line(3)];
        let found = quorum(2).of(BODY, &lines).unwrap();
        assert_eq!(
            found.lines(),
            [
                "its checkpoint is cosigned by 2 of 3 witnesses",
                "cosigned by w1.example at 2023-11-14T22:13:20.000Z",
                "cosigned by w3.example at 2023-11-14T22:13:20.000Z",
            ]
        );
        assert_eq!(found.json()["count"], 2);
        let few = quorum(3).of(BODY, &lines).err().unwrap();
        assert_eq!(few, "the checkpoint is cosigned by 2 of 3 witnesses; 3 are needed");
    }

    #[test]
    fn a_trusted_witness_whose_line_does_not_verify_spoils_the_checkpoint() {
        let other = note_line(&key(1).cosign("another\n", 5)).unwrap();
        let spoiled = quorum(0).of(BODY, &[other]).err().unwrap();
        assert!(spoiled.contains("w1.example"), "{spoiled}");
    }

    #[test]
    fn command_lines_that_would_count_a_witness_twice_are_refused() {
        let once = key(1).public().to_string();
        let alias = CosignerKey::from_seed("alias.example", [1; 32]).unwrap().public().to_string();
        assert!(Quorum::new(&[once.clone(), alias], 0).is_err());
        assert!(Quorum::new(&[once], 2).is_err());
    }
}

//! Rare requests: the head that the token keeps, and Ed25519 keys made in a ceremony.

use std::sync::Arc;

use super::pkcs11::{CallClass, HsmError, Token};
use super::process::end;
use super::server::{Desk, Line, START_CALLS};
use crate::keys::KeyLabel;
use crate::keys::wire::{EXIT_TOKEN_LOST, Failure, FailureClass, GeneratedEd25519, Response, proof_digest};

impl Desk {
    /// On a thread of its own: signatures go on meanwhile. A token that keeps no head still signs, so a failure
    /// ends nothing.
    pub(super) fn keep(&self, id: u64, head: Vec<u8>, line: &Arc<Line>) {
        let (token, watchdog, line) = (self.token.clone(), self.watchdog.clone(), line.clone());
        let (caller, limit) = (self.setup.workers + 1, self.setup.call_limit);
        std::thread::spawn(move || {
            let outcome = watchdog.guard(caller, limit, || token.keep(&head));
            let failure = |error: HsmError| {
                Failure::new(FailureClass::Refused, format!("the HSM token keeps no head: {error}"))
            };
            line.write(&Response::Kept { id, outcome: outcome.map_err(failure) });
        });
    }

    pub(super) fn generate_ed25519(&self, id: u64, label: &KeyLabel, line: &Line) {
        if !self.setup.ceremony {
            let text = "this signer was not started for a ceremony";
            let outcome = Err(Failure::new(FailureClass::NotAllowed, text));
            return line.write(&Response::GeneratedEd25519 { id, outcome });
        }
        let limit = self.setup.call_limit * START_CALLS;
        let copies = self.setup.session_copies;
        let made = self.watchdog.guard(self.setup.workers, limit, || make(&self.token, label, copies));
        let failure = match made {
            Ok(made) => return line.write(&Response::GeneratedEd25519 { id, outcome: Ok(made) }),
            Err(error) => error,
        };
        let harmless = matches!(failure, HsmError::LabelTaken(_)) || failure.class() == CallClass::Request;
        let class = if harmless { FailureClass::NotAllowed } else { FailureClass::TokenLost };
        let text = format!("cannot make key {label}: {failure}");
        line.write(&Response::GeneratedEd25519 { id, outcome: Err(Failure::new(class, text.clone())) });
        if !harmless {
            end(EXIT_TOKEN_LOST, &text);
        }
    }
}

fn make(token: &Token, label: &KeyLabel, modifiable: bool) -> Result<GeneratedEd25519, HsmError> {
    let mut key_id = [0; 16];
    aws_lc_rs::rand::fill(&mut key_id).map_err(|_| HsmError::NoRandomness)?;
    let made = token.generate_ed25519(label.as_str(), key_id, modifiable)?;
    let proof = token.session()?.sign_message(made.handle, &proof_digest(&made.spki))?;
    Ok(GeneratedEd25519 { key_id, spki: made.spki, proof })
}

//! Threads: the module must be told that it will meet them, and stand them.

use crate::scratch::{ScratchKey, destroy, open};
use crate::{Failed, Target};

const THREADS: usize = 16;
const ROUNDS: usize = 50;

/// Sixteen threads, each with a session of its own, sign at once, and every signature verifies.
pub fn os_locking(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let sessions = (0..THREADS).map(|_| token.session()).collect::<Result<Vec<_>, _>>()?;
    let wrong: usize = std::thread::scope(|scope| {
        let running: Vec<_> = sessions
            .into_iter()
            .enumerate()
            .map(|(number, session)| {
                let key = &key;
                let good = move |round: usize| {
                    let digest = [(number * ROUNDS + round) as u8; 32];
                    session.sign(key.handle, &digest).is_ok_and(|raw| key.public.verifies(&digest, &raw))
                };
                scope.spawn(move || (0..ROUNDS).filter(|round| !good(*round)).count())
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(ROUNDS)).sum()
    });
    destroy(target, &key.id)?;
    match wrong {
        0 => Ok(format!("{} signatures by {THREADS} threads verify", THREADS * ROUNDS)),
        _ => Err(format!(
            "{wrong} of {} signatures by {THREADS} threads are missing or wrong",
            THREADS * ROUNDS
        )
        .into()),
    }
}

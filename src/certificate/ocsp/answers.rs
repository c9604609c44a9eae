//! Signed answers without a nonce, in memory. Whoever changes a status forgets its answers before he
//! says so; an answer that was being signed meanwhile is given to nobody later.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::response::Window;
use crate::certificate::Serial;

/// Forms of one CertID that are kept: two hashes, parameters NULL or absent.
const FORMS: usize = 4;

/// An answer to one question without a nonce.
#[derive(Debug)]
pub struct Signed {
    /// OCSPResponse.
    pub der: Bytes,
    /// From when to when it holds.
    pub window: Window,
}

#[derive(Default)]
pub(in crate::certificate) struct Answers(RwLock<Kept>);

/// The CertID asked, DER, and the answer.
type Form = (Vec<u8>, Arc<Signed>);

#[derive(Default)]
struct Kept {
    answers: HashMap<Serial, Vec<Form>>,
    /// Grows with every change of a status.
    changes: u64,
}

impl Answers {
    /// The answer to exactly this CertID, if it still holds at `now` (seconds since 1970).
    pub fn find(&self, serial: &Serial, id: &[u8], now: i64) -> Option<Arc<Signed>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, found) = kept.answers.get(serial)?.iter().find(|(asked, _)| asked == id)?;
        (found.window.this_update <= now && now < found.window.next_update).then(|| found.clone())
    }

    /// How many statuses have changed; asked before a status is read.
    pub fn changes(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// Keeps an answer over a status that was read after `changes` changes; `false` if one came since.
    pub fn keep(&self, serial: Serial, id: &[u8], answer: Arc<Signed>, changes: u64) -> bool {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.changes != changes {
            return false;
        }
        let forms = kept.answers.entry(serial).or_default();
        forms.retain(|(asked, _)| asked != id);
        if forms.len() < FORMS {
            forms.push((id.to_vec(), answer));
        }
        true
    }

    /// The status of this serial has changed: its answers are wrong from now on.
    pub fn forget(&self, serial: &Serial) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.changes += 1;
        kept.answers.remove(serial);
    }

    /// The CertIDs of this serial whose answers end by `end` (seconds since 1970).
    pub fn ending(&self, serial: &Serial, end: i64) -> Vec<Vec<u8>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let forms = kept.answers.get(serial).map_or(&[][..], Vec::as_slice);
        forms.iter().filter(|(_, a)| a.window.next_update <= end).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(this_update: i64) -> Arc<Signed> {
        let window = Window { this_update, next_update: this_update + 10 };
        Arc::new(Signed { der: Bytes::from_static(b"answer"), window })
    }

    #[test]
    fn an_answer_signed_across_a_change_is_not_kept() {
        let (answers, serial) = (Answers::default(), Serial::random().unwrap());
        let before = answers.changes();
        answers.forget(&serial);
        assert!(!answers.keep(serial, b"id", signed(0), before));
        assert!(answers.find(&serial, b"id", 5).is_none());
        assert!(answers.keep(serial, b"id", signed(0), answers.changes()));
        assert!(answers.find(&serial, b"id", 9).is_some());
        assert!(answers.find(&serial, b"id", 10).is_none() && answers.find(&serial, b"id", -1).is_none());
        assert_eq!(answers.ending(&serial, 10), [b"id".to_vec()]);
        answers.forget(&serial);
        assert!(answers.find(&serial, b"id", 5).is_none());
    }

    #[test]
    fn a_serial_has_as_many_answers_as_there_are_forms_of_its_id() {
        let (answers, serial) = (Answers::default(), Serial::random().unwrap());
        for form in 0..=FORMS {
            answers.keep(serial, &[form as u8], signed(0), answers.changes());
        }
        let found = (0..=FORMS).filter(|form| answers.find(&serial, &[*form as u8], 0).is_some()).count();
        assert_eq!(found, FORMS);
    }
}

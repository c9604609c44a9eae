//! What adds entries: opening journals, records of the appliance's own, seals, the end of a quarantine.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::lookup::Lookup;
use super::name::is_own;
use super::queue::Command;
use super::{
    DETAIL_MAX, JournalError, JournalInfo, JournalName, Journals, OwnJournal, Recorded, RequestId,
    SUBMISSIONS_MAX, Submission, control, epoch, receipt, settle,
};
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// How long an answer about a control entry waits for its seal, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

impl Journals {
    /// Opens a journal for an institution; entry 0 is its charter. Returns when that is durable.
    pub async fn create(
        &self,
        name: JournalName,
        institution: InstitutionId,
    ) -> Result<JournalInfo, JournalError> {
        if is_own(&name) {
            return Err(JournalError::BadName(name.into()));
        }
        self.create_any(name, Some(institution)).await
    }

    pub(super) async fn create_any(
        &self,
        name: JournalName,
        institution: Option<InstitutionId>,
    ) -> Result<JournalInfo, JournalError> {
        self.ask(|reply| Command::Create { name, institution, reply }).await
    }

    /// A control entry; returns when it is durable (not yet sealed). Works while the clock is
    /// untrusted (the entry then says so in its bound, `u32::MAX`, and repeats the last trusted time).
    /// The same id and detail again return where the entry stands.
    pub async fn record(
        &self,
        own: OwnJournal,
        id: RequestId,
        detail: Vec<u8>,
    ) -> Result<Recorded, JournalError> {
        if detail.len() > DETAIL_MAX {
            let bytes = detail.len();
            return Err(JournalError::NotNow(format!(
                "a detail has at most {DETAIL_MAX} bytes, not {bytes}"
            )));
        }
        let journal = self.0.shared.journal(own.name())?;
        let digest = Digest::of(&detail);
        self.ask(|reply| Command::Record { journal, id, detail, digest, reply }).await
    }

    /// Where the entry with this id stands in an own journal; durable or not there.
    pub async fn position(&self, own: OwnJournal, id: RequestId) -> Result<Option<u64>, JournalError> {
        let journal = self.0.shared.journal(own.name())?;
        self.ask(|reply| Command::Find { journal, id, reply }).await
    }

    /// Appends digests; returns when they are durable and sealed. One [`receipt::RangeReceipt`] a
    /// contiguous run; digests sealed before (same id, same digest) return the receipt they had.
    /// Receipts come in order of sequence; `expect` is not compared when nothing is new.
    pub async fn seal(
        &self,
        journal: &JournalName,
        submissions: Vec<Submission>,
        expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        self.seal_for(None, journal, submissions, expect).await
    }

    /// [`Journals::seal`] for an institution: whether the journal is its own is decided where the sequence
    /// is, so that of a seal and a hand-over at the same time one comes first. What it sealed before a
    /// hand-over keeps its receipts.
    pub async fn seal_as(
        &self,
        by: &InstitutionId,
        journal: &JournalName,
        submissions: Vec<Submission>,
        expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        self.seal_for(Some(by.clone()), journal, submissions, expect).await
    }

    async fn seal_for(
        &self,
        by: Option<InstitutionId>,
        journal: &JournalName,
        submissions: Vec<Submission>,
        expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        if submissions.is_empty() || submissions.len() > SUBMISSIONS_MAX {
            return Err(JournalError::Count(submissions.len()));
        }
        if is_own(journal) {
            return Err(JournalError::Unknown(journal.as_str().to_owned()));
        }
        let journal = self.0.shared.journal(journal.as_str())?;
        let to = Arc::clone(&journal);
        let placed = self.ask(|reply| Command::Seal { journal: to, by, submissions, expect, reply }).await?;
        Lookup(&self.0.shared).placed(&journal, placed)
    }

    /// Ends the quarantine: writes the statement into every own journal and its digest into all others, in
    /// a new epoch. Where the entry in `own.events` stands. Who may decide that is the caller's to know.
    pub async fn settle(&self, statement: &epoch::EpochChange) -> Result<Recorded, JournalError> {
        let settlement = settle::Settlement::new(statement)?;
        self.ask(|reply| Command::Settle { settlement, reply }).await
    }

    /// Freezes an institution's journal or hands it over, with a record in `own.events`; where the control
    /// entry stands, durable, and sealed unless that takes longer than five seconds: whoever archives a
    /// journal next wants its end in the signed head. Who may order that is the caller's to know.
    pub async fn control(
        &self,
        journal: &JournalName,
        ordered: control::Ordered,
    ) -> Result<Recorded, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let ordered_for = Arc::clone(&journal);
        let recorded = self.ask(|reply| Command::Control { journal: ordered_for, ordered, reply }).await?;
        let sealed = async {
            while Lookup(&self.0.shared).sealed_size(&journal) <= recorded.seq {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, sealed).await;
        Ok(recorded)
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        if let Some(why) = self.0.shared.failure() {
            return Err(JournalError::Storage(why.to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        self.0.queue.push(command(reply))?;
        answer.await.unwrap_or_else(|_| Err(JournalError::Storage("the sequencer is gone".into())))
    }
}

//! An export part by part, in bounded memory: the reader's pace is the writer's.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::JournalError;
use super::entry::{ENTRY_BYTES, Entry};
use super::extent::Extent;
use super::lookup::{Lookup, RANGE_MAX};
use super::state::{Journal, Shared};

/// Parts made ahead of the reader, about 600 kB each.
const AHEAD: usize = 2;

/// An export under way. An error as a part means that the rest cannot be trusted and will not come.
pub struct Outflow {
    /// Bytes of the whole export.
    pub length: u64,
    /// Its parts, in order.
    pub parts: mpsc::Receiver<Result<Vec<u8>, JournalError>>,
}

impl Outflow {
    /// An export of this extent under the newest sealed head. No thread waits while the reader does; it ends when the reader goes.
    pub(super) async fn start(
        shared: Arc<Shared>,
        journal: Arc<Journal>,
        extent: Extent,
    ) -> Result<Outflow, JournalError> {
        let (first, count, header) = {
            let (shared, journal) = (Arc::clone(&shared), Arc::clone(&journal));
            off(move || {
                let header = Lookup(&shared).preamble(&journal, extent)?;
                let text = header.text().map_err(|e| JournalError::Storage(e.to_string()))?;
                Ok((header.first(), header.count(), text))
            })
            .await?
        };
        let length = header.len() as u64 + count * ENTRY_BYTES as u64;
        let (to, parts) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            let mut part = Ok(header);
            let (mut first, end) = (first, first + count);
            loop {
                let broken = part.is_err();
                if to.send(part).await.is_err() || broken || first == end {
                    return;
                }
                let (shared, journal) = (Arc::clone(&shared), Arc::clone(&journal));
                let many = RANGE_MAX.min(end - first);
                part = off(move || {
                    let entries = Lookup(&shared).entries(&journal, first, many)?;
                    Ok(entries.iter().flat_map(Entry::encode).collect())
                })
                .await;
                first += many;
            }
        });
        Ok(Outflow { length, parts })
    }
}

async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| JournalError::Storage(format!("the export ended: {e}")))?
}

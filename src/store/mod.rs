//! The store of institutions, identities, requests and certificates: the only place with SQL.
//!
//! One connection behind a lock, every call on a blocking thread, every commit synced to disk before
//! it is reported. A caller that goes away does not stop a write that has begun.

mod certificates;
mod enrolments;
mod holds;
mod institutions;
mod lists;
mod requests;
mod serials;
mod sqlite;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

pub use certificates::{IdentityRecord, KeyUse};
pub use enrolments::EnrolmentRecord;
pub use requests::Decided;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite or the disk below it.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row holds what no code of ours writes.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Written by a newer program.
    #[error("the store has version {found}, this program knows up to {known}")]
    Newer {
        /// What `PRAGMA user_version` says.
        found: u32,
        /// What this program writes.
        known: u32,
    },
    /// The blocking task was stopped.
    #[error("the store's task was stopped")]
    Stopped,
}

/// Handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Mutex<Connection>>);

impl Store {
    /// Opens or makes the file, brings its tables up to date. Blocking.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Mutex::new(sqlite::open(path)?))))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.0);
        // A panic in another call rolled its transaction back, so the connection is still good.
        let locked = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(locked).await.map_err(|_| StoreError::Stopped)?
    }
}

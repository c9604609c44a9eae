//! The rounds that keep the twin trees: beside the sequencer, never in its way.
//!
//! Once a second the trees follow what is sealed, in small steps; once an interval the roots of those that
//! grew become an entry of `own.twins`, which is sealed and stamped like any other.

use std::collections::{BTreeMap, btree_map};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::state::{Line, State, Stated};
use super::statement::MAX_TREES;
use super::{Statement, Twin};
use crate::digest::Digest;
use crate::journal::lookup::Lookup;
use crate::journal::{JournalError, Journals, OwnJournal, epoch};
use crate::replace::replace;

/// How often the trees follow.
const FOLLOW: Duration = Duration::from_secs(1);
/// Leaves of one step, and the pause after it: two cores do other work.
const STEP: u64 = 1024;
const PAUSE: Duration = Duration::from_millis(1);

/// Where the newest statement of each tree stands; what readers see. Cheap to clone.
#[derive(Clone, Default)]
pub struct Twins(Arc<Mutex<State>>);

impl Twins {
    /// Sequence in `own.twins` of the newest statement about this tree.
    pub fn stated(&self, origin: &str) -> Option<u64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.get(origin)?.stated.map(|stated| stated.seq)
    }

    fn show(&self, state: &State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state.clone();
    }
}

/// The running rounds; they end when this is dropped.
pub struct Rounds(JoinHandle<()>);

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the rounds; roots are stated once every `interval`. Needs a tokio runtime.
pub fn start(journals: &Journals, interval: Duration, file: PathBuf) -> Rounds {
    let mut keeper = Keeper::load(journals.clone(), file);
    Rounds(tokio::spawn(async move {
        let mut due = Instant::now() + interval;
        loop {
            sleep(FOLLOW.min(interval)).await;
            if keeper.journals.quarantine().is_some() {
                continue;
            }
            let now = Instant::now();
            let done = if now < due { keeper.follow().await } else { keeper.round().await.map(|_| ()) };
            match done {
                Ok(()) if now >= due => due = now + interval,
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "the twin trees wait for the next round"),
            }
        }
    }))
}

/// Owns the twin trees.
pub struct Keeper {
    journals: Journals,
    file: PathBuf,
    state: State,
    /// Whether every line was held against the log once.
    checked: bool,
}

/// What one step works on.
enum Tree {
    Root,
    Journal(Arc<crate::journal::state::Journal>),
}

impl Keeper {
    /// Goes on from `file`, or from nothing.
    pub fn load(journals: Journals, file: PathBuf) -> Keeper {
        let state = read(&file).unwrap_or_else(|why| {
            tracing::info!(file = %file.display(), why, "the twin trees are computed from the log again");
            State::default()
        });
        Keeper { journals, file, state, checked: false }
    }

    /// Follows, states what grew, keeps the state. How many statements were recorded.
    pub async fn round(&mut self) -> Result<usize, JournalError> {
        self.follow().await?;
        let own = self.journals.origin(OwnJournal::Twins.name());
        let root = self.journals.root_origin();
        // Its own entries alone are no news, or there would be some for ever.
        if !self.grown().any(|origin| *origin != own && *origin != root) {
            return Ok(0);
        }
        let grown: Vec<String> = self.grown().cloned().collect();
        let mut count = 0;
        for origins in grown.chunks(MAX_TREES) {
            self.state_roots(origins).await?;
            count += 1;
        }
        self.journals.twins().show(&self.state);
        let (file, text) = (self.file.clone(), self.state.text());
        let kept = tokio::task::spawn_blocking(move || keep(&file, &text)).await;
        if let Err(error) = kept.unwrap_or_else(|e| Err(io::Error::other(e))) {
            tracing::warn!(%error, file = %self.file.display(), "how far the twin trees are could not be kept");
        }
        Ok(count)
    }

    fn grown(&self) -> impl Iterator<Item = &String> {
        let grew = |line: &Line| line.stated.map_or(0, |stated| stated.size) < line.tree.size();
        self.state.0.iter().filter(move |(_, line)| grew(line)).map(|(origin, _)| origin)
    }

    async fn state_roots(&mut self, origins: &[String]) -> Result<(), JournalError> {
        let twin = |origin: &String| {
            let line = self.state.0.get(origin)?;
            let (size, root, twin) = (line.tree.size(), line.root, line.tree.root());
            Some(Twin { origin: origin.clone(), size, root, twin })
        };
        let statement = Statement::new(origins.iter().filter_map(twin).collect());
        let detail = statement.text();
        // The same statement again, after a crash, is the same entry.
        let id = epoch::entry_id(&Digest::of(&detail));
        let recorded = self.journals.record(OwnJournal::Twins, id, detail).await?;
        for Twin { origin, size, .. } in statement.trees {
            if let Some(line) = self.state.0.get_mut(&origin) {
                line.stated = Some(Stated { size, seq: recorded.seq });
            }
        }
        Ok(())
    }

    /// Every tree up to what the newest seal covers.
    pub async fn follow(&mut self) -> Result<(), JournalError> {
        if !self.checked {
            self.forget_what_was_never_stated().await;
            self.journals.twins().show(&self.state);
        }
        let Some((root_size, _)) = self.journals.newest_root() else { return Ok(()) };
        let root = self.journals.root_origin();
        self.follow_one(&root, || Tree::Root, root_size).await?;
        for journal in self.journals.0.shared.journals() {
            let size = journal.newest_within(root_size)?.map_or(0, |(batch, _)| batch.end());
            self.follow_one(&journal.origin, || Tree::Journal(Arc::clone(&journal)), size).await?;
        }
        self.checked = true;
        Ok(())
    }

    /// A state of another history may name statements that this log does not hold.
    async fn forget_what_was_never_stated(&mut self) {
        let mut read = BTreeMap::new();
        for (origin, line) in &mut self.state.0 {
            let Some(Stated { size, seq }) = line.stated else { continue };
            if let btree_map::Entry::Vacant(free) = read.entry(seq) {
                let detail = self.journals.detail(OwnJournal::Twins, seq).await;
                free.insert(detail.ok().and_then(|text| Statement::parse(&text).ok()));
            }
            let said = read.get(&seq).and_then(Option::as_ref).and_then(|statement| statement.of(origin));
            if !said.is_some_and(|twin| twin.size == size) {
                line.stated = None;
            }
        }
    }

    async fn follow_one(
        &mut self,
        origin: &str,
        tree: impl Fn() -> Tree,
        size: u64,
    ) -> Result<(), JournalError> {
        let mut line = self.state.0.get(origin).cloned().unwrap_or_default();
        if line.tree.size() == size && self.checked {
            return Ok(());
        }
        if line.tree.size() > 0 {
            let (of, kept) = (tree(), line.clone());
            if !self.journals.reading(move |lookup| of.holds(&lookup, &kept, size)).await? {
                tracing::warn!(origin, "its twin tree is of another log and is computed again");
                line = Line::default();
            }
        }
        while line.tree.size() < size {
            let of = tree();
            line = self.journals.reading(move |lookup| of.step(&lookup, line, size)).await?;
            sleep(PAUSE).await;
        }
        self.state.0.insert(origin.to_owned(), line);
        Ok(())
    }
}

impl Tree {
    fn root(&self, lookup: &Lookup<'_>, size: u64) -> Result<Digest, JournalError> {
        match self {
            Tree::Root => lookup.0.root.root(size),
            Tree::Journal(journal) => journal.tree.root(size),
        }
    }

    /// Whether the line is of these leaves.
    fn holds(&self, lookup: &Lookup<'_>, line: &Line, size: u64) -> Result<bool, JournalError> {
        Ok(line.tree.size() <= size && self.root(lookup, line.tree.size())? == line.root)
    }

    /// The next leaves, up to `size` at most.
    fn step(&self, lookup: &Lookup<'_>, mut line: Line, size: u64) -> Result<Line, JournalError> {
        let first = line.tree.size();
        let count = (size - first).min(STEP);
        match self {
            Tree::Root => {
                for head in lookup.head_texts(first..first + count)? {
                    line.tree.append(head.as_bytes());
                }
            }
            Tree::Journal(journal) => {
                for entry in lookup.entries(journal, first, count)? {
                    line.tree.append(&entry.encode());
                }
            }
        }
        line.root = self.root(lookup, line.tree.size())?;
        Ok(line)
    }
}

fn read(file: &Path) -> Result<State, String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    State::parse(&text).ok_or_else(|| "the file is damaged".into())
}

fn keep(file: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    replace(file, text.as_bytes(), 0o600)
}

impl Journals {
    /// The newest statement about a tree, and the receipt of its entry; `None` before there is one that is sealed.
    pub async fn twin(&self, origin: &str) -> Result<Option<(String, String)>, JournalError> {
        let Some(seq) = self.twins().stated(origin) else { return Ok(None) };
        let statement = self.detail(OwnJournal::Twins, seq).await?;
        let statement = String::from_utf8(statement)
            .map_err(|_| JournalError::Damaged(format!("statement {seq} of own.twins is no text")))?;
        match self.receipt(&OwnJournal::Twins.into(), seq).await {
            Ok(receipt) => Ok(Some((statement, receipt))),
            Err(JournalError::Beyond { .. } | JournalError::NotNow(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

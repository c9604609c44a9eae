//! The appliance's rounds: at most once a second the newest sealed root checkpoint goes to every witness.
//! Nothing here is awaited by a seal or a receipt; a witness that is down, slow or lying delays nobody.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::{Answer, AskError, Client, WitnessConfig};
use super::cosigned;
use super::request::SignedCheckpoint;
use crate::journal::{JournalError, Journals};

/// Pause between rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const LONGEST: Duration = Duration::from_secs(30);

/// The checkpoint of a round: all witnesses get the same, so that their lines meet under one text.
struct Candidate {
    note: String,
    checkpoint: SignedCheckpoint,
}

/// The rounds; they end when this is dropped.
pub struct Rounds(Vec<JoinHandle<()>>);

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts the rounds. `dir` keeps the newest cosigned checkpoint of each witness. Needs a tokio runtime.
pub fn start(journals: &Journals, configs: &[WitnessConfig], dir: PathBuf) -> Result<Rounds, String> {
    journals.witnesses().adopt(configs, &dir, &journals.root_origin())?;
    let (newest, _) = watch::channel(None);
    let mut tasks = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        let client = Arc::new(Client::new(config)?);
        let asker = Asker { index, client, dir: dir.clone(), journals: journals.clone() };
        tasks.push(tokio::spawn(asker.run(newest.subscribe())));
    }
    if !configs.is_empty() {
        tasks.push(tokio::spawn(choose(journals.clone(), newest)));
    }
    Ok(Rounds(tasks))
}

/// Hands out the newest sealed root checkpoint, once a second.
async fn choose(journals: Journals, newest: watch::Sender<Option<Arc<Candidate>>>) {
    let mut last = 0;
    loop {
        if let Some((size, note)) = journals.published_root()
            && size != last
            && let Ok(checkpoint) = SignedCheckpoint::parse(&note)
        {
            last = size;
            newest.send_replace(Some(Arc::new(Candidate { note, checkpoint })));
        }
        sleep(ROUND).await;
    }
}

/// Asks one witness.
struct Asker {
    index: usize,
    client: Arc<Client>,
    dir: PathBuf,
    journals: Journals,
}

impl Asker {
    async fn run(self, mut newest: watch::Receiver<Option<Arc<Candidate>>>) {
        let mut pause = ROUND;
        loop {
            let candidate = newest.borrow_and_update().clone();
            let held = match candidate {
                Some(candidate) => self.round(&candidate).await,
                None => true,
            };
            if held {
                pause = ROUND;
                if newest.changed().await.is_err() {
                    return;
                }
            } else {
                sleep(pause).await;
                pause = (2 * pause).min(LONGEST);
            }
        }
    }

    /// Whether the witness cosigned. A conflict is answered once with a proof from the size it told.
    async fn round(&self, candidate: &Arc<Candidate>) -> bool {
        let witnesses = self.journals.witnesses();
        let checkpoint = &candidate.checkpoint;
        for _ in 0..2 {
            // A size that was never confirmed (say from a lie) may be beyond: then nothing is proven.
            let old = witnesses.size(self.index).min(checkpoint.size);
            match self.ask(old, candidate).await {
                Ok(Answer::Cosigned(line, at)) => {
                    if let Err(error) = self.keep(candidate, &line).await {
                        tracing::warn!(%error, "a cosigned checkpoint could not be stored");
                    }
                    witnesses.cosigned(self.index, checkpoint.size, &candidate.note, line, at);
                    return true;
                }
                Ok(Answer::Size(size)) => {
                    let ours = self.journals.newest_root().map_or(0, |(size, _)| size);
                    if witnesses.told(self.index, size, ours) || size > checkpoint.size {
                        return false;
                    }
                }
                Err(error) => {
                    witnesses.failed(self.index, &error);
                    return false;
                }
            }
        }
        witnesses.failed(self.index, &AskError::Lie("one size after the other"));
        false
    }

    async fn ask(&self, old: u64, candidate: &Arc<Candidate>) -> Result<Answer, AskError> {
        let broken = |e: JournalError| AskError::Unreachable(format!("no proof from size {old}: {e}"));
        let proof = self.journals.root_consistency(old, candidate.checkpoint.size).await.map_err(broken)?;
        let (client, candidate) = (self.client.clone(), candidate.clone());
        let ask = move || client.ask(old, &proof, &candidate.note, &candidate.checkpoint.body);
        aside(ask).await.unwrap_or_else(|| Err(AskError::Unreachable("the asking thread ended".into())))
    }

    async fn keep(
        &self,
        candidate: &Arc<Candidate>,
        line: &crate::journal::checkpoint::NoteLine,
    ) -> std::io::Result<()> {
        let (dir, key) = (self.dir.clone(), self.client.key().clone());
        let (candidate, line) = (candidate.clone(), line.clone());
        let store = move || cosigned::store(&dir, &key, &candidate.note, &line);
        aside(store).await.unwrap_or_else(|| Err(std::io::Error::other("the storing thread ended")))
    }
}

/// Runs blocking work on a thread of its own: the runtime waits at its end for its blocking pool, but
/// a slow witness must not hold up the end of the service.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let run = move || drop(reply.send(work()));
    std::thread::Builder::new().name("witness".into()).spawn(run).ok()?;
    answer.await.ok()
}

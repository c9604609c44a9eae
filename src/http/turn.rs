//! Whose token is made next: work at the HSM is shared between clients, not taken by whoever asks most.
//!
//! So many tokens are made at once; each client that was here within the last second may have its even
//! share of them. Beyond it its requests wait in a line of its own, which is bounded in length and in
//! time, and lines are served in turn. What does not fit or waited too long is refused with 503 and
//! `Retry-After`; nothing of it has been recorded or signed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::limit::Limits;
use super::problem::Problem;
use crate::digest::Digest;

/// A client counts as present for so long after it last asked.
const PRESENT: Duration = Duration::from_secs(1);
/// How often those who left are looked for.
const SWEEP: Duration = Duration::from_millis(100);
/// A client's smallest share, however many there are.
const LEAST: u32 = 2;

/// The lines of all clients. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Inner>);

struct Inner {
    at_once: u32,
    waiting: usize,
    patience: Duration,
    lines: Mutex<Lines>,
}

struct Lines {
    working: u32,
    clients: HashMap<Digest, Line>,
    /// Clients with somebody in line, the next first.
    order: VecDeque<Digest>,
    swept: Instant,
}

struct Line {
    working: u32,
    waiting: VecDeque<oneshot::Sender<()>>,
    seen: Instant,
}

/// Leave to have a token made; gives the place to the next when dropped.
pub struct Turn {
    turns: Turns,
    client: Digest,
}

impl Turns {
    /// Lines without anybody in them.
    pub fn new(limits: &Limits) -> Self {
        let lines =
            Lines { working: 0, clients: HashMap::new(), order: VecDeque::new(), swept: Instant::now() };
        Self(Arc::new(Inner {
            at_once: limits.tokens_at_once.max(1),
            waiting: limits.tokens_waiting_per_client as usize,
            patience: Duration::from_millis(limits.tokens_wait_ms),
            lines: Mutex::new(lines),
        }))
    }

    /// A turn for one request of `client`, at once or after waiting in its line; 503 when the line is full
    /// or the wait too long.
    pub async fn take(&self, client: Digest, now: Instant) -> Result<Turn, Problem> {
        let Some(called) = self.enter(client, now)? else { return Ok(Turn { turns: self.clone(), client }) };
        let mut waiter = Waiter { turns: self, client, called };
        let outcome = tokio::time::timeout(self.0.patience, &mut waiter.called).await;
        match outcome {
            Ok(Ok(())) => Ok(Turn { turns: self.clone(), client }),
            _ => Err(too_late(self.0.patience)),
        }
    }

    /// `None`: the turn is there. Otherwise what will be told when it is.
    fn enter(&self, client: Digest, now: Instant) -> Result<Option<oneshot::Receiver<()>>, Problem> {
        let mut lines = self.lines();
        lines.sweep(now);
        let at_once = self.0.at_once;
        let line = lines.clients.entry(client).or_insert_with(|| Line::empty(now));
        line.seen = line.seen.max(now);
        if lines.may_work(&client, at_once) {
            lines.begin(&client);
            return Ok(None);
        }
        let Some(line) = lines.clients.get_mut(&client) else { return Ok(None) };
        if line.waiting.len() >= self.0.waiting {
            return Err(line_full(self.0.waiting));
        }
        let (caller, called) = oneshot::channel();
        line.waiting.push_back(caller);
        if line.waiting.len() == 1 {
            lines.order.push_back(client);
        }
        Ok(Some(called))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, client: &Digest) {
        let mut lines = self.lines();
        lines.working -= 1;
        if let Some(line) = lines.clients.get_mut(client) {
            line.working -= 1;
        }
        lines.call_next(self.0.at_once);
    }
}

impl Line {
    fn empty(now: Instant) -> Self {
        Self { working: 0, waiting: VecDeque::new(), seen: now }
    }
}

impl Lines {
    fn share(&self, at_once: u32) -> u32 {
        let present = u32::try_from(self.clients.len()).unwrap_or(u32::MAX).max(1);
        at_once.div_ceil(present).max(LEAST)
    }

    /// Nobody of its own is before it and its share is not used up.
    fn may_work(&self, client: &Digest, at_once: u32) -> bool {
        let free = |line: &Line| line.waiting.is_empty() && line.working < self.share(at_once);
        self.working < at_once && self.clients.get(client).is_some_and(free)
    }

    fn begin(&mut self, client: &Digest) {
        self.working += 1;
        if let Some(line) = self.clients.get_mut(client) {
            line.working += 1;
        }
    }

    /// Gives free places to the lines in turn.
    fn call_next(&mut self, at_once: u32) {
        let share = self.share(at_once);
        let mut passed_over = 0;
        while self.working < at_once && passed_over < self.order.len() {
            let Some(client) = self.order.pop_front() else { return };
            let Some(line) = self.clients.get_mut(&client) else { continue };
            if line.working >= share {
                passed_over += 1;
                self.order.push_back(client);
                continue;
            }
            // Who does not hear it has left.
            let called =
                std::iter::from_fn(|| line.waiting.pop_front()).any(|caller| caller.send(()).is_ok());
            if !line.waiting.is_empty() {
                self.order.push_back(client);
            }
            if called {
                passed_over = 0;
                self.begin(&client);
            }
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.clients.retain(|_, line| {
            line.working > 0 || !line.waiting.is_empty() || now.saturating_duration_since(line.seen) < PRESENT
        });
    }
}

/// Somebody in a line; leaves it when dropped.
struct Waiter<'a> {
    turns: &'a Turns,
    client: Digest,
    called: oneshot::Receiver<()>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.called.is_terminated() {
            return;
        }
        self.called.close();
        // Called in the same moment: the turn is given on.
        if self.called.try_recv().is_ok() {
            return self.turns.leave(&self.client);
        }
        let mut lines = self.turns.lines();
        if let Some(line) = lines.clients.get_mut(&self.client) {
            line.waiting.retain(|caller| !caller.is_closed());
            if line.waiting.is_empty() {
                lines.order.retain(|client| *client != self.client);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.leave(&self.client);
    }
}

fn line_full(waiting: usize) -> Problem {
    let detail = format!("{waiting} queries of this certificate are waiting already");
    Problem::new(503, "line-full", detail, "Ask again after Retry-After seconds, and less at once.")
        .retry_after(1)
}

fn too_late(patience: Duration) -> Problem {
    let detail = format!("no token could be begun within {} ms", patience.as_millis());
    Problem::new(503, "no-turn", detail, "Ask again after Retry-After seconds.").retry_after(1)
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;

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
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn turns(at_once: u32, waiting: u32) -> (Turns, Instant, Digest, Digest) {
        let limits = Limits {
            tokens_at_once: at_once,
            tokens_waiting_per_client: waiting,
            tokens_wait_ms: 60_000,
            ..Limits::default()
        };
        (Turns::new(&limits), Instant::now(), Digest::of(b"flood"), Digest::of(b"other"))
    }

    type Taking<'a> = Pin<Box<dyn Future<Output = Result<Turn, Problem>> + 'a>>;

    fn asked<'a>(turns: &'a Turns, client: Digest, now: Instant) -> (Taking<'a>, Option<Turn>) {
        let mut taking: Taking = Box::pin(turns.take(client, now));
        let turn = got(&mut taking);
        (taking, turn)
    }

    fn got(taking: &mut Taking) -> Option<Turn> {
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn.ok().expect("a turn")),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn a_client_alone_has_every_place_and_then_waits_in_order() {
        let (turns, now, flood, _) = turns(2, 8);
        let first = turns.take(flood, now).await.ok().unwrap();
        let _second = turns.take(flood, now).await.ok().unwrap();
        let (mut third, none) = asked(&turns, flood, now);
        let (mut fourth, also_none) = asked(&turns, flood, now);
        assert!(none.is_none() && also_none.is_none());
        drop(first);
        assert!(got(&mut fourth).is_none());
        assert!(got(&mut third).is_some());
        assert!(got(&mut fourth).is_some(), "the third turn was given back");
    }

    #[tokio::test]
    async fn another_client_is_called_before_the_rest_of_a_flood() {
        let (turns, now, flood, other) = turns(4, 100);
        let mut working: Vec<Turn> = Vec::new();
        for _ in 0..4 {
            working.push(turns.take(flood, now).await.ok().unwrap());
        }
        let mut flooding: Vec<Taking> = (0..50).map(|_| asked(&turns, flood, now).0).collect();
        let (mut others, none) = asked(&turns, other, now);
        assert!(none.is_none(), "all four places are taken");
        working.pop();
        assert!(flooding.iter_mut().all(|f| got(f).is_none()), "the flood has more than its half");
        let turn = got(&mut others);
        assert!(turn.is_some());
        // From now on the flood has two places of four, so the other's next query waits for nobody.
        working.pop();
        let (_, second) = asked(&turns, other, now);
        assert!(second.is_some());
    }

    #[tokio::test]
    async fn a_full_line_refuses_its_client_alone() {
        let (turns, now, flood, other) = turns(4, 1);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(turns.take(flood, now).await.ok().unwrap());
        }
        let (_waiting, none) = asked(&turns, flood, now);
        assert!(none.is_none());
        let refused = turns.take(flood, now).await.err().unwrap();
        assert_eq!((refused.status, refused.kind, refused.retry_after), (503, "line-full", Some(1)));
        let (mut others, _) = asked(&turns, other, now);
        held.pop();
        assert!(got(&mut others).is_some());
    }

    #[tokio::test]
    async fn who_waits_too_long_is_refused_and_leaves_no_trace() {
        let limits = Limits { tokens_at_once: 1, tokens_wait_ms: 1, ..Limits::default() };
        let (turns, now, client) = (Turns::new(&limits), Instant::now(), Digest::of(b"x"));
        let held = [turns.take(client, now).await.ok().unwrap()];
        let refused = turns.take(client, now).await.err().unwrap();
        assert_eq!((refused.status, refused.kind, refused.retry_after), (503, "no-turn", Some(1)));
        assert!(turns.lines().order.is_empty() && turns.lines().clients[&client].waiting.is_empty());
        drop(held);
        assert_eq!(turns.lines().working, 0);
    }

    #[tokio::test]
    async fn who_leaves_while_being_called_gives_the_place_on() {
        let (turns, now, flood, _) = turns(1, 8);
        let held = turns.take(flood, now).await.ok().unwrap();
        let (leaves, _) = asked(&turns, flood, now);
        let mut stays = pin!(turns.take(flood, now));
        assert!(stays.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(held);
        drop(leaves);
        assert!(stays.await.is_ok());
        assert_eq!(turns.lines().working, 0);
    }

    #[tokio::test]
    async fn clients_that_went_away_give_back_their_share() {
        let (turns, now, flood, other) = turns(4, 8);
        drop(turns.take(other, now).await.ok().unwrap());
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(turns.take(flood, now).await.ok().unwrap());
        }
        assert!(asked(&turns, flood, now).1.is_none(), "two are present");
        let later = now + PRESENT;
        assert!(asked(&turns, flood, later).1.is_some());
    }
}

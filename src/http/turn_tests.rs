//! Lines of clients, polled by hand.

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
        Poll::Ready(turn) => Some(turn.unwrap_or_else(|refusal| panic!("{}", refusal.detail))),
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

//! Prepare, record, sign, record, release: what happens when one of the steps does not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pechat::clock::ClockState;
use pechat::digest::{Digest, hex};
use pechat::keys::KeyError;
use pechat::timestamp::{Hash, query, token_info, verify_sha256};
use serde_json::json;

use crate::fixture::*;
use crate::{IMPRINT, decode};

fn ask() -> Vec<u8> {
    query(Hash::Sha256, &IMPRINT, None, true)
}

fn untrusted() -> ClockState {
    ClockState::Untrusted { reason: "step".into(), detail: "the clock was moved by 2 s".into() }
}

#[tokio::test]
async fn the_record_is_durable_before_the_device_signs_and_holds_what_is_signed() {
    let tsa = Tsa::new();
    let answer = tsa.ask(&ask()).await;
    let token = decode(&answer.reply);
    let info = token_info(&token.der).unwrap();
    let events = tsa.events.lock().unwrap().clone();
    let [Event::Recorded(id, record), Event::Signed(digest)] = &events[..] else { panic!("{events:?}") };
    let expected = json!({
        "serial": hex(id), "imprint_algorithm": "sha256", "imprint": hex(&IMPRINT),
        "gen_time": info.gen_time.iso8601(), "bound_us": record["bound_us"], "clock_state": "synchronised",
        "policy": POLICY, "unit": "tsu-1", "client": "client-of-the-test", "tbs_sha256": hex(digest),
    });
    assert_eq!(record, &expected);
    assert!(record["bound_us"].as_u64().unwrap() >= 3000);
    assert_eq!(hex(id).trim_start_matches("00"), info.serial.trim_start_matches("00"));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_signed() {
    let tsa = Tsa::new();
    tsa.journal_works.store(false, Ordering::SeqCst);
    let answer = tsa.ask(&ask()).await;
    assert_eq!((answer.outcome, answer.retry_after), ("systemFailure", Some(5)));
    assert!(tsa.openssl_text(&answer.reply).contains("the token could not be recorded"));
    assert_eq!(*tsa.events.lock().unwrap(), []);
}

#[tokio::test]
async fn without_a_journal_nothing_is_signed() {
    let hierarchy = Hierarchy::new();
    let authority = authority_of(&hierarchy, hierarchy.parts()).unwrap();
    assert_eq!(authority.answer(&ask(), "client").await.outcome, "systemFailure");
}

#[tokio::test]
async fn an_untrusted_clock_gives_no_token_and_says_why() {
    let tsa = Tsa::new();
    tsa.clock.set(untrusted(), Duration::from_millis(3));
    let answer = tsa.ask(&ask()).await;
    assert_eq!(answer.outcome, "timeNotAvailable");
    assert!(answer.retry_after.is_some());
    let text = tsa.openssl_text(&answer.reply);
    assert!(
        text.contains("the TSA's time source is not available") && text.contains("moved by 2 s"),
        "{text}"
    );
    assert_eq!(*tsa.events.lock().unwrap(), []);
    tsa.clock.set(ClockState::Synchronised, Duration::from_millis(3));
    assert_eq!(tsa.ask(&ask()).await.outcome, "granted");
}

#[tokio::test]
async fn holdover_gives_tokens_and_the_record_says_so() {
    let tsa = Tsa::new();
    tsa.clock.set(ClockState::Holdover, Duration::from_millis(150));
    let token = decode(&tsa.ask(&ask()).await.reply);
    assert_eq!(token.tst.accuracy.unwrap().millis, Some(200.into()));
    assert_eq!(tsa.records()[0].1["clock_state"], "holdover");
}

#[tokio::test]
async fn a_clock_that_changes_during_the_hsm_call_withholds_the_token_and_that_is_recorded() {
    let tsa = Tsa::with(
        Duration::from_millis(3),
        Box::new(|clock| {
            clock.set(untrusted(), Duration::from_millis(3));
            Ok(())
        }),
    );
    let answer = tsa.ask(&ask()).await;
    assert_eq!(answer.outcome, "timeNotAvailable");
    let records = tsa.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].1["withheld"], records[0].1["serial"]);
    assert!(records[1].1["reason"].as_str().unwrap().starts_with("timeNotAvailable: "));
    assert_ne!(records[0].0, records[1].0);
    assert!(matches!(tsa.events.lock().unwrap()[1], Event::Signed(_)));
}

#[tokio::test]
async fn every_fault_of_the_device_is_a_system_failure_with_its_reason() {
    for (fault, retry_after) in [
        (KeyError::Busy, Some(1)),
        (KeyError::Down("it crashed".into()), Some(5)),
        (KeyError::Refused("CKR_DEVICE_ERROR".into()), Some(5)),
    ] {
        let text = fault.to_string();
        let tsa = Tsa::with(Duration::from_millis(3), Box::new(move |_| Err(fault.clone())));
        let answer = tsa.ask(&ask()).await;
        assert_eq!((answer.outcome, answer.retry_after), ("systemFailure", retry_after), "{text}");
        assert!(tsa.openssl_text(&answer.reply).contains(&text));
        let records = tsa.records();
        assert_eq!(records[1].1["withheld"], records[0].1["serial"]);
    }
}

#[tokio::test]
async fn an_expired_unit_is_a_system_failure_at_each_request() {
    let hierarchy = Hierarchy::new();
    hierarchy.certify("unit", "issuing", UNIT_EXTENSIONS, -1);
    let tsa = Tsa::after(hierarchy, 0, Duration::from_millis(3), willing());
    let answer = tsa.ask(&ask()).await;
    assert_eq!((answer.outcome, answer.retry_after), ("systemFailure", None));
    assert!(tsa.authority.stamp_batch(Digest::of(b"")).await.unwrap_err().to_string().contains("valid from"));
}

#[tokio::test]
async fn a_unit_needs_its_own_key_its_own_issuer_and_policies_that_are_oids() {
    let hierarchy = Hierarchy::new();
    let error = |change: &dyn Fn(&mut pechat::timestamp::UnitParts)| {
        let mut parts = hierarchy.parts();
        change(&mut parts);
        authority_of(&hierarchy, parts).err().unwrap().to_string()
    };
    let other = Hierarchy::new();
    let foreign = error(&|p| {
        p.certificate = other.der("unit");
        p.chain = vec![other.der("issuing")];
    });
    assert!(foreign.contains("holds another key than the pinned one"), "{foreign}");
    assert!(error(&|p| p.chain = vec![other.der("issuing")]).contains("no issuer at hand"));
    assert!(error(&|p| p.policy = "1.2.x".into()).contains("\"1.2.x\" is not an object identifier"));
    assert!(error(&|p| p.accepted_policies.push("".into())).contains("is not an object identifier"));
    assert!(error(&|p| p.certificate.push(0)).contains("not an X.509 certificate"));
    assert!(error(&|p| p.key = pechat::keys::KeyLabel::new("tsu-2").unwrap()).contains("tsu-2"));
}

#[tokio::test]
async fn gen_time_waits_for_the_journals_last_time_and_never_falls_below_it() {
    let hierarchy = Hierarchy::new();
    let mark = jiff::Timestamp::now().as_microsecond() + 200_000;
    let tsa = Tsa::after(hierarchy, mark, Duration::from_millis(3), willing());
    let token = tsa.authority.stamp_batch(Digest::of(b"x")).await.unwrap();
    assert!(token_info(&token).unwrap().gen_time.0 >= mark);
}

#[tokio::test]
async fn a_clock_far_behind_the_journal_gives_no_token() {
    let later = jiff::Timestamp::now().as_microsecond() + 3_600_000_000;
    let tsa = Tsa::after(Hierarchy::new(), later, Duration::from_millis(3), willing());
    let answer = tsa.ask(&ask()).await;
    assert_eq!((answer.outcome, answer.retry_after), ("timeNotAvailable", Some(30)));
    assert!(tsa.openssl_text(&answer.reply).contains("behind the last token's time"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_callers_see_gen_times_that_do_not_decrease() {
    let tsa = Arc::new(Tsa::new());
    let callers = (0..8).map(|_| {
        let tsa = tsa.clone();
        tokio::spawn(async move {
            let mut last = 0;
            for _ in 0..25 {
                let at = decode(&tsa.ask(&ask()).await.reply).tst.gen_time.timestamp_millis();
                assert!(at >= last, "{at} after {last}");
                last = at;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(tsa.records().len(), 200);
}

#[tokio::test]
async fn a_batch_stamp_holds_its_certificates_and_is_not_recorded_here() {
    let tsa = Tsa::new();
    let imprint = Digest::of(b"root checkpoint");
    let token = tsa.authority.stamp_batch(imprint).await.unwrap();
    let facts = verify_sha256(&token, &imprint, &[tsa.hierarchy.der("root")], None).unwrap();
    assert_eq!(facts.policy, POLICY);
    assert_eq!(tsa.records(), []);
}

//! Lost entries return from receipts to their own places, or are named.

use std::path::Path;

use pechat::institution::InstitutionId;
use pechat::journal::control::Ordered;
use pechat::journal::epoch::{EpochChange, Why};
use pechat::journal::evidence::Evidence;
use pechat::journal::receipt::parse_single;
use pechat::journal::record::Header;
use pechat::journal::restore::Restore;
use pechat::journal::resurrect::Outcome;
use pechat::journal::verify::{Trust, verify_continuation, verify_head};
use pechat::journal::{JournalError, Journals, OwnJournal};

use super::detection::RolledBack;
use super::fixture::*;

/// Every receipt of the land journal.
async fn receipts(journals: &Journals) -> Vec<String> {
    let land = name("land");
    let mut all = Vec::new();
    for seq in 0..journals.info(&land).unwrap().size {
        all.push(journals.receipt(&land, seq).await.unwrap());
    }
    all
}

fn evidence<'t>(world: &World, texts: impl IntoIterator<Item = &'t String>) -> Evidence {
    let spki = world.spki();
    let mut evidence = Evidence::default();
    for text in texts {
        let trust = Trust { head_key_spki: Some(&spki), token: None };
        assert!(evidence.add(text.as_bytes(), &trust).is_ok());
    }
    evidence
}

fn restore<'a>(dir: &'a Path, institutions: &'a [String]) -> Restore<'a> {
    Restore { dir, site: SITE, segment_bytes: SEGMENT, institutions }
}

fn resurrect(dir: &Path, mut evidence: Evidence) -> Outcome {
    let institutions = ["another".to_owned(), "cadastre".to_owned()];
    let before = std::fs::read(segment(dir, 0)).ok();
    let dry = restore(dir, &institutions).dry_run(&mut evidence).unwrap();
    assert_eq!(std::fs::read(segment(dir, 0)).ok(), before, "a dry run changes nothing");
    let outcome = restore(dir, &institutions).run(&mut evidence).unwrap();
    assert_eq!(dry, outcome);
    outcome
}

#[tokio::test]
async fn every_acknowledged_entry_returns_and_the_root_log_goes_on() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let (land, acknowledged) = (name("land"), receipts(&journals).await);
    let old_head = journals.head(&land).await.unwrap();
    drop(journals);

    let outcome = resurrect(&rolled.old, evidence(&rolled.world, &acknowledged));
    assert!(outcome.reached && outcome.missing.is_empty(), "{outcome:?}");
    assert_eq!(outcome.restored["seal.example.gov/j/land"], 6);

    let journals = rolled.open(&rolled.old).await;
    assert!(journals.quarantine().is_none());
    assert_eq!(receipts(&journals).await, acknowledged, "each receipt is the same bytes again");
    // Retries give what was acknowledged; new records are sealed behind it.
    journals.seal(&land, submissions(0..10), None).await.unwrap();
    assert_eq!(journals.info(&land).unwrap().size, 11);
    let sealed = journals.seal(&land, submissions([10]), Some(11)).await.unwrap();
    rolled.world.check(&sealed[0]);
    // From the last head before the loss to the newest one.
    let head = |proof| verify_head(&proof, &Trust::default()).unwrap().head;
    let (old, new) = (head(old_head), head(journals.head(&land).await.unwrap()));
    let path = journals.consistency(&land, old.size, new.size).await.unwrap();
    verify_continuation(&old, &new, &path).unwrap();

    // The epoch change says so.
    let events = OwnJournal::Events;
    let last = journals.info(&events.into()).unwrap().size - 1;
    let statement = EpochChange::parse(&journals.detail(events, last).await.unwrap()).unwrap();
    assert_eq!((statement.why, statement.epoch), (Why::Resurrected, 2));
    assert_eq!(statement.description, "6 entries were restored from receipts");
    assert!(statement.given_up.is_empty() && statement.agreed_by.is_empty());
    let receipt = parse_single(&journals.receipt(&events.into(), last).await.unwrap()).unwrap();
    assert_eq!(receipt.entry.kind, 6);
}

#[tokio::test]
async fn range_receipts_as_the_api_gave_them_do_as_well() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let ranges = journals.seal(&name("land"), submissions(0..10), None).await.unwrap();
    drop(journals);
    let texts: Vec<String> = ranges.iter().map(|range| range.to_json()).collect();
    assert!(resurrect(&rolled.old, evidence(&rolled.world, &texts)).reached);
    assert!(rolled.open(&rolled.old).await.quarantine().is_none());
}

#[tokio::test]
async fn what_nobody_hands_in_is_named_and_the_quarantine_stays() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let acknowledged = receipts(&journals).await;
    drop(journals);
    // Entries 5 and 6 are nowhere; 4 is behind the backup already, 7 to 10 cannot stand without them.
    let some = acknowledged.iter().enumerate().filter(|(seq, _)| ![5, 6].contains(seq)).map(|(_, text)| text);
    let outcome = resurrect(&rolled.old, evidence(&rolled.world, some));
    assert!(!outcome.reached && outcome.restored.is_empty(), "{outcome:?}");
    let [missing] = outcome.missing.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((missing.origin.as_str(), missing.from, missing.until), ("seal.example.gov/j/land", 5, 7));
    assert!(outcome.stopped.unwrap().contains("entries of seal.example.gov/j/land below 11 are missing"));
    assert!(rolled.open(&rolled.old).await.quarantine().is_some());
    // The rest is found later: nothing was spoilt.
    let outcome = resurrect(&rolled.old, evidence(&rolled.world, &acknowledged));
    assert!(outcome.reached && outcome.missing.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn a_burnt_down_appliance_gets_every_entry_back_from_receipts_alone() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let (land, acknowledged) = (name("land"), receipts(&journals).await);
    let old_head = journals.head(&land).await.unwrap();
    drop(journals);
    let ashes = rolled.dir.path().join("ashes");
    let outcome = resurrect(&ashes, evidence(&rolled.world, &acknowledged));
    // The appliance's own journals are in nobody's receipts: that is for two officers to record.
    assert!(!outcome.reached && outcome.missing.is_empty(), "{outcome:?}");
    assert_eq!(outcome.restored["seal.example.gov/j/land"], 11);
    let journals = rolled.open(&ashes).await;
    assert!(journals.quarantine().is_some());
    assert_eq!(journals.info(&land).unwrap().size, 11);
    // After the officers' record the journal goes on from the head that was signed before the fire.
    journals.settle(&gap(&journals)).await.unwrap();
    journals.seal(&land, submissions(0..11), None).await.unwrap();
    assert_eq!(journals.info(&land).unwrap().size, 13, "charter, ten records, epoch change, the new record");
    let head = |proof| verify_head(&proof, &Trust::default()).unwrap().head;
    let (old, new) = (head(old_head), head(journals.head(&land).await.unwrap()));
    assert_eq!(old.size, 11);
    let path = journals.consistency(&land, old.size, new.size).await.unwrap();
    verify_continuation(&old, &new, &path).unwrap();
    for (seq, text) in acknowledged.iter().enumerate() {
        let (had, has) = (parse_single(text).unwrap(), journals.receipt(&land, seq as u64).await.unwrap());
        assert_eq!(parse_single(&has).unwrap().entry, had.entry);
        rolled.world.check_text(&has);
    }
}

#[tokio::test]
async fn a_resurrection_that_was_cut_short_is_started_again() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let acknowledged = receipts(&journals).await;
    drop(journals);
    assert!(resurrect(&rolled.old, evidence(&rolled.world, &acknowledged)).reached);
    let whole = std::fs::read(segment(&rolled.old, 0)).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while let Ok(header) = Header::decode(&whole[at..]) {
        records.push((at, header.epoch));
        at += header.total();
    }
    let (last, epoch) = records[records.len() - 1];
    assert_eq!((epoch, records[records.len() - 2].1), (2, 1));
    for cut in [last, last + 600, records[records.len() - 2].0] {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        std::fs::write(segment(&rolled.old, 0), bytes).unwrap();
        let outcome = restore(&rolled.old, &[]).run(&mut evidence(&rolled.world, &acknowledged)).unwrap();
        assert!(outcome.reached, "{outcome:?}");
        let journals = rolled.open(&rolled.old).await;
        assert!(journals.quarantine().is_none() && journals.epoch() == 2);
        assert_eq!(receipts(&journals).await, acknowledged);
    }
}

#[tokio::test]
async fn receipts_of_another_key_and_altered_ones_return_nothing() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let acknowledged = receipts(&journals).await;
    drop(journals);
    let spki = rolled.world.spki();
    let ours = Trust { head_key_spki: Some(&spki), token: None };
    let strange = p256_spki();
    let other = Trust { head_key_spki: Some(&strange), token: None };
    let mut evidence = Evidence::default();
    assert!(evidence.add(acknowledged[7].as_bytes(), &other).unwrap_err().contains("trusted head key"));
    let altered = acknowledged[7].replacen("index ", "index 1", 1);
    assert!(evidence.add(altered.as_bytes(), &ours).is_err());
    assert_eq!(evidence.add(b"notes of an officer", &ours), Ok(0));
    assert!(evidence.entries.is_empty() && evidence.seals.is_empty());
}

fn p256_spki() -> Vec<u8> {
    use p256::pkcs8::EncodePublicKey;
    let key = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    key.verifying_key().to_public_key_der().unwrap().into_vec()
}

/// The lost tail has a hand-over, the new owner's entries and a freeze.
#[tokio::test]
async fn a_lost_hand_over_returns_with_its_statement_and_a_lost_freeze_stays_final_through_a_gap() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.now).await.unwrap();
    let land = name("land");
    let heir = InstitutionId::try_from("ministry".to_owned()).unwrap();
    let order = |institution: &InstitutionId, to: Option<&InstitutionId>| Ordered {
        institution: institution.clone(),
        to: to.cloned(),
        description: "Order 17".into(),
        agreed_by: Vec::new(),
    };
    let over = journals.control(&land, order(&institution(), Some(&heir))).await.unwrap().seq;
    journals.seal_as(&heir, &land, submissions([50, 51]), None).await.unwrap();
    let end = journals.control(&land, order(&heir, None)).await.unwrap().seq;
    let cars = name("cars");
    journals.create(cars.clone(), heir.clone()).await.unwrap();
    journals.seal(&cars, submissions([1]), None).await.unwrap();
    let acknowledged = receipts(&journals).await;
    let statements = journals.statements(&land).unwrap().into_iter();
    let statements: Vec<String> =
        statements.map(|(_, text)| String::from_utf8(text.unwrap()).unwrap()).collect();
    assert_eq!((statements.len(), end), (2, over + 3));
    drop(journals);

    let without = rolled.dir.path().join("without");
    copy(&rolled.old, &without);
    let outcome = resurrect(&without, evidence(&rolled.world, &acknowledged));
    let [missing] = outcome.missing.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(
        (missing.from, missing.until),
        (over, over + 1),
        "nothing says whose the journal is from there on"
    );

    // Of the freeze the entry alone will do.
    let told = acknowledged.iter().chain(&statements[..1]);
    let outcome = resurrect(&rolled.old, evidence(&rolled.world, told));
    assert!(outcome.missing.is_empty(), "{outcome:?}");
    let journals = rolled.open(&rolled.old).await;
    assert_eq!(journals.tenure(&land).unwrap().owner, Some(heir.clone()));
    assert_eq!(journals.info(&land).unwrap().frozen, Some(end));
    let kept = journals.statements(&land).unwrap();
    assert_eq!(kept, [(over, Some(statements[0].clone().into_bytes())), (end, None)]);
    if journals.quarantine().is_some() {
        journals.settle(&gap(&journals)).await.unwrap();
    }
    assert_eq!(journals.info(&land).unwrap().size, end + 1, "no epoch change stands behind the end");
    let refused = journals.seal_as(&heir, &land, submissions([99]), None).await;
    assert_eq!(refused, Err(JournalError::Frozen { journal: "land".into(), seq: end }));
}

//! The end of a journal and its way to another owner: log order decides between them and every seal,
//! and what was sealed before stays provable.

#[path = "journal/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use fixture::*;
use pechat::digest::Digest;
use pechat::institution::InstitutionId;
use pechat::journal::control::Ordered;
use pechat::journal::epoch::AgreedBy;
use pechat::journal::tenure::{Event, Statement};
use pechat::journal::verify::{Trust, verify_export};
use pechat::journal::{JournalError, JournalName, Journals, OwnJournal};

fn ministry() -> InstitutionId {
    InstitutionId::try_from("ministry".to_owned()).unwrap()
}

/// The order of two officers; of `from`'s journal.
fn order(from: InstitutionId, to: Option<InstitutionId>) -> Ordered {
    let agreed_by = |person: &str| AgreedBy {
        person: format!("operator/{person}"),
        certificate: Digest::of(person.as_bytes()),
    };
    Ordered {
        institution: from,
        to,
        description: "Order 17 of 24 November 2026".into(),
        agreed_by: vec![agreed_by("ana"), agreed_by("boris")],
    }
}

async fn freeze(journals: &Journals, journal: &JournalName) -> Result<u64, JournalError> {
    journals.control(journal, order(institution(), None)).await.map(|recorded| recorded.seq)
}

async fn hand_over(journals: &Journals, journal: &JournalName) -> Result<u64, JournalError> {
    journals.control(journal, order(institution(), Some(ministry()))).await.map(|recorded| recorded.seq)
}

/// Seals one digest for an institution; its sequence.
async fn seal_as(
    journals: &Journals,
    by: &InstitutionId,
    journal: &JournalName,
    number: u64,
) -> Result<u64, JournalError> {
    let receipts = journals.seal_as(by, journal, submissions([number]), None).await?;
    Ok(receipts[0].first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_journal_takes_nothing_more_and_answers_everything_even_after_a_restart() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let before = journals.seal_as(&institution(), &land, submissions(0..5), None).await.unwrap();
    let seq = freeze(&journals, &land).await.unwrap();
    assert_eq!((seq, journals.info(&land).unwrap().frozen), (6, Some(6)));

    let mut journals = journals;
    for round in 0..3 {
        let ended = JournalError::Frozen { journal: "land".into(), seq };
        for by in [institution(), ministry()] {
            assert_eq!(seal_as(&journals, &by, &land, 99).await, Err(ended.clone()), "round {round}");
        }
        assert_eq!(journals.seal(&land, submissions([98]), Some(7)).await, Err(ended.clone()));
        assert_eq!(freeze(&journals, &land).await, Err(ended.clone()));
        assert_eq!(hand_over(&journals, &land).await, Err(ended.clone()));
        let mixed = journals.seal_as(&institution(), &land, submissions([2, 97]), None).await;
        assert_eq!(mixed, Err(ended));
        let again = journals.seal_as(&institution(), &land, submissions(0..5), None).await.unwrap();
        assert_eq!(again, before, "what was sealed before keeps its receipts");
        assert_eq!(journals.info(&land).unwrap().size, 7);
        drop(journals);
        journals = world.open(dir.path()).await.unwrap();
        assert_eq!(journals.info(&land).unwrap().frozen, Some(seq), "the disk keeps it frozen");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_final_record_is_sealed_stated_and_the_last_of_the_export() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    journals.seal(&land, submissions(0..3), None).await.unwrap();
    let seq = freeze(&journals, &land).await.unwrap();
    // Any later seal of another journal brings the head over it; the sealer also does so by itself.
    let cars = name("cars");
    journals.create(cars.clone(), institution()).await.unwrap();
    journals.seal(&cars, submissions([1]), None).await.unwrap();

    let statements = journals.statements(&land).unwrap();
    assert_eq!(statements.len(), 1);
    let text = statements[0].1.clone().unwrap();
    let said = Statement::parse(&text).unwrap();
    assert_eq!((said.event, said.seq, said.institution.clone()), (Event::Frozen, seq, institution()));
    assert_eq!(said.agreed_by.len(), 2);
    let (at, digest) = world.check_text(&journals.receipt(&land, seq).await.unwrap());
    assert_eq!((at, digest), (seq, Digest::of(&text)));
    let events: JournalName = OwnJournal::Events.into();
    let last = journals.info(&events).unwrap().size - 1;
    assert_eq!(journals.detail(OwnJournal::Events, last).await.unwrap(), text, "own.events has it too");

    let mut bytes = Vec::new();
    let mut export = journals.export(&land).await.unwrap();
    while let Some(part) = export.parts.recv().await {
        bytes.extend(part.unwrap());
    }
    let spki = world.spki();
    let facts = verify_export(&bytes[..], &Trust { head_key_spki: Some(&spki), token: None }).unwrap();
    let frozen = facts.frozen.unwrap();
    assert_eq!((frozen.seq, frozen.statement, facts.count), (seq, Digest::of(&text), seq + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_freeze_and_racing_seals_each_stands_before_the_end_or_is_refused() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let sealing = (0..200).map(|number| {
        let (journals, land) = (journals.clone(), land.clone());
        tokio::spawn(async move { seal_as(&journals, &institution(), &land, number).await })
    });
    let sealing: Vec<_> = sealing.collect();
    let seq = freeze(&journals, &land).await.unwrap();
    let late = (200..230).map(|number| {
        let (journals, land) = (journals.clone(), land.clone());
        tokio::spawn(async move { seal_as(&journals, &institution(), &land, number).await })
    });
    let late: Vec<_> = late.collect();
    let mut sealed = 0;
    for each in sealing.into_iter().chain(late) {
        match each.await.unwrap() {
            Ok(at) => {
                assert!(at < seq, "{at} was acknowledged, the end is {seq}");
                sealed += 1;
            }
            Err(error) => assert_eq!(error, JournalError::Frozen { journal: "land".into(), seq }),
        }
    }
    assert_eq!(journals.info(&land).unwrap().size, seq + 1);
    assert_eq!(seq, sealed + 1, "charter, what was acknowledged, the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_racing_seals_is_decided_by_log_order() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let before = journals.seal_as(&institution(), &land, submissions([900]), None).await.unwrap();
    let start = |by: InstitutionId, numbers: std::ops::Range<u64>| {
        let each = numbers.map(|number| {
            let (journals, land, by) = (journals.clone(), land.clone(), by.clone());
            tokio::spawn(async move { seal_as(&journals, &by, &land, number).await })
        });
        each.collect::<Vec<_>>()
    };
    let (old, new) = (start(institution(), 0..150), start(ministry(), 200..350));
    let seq = hand_over(&journals, &land).await.unwrap();
    let (old_late, new_late) = (start(institution(), 400..420), start(ministry(), 500..520));
    for each in old.into_iter().chain(old_late) {
        match each.await.unwrap() {
            Ok(at) => assert!(at < seq, "the old owner sealed {at} after {seq}"),
            Err(error) => {
                assert_eq!(error, JournalError::NotOwner { journal: "land".into(), by: "cadastre".into() });
            }
        }
    }
    for each in new {
        match each.await.unwrap() {
            Ok(at) => assert!(at > seq, "the new owner sealed {at} before {seq}"),
            Err(error) => assert!(matches!(error, JournalError::NotOwner { .. }), "{error}"),
        }
    }
    for each in new_late {
        assert!(each.await.unwrap().unwrap() > seq, "the new owner seals");
    }
    let again = journals.seal_as(&institution(), &land, submissions([900]), None).await.unwrap();
    assert_eq!(again, before, "what the old owner sealed keeps its receipts");
    world.check(&again[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_knows_the_owner_and_a_journal_may_go_back_and_end() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    hand_over(&journals, &land).await.unwrap();
    drop(journals);

    let journals = world.open(dir.path()).await.unwrap();
    assert_eq!(journals.info(&land).unwrap().institution, Some(ministry()));
    assert_eq!(journals.tenure(&land).unwrap().former, [institution()]);
    assert!(seal_as(&journals, &institution(), &land, 1).await.is_err());
    let outdated = hand_over(&journals, &land).await;
    assert!(matches!(outdated, Err(JournalError::NotOwner { .. })), "the order names the old owner");
    // The same order twice has two entries: the sequence tells them apart.
    journals.control(&land, order(ministry(), Some(institution()))).await.unwrap();
    hand_over(&journals, &land).await.unwrap();
    assert_eq!(seal_as(&journals, &ministry(), &land, 2).await, Ok(4));
    journals.control(&land, order(ministry(), None)).await.unwrap();
    let kinds = journals.statements(&land).unwrap().into_iter();
    let kinds: Vec<_> =
        kinds.map(|(seq, text)| (seq, Statement::parse(&text.unwrap()).unwrap().event)).collect();
    let (over, end) = (Event::HandedOver, Event::Frozen);
    assert_eq!(kinds, [(1, over), (2, over), (3, over), (5, end)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cannot_be_are_refused_and_change_nothing() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let nowhere = freeze(&journals, &name("nowhere")).await;
    assert_eq!(nowhere, Err(JournalError::Unknown("nowhere".into())));
    for own in OwnJournal::ALL {
        let refused = freeze(&journals, &own.into()).await;
        assert!(matches!(refused, Err(JournalError::NotOwner { .. })), "{own:?}: {refused:?}");
    }
    let mut silent = order(institution(), None);
    silent.description = " ".into();
    let refused = journals.control(&land, silent).await;
    assert!(matches!(refused, Err(JournalError::NotNow(_))), "{refused:?}");
    let nobody = journals.control(&land, order(institution(), Some(institution()))).await;
    assert!(matches!(nobody, Err(JournalError::NotNow(_))), "{nobody:?}");
    world.untrust_clock();
    let untimed = freeze(&journals, &land).await;
    assert!(matches!(untimed, Err(JournalError::NotNow(_))), "{untimed:?}");
    world.trust_clock();
    assert_eq!(journals.info(&land).unwrap().size, 1);
    assert_eq!(seal_as(&journals, &institution(), &land, 1).await, Ok(1));
}

//! A recorded gap: sealing goes on in a new epoch that every journal shows.

use pechat::digest::Digest;
use pechat::journal::epoch::{EpochChange, MAX_DESCRIPTION};
use pechat::journal::known::publish;
use pechat::journal::verify::{Trust, verify_export};
use pechat::journal::{JournalError, OwnJournal};

use super::detection::RolledBack;
use super::fixture::*;

#[tokio::test]
async fn sealing_goes_on_in_a_new_epoch_and_every_journal_shows_it() {
    let rolled = RolledBack::new().await;
    let journals = rolled.open(&rolled.old).await;
    let said = gap(&journals);
    let recorded = journals.settle(&said).await.unwrap();
    assert!(journals.quarantine().is_none());
    assert_eq!(journals.epoch(), 2);
    let land = name("land");
    let receipt = journals.seal(&land, submissions([70]), Some(6)).await.unwrap();
    rolled.world.check(&receipt[0]);
    assert_eq!(receipt[0].first, 6, "entry 5 is the epoch change");

    let text = journals.detail(OwnJournal::Events, recorded.seq).await.unwrap();
    assert_eq!(EpochChange::parse(&text).unwrap(), said);
    assert!(said.given_up[0].note.as_ref().unwrap().starts_with("seal.example.gov/root\n"));
    for journal in journals.list() {
        let mut parts = journals.export(&journal.name).await.unwrap().parts;
        let mut export = Vec::new();
        while let Some(part) = parts.recv().await {
            export.extend(part.unwrap());
        }
        let spki = rolled.world.spki();
        let trust = Trust { head_key_spki: Some(&spki), token: None };
        let facts = verify_export(export.as_slice(), &trust).unwrap();
        let [epoch] = facts.epochs.as_slice() else { panic!("{}: {:?}", journal.origin, facts.epochs) };
        assert_eq!(epoch.statement, Digest::of(&text));
    }

    // The head that was given up is no contradiction any more, while the new ones are known.
    publish(&rolled.dir.path().join("copy"), &journals.root_checkpoint().await.unwrap()).unwrap();
    drop(journals);
    let mut known = rolled.known();
    assert!(known.read(&rolled.dir.path().join("copy"), SITE, &rolled.world.spki()));
    let journals = rolled.world.open_knowing(&rolled.old, known.clone()).await.unwrap();
    assert!(journals.quarantine().is_none());
    assert_eq!(journals.epoch(), 2);
    drop(journals);
    // The lost branch, found later, is what is out of date now.
    let journals = rolled.world.open_knowing(&rolled.now, known).await.unwrap();
    assert!(journals.quarantine().is_some());
}

#[tokio::test]
async fn a_burnt_down_appliance_begins_anew_on_record() {
    let rolled = RolledBack::new().await;
    let ashes = rolled.dir.path().join("ashes");
    let journals = rolled.open(&ashes).await;
    journals.settle(&gap(&journals)).await.unwrap();
    let land = land(&journals).await;
    journals.seal(&land, submissions([1]), None).await.unwrap();
    let events = journals.detail(OwnJournal::Events, 1).await.unwrap();
    assert_eq!(EpochChange::parse(&events).unwrap().size, 0);
    drop(journals);
    let journals = rolled.open(&ashes).await;
    assert!(journals.quarantine().is_none() && journals.epoch() == 2);
}

#[tokio::test]
async fn a_statement_that_does_not_fit_changes_nothing() {
    let rolled = RolledBack::new().await;
    let journals = rolled.open(&rolled.old).await;
    let good = gap(&journals);
    let changes: [fn(&mut EpochChange); 4] = [
        |s| s.epoch = 1,
        |s| s.event = "start".into(),
        |s| s.description = "x".repeat(MAX_DESCRIPTION + 1),
        |s| s.given_up = vec![s.given_up[0].clone(); 65],
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(matches!(journals.settle(&bad).await, Err(JournalError::NotNow(_))));
        assert!(journals.quarantine().is_some());
    }
    super::detection::writes_nothing(&rolled.world, &rolled.old, &journals).await;
    drop(journals);
    // Without a quarantine there is nothing to settle.
    let journals = rolled.open(&rolled.now).await;
    assert!(matches!(journals.settle(&good).await, Err(JournalError::NotNow(_))));
}

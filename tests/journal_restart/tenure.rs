//! Owners and the freeze outlive a start that does not read their control entries again.

use pechat::institution::InstitutionId;
use pechat::journal::control::Ordered;
use pechat::journal::epoch::AgreedBy;

use super::*;

fn order(from: &InstitutionId, to: Option<&InstitutionId>) -> Ordered {
    let agreed = |who: &str| AgreedBy { person: who.into(), certificate: Digest::of(who.as_bytes()) };
    Ordered {
        institution: from.clone(),
        to: to.cloned(),
        description: "Order 17".into(),
        agreed_by: vec![agreed("operator/ana"), agreed("operator/boris")],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_from_a_snapshot_knows_the_owner_and_the_freeze() {
    let (world, dir, name) = (World::new(), tempfile::tempdir().unwrap(), name("land"));
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    land(&journals).await;
    let mayor = journals.info(&name).unwrap().institution.unwrap();
    let ministry = InstitutionId::try_from("ministry".to_owned()).unwrap();
    journals.control(&name, order(&mayor, Some(&ministry))).await.unwrap();
    journals.seal(&name, submissions(0..100), None).await.unwrap();
    let handed_over = journals.tenure(&name).unwrap();
    assert_eq!((&handed_over.owner, &*handed_over.former), (&Some(ministry.clone()), &[mayor][..]));
    drop(journals);

    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    assert_eq!(journals.stats().replayed_bytes, 0, "from the snapshot");
    assert_eq!(journals.tenure(&name).unwrap(), handed_over);
    let said = journals.statements(&name).unwrap();
    assert!(matches!(&said[..], [(1, Some(text))] if !text.is_empty()), "{said:?}");
    journals.control(&name, order(&ministry, None)).await.unwrap();
    let frozen = journals.tenure(&name).unwrap();
    assert_eq!(frozen.frozen, Some(102), "charter, hand-over, a hundred seals");
    drop(journals);

    for replay_all in [false, true] {
        let journals = world.open_tuned(dir.path(), Tuning { replay_all, ..tuning() }).await.unwrap();
        assert_eq!(journals.stats().replayed_bytes > 0, replay_all);
        assert_eq!(journals.tenure(&name).unwrap(), frozen);
        let refused = journals.seal(&name, submissions([7000]), None).await.unwrap_err();
        assert!(matches!(refused, JournalError::Frozen { seq: 102, .. }), "{refused}");
        let again = journals.seal(&name, submissions(0..100), None).await.unwrap();
        assert_eq!(again[0].first, 2, "receipts are still given");
    }
}

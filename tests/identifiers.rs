//! Register numbers: never twice, whatever restarts, races or clocks do.

#[path = "journal/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use std::collections::HashSet;
use std::sync::Arc;

use fixture::{World, institution};
use pechat::clock::system::{Machine, MachineTime};
use pechat::identifier::{IdentifierError, IdentifierSettings, Identifiers, Number};
use pechat::journal::Journals;

fn office(world: &World, journals: &Journals) -> Identifiers {
    let codes = [(institution(), "7500".to_owned())].into();
    let settings = IdentifierSettings { codes, ..IdentifierSettings::default() };
    Identifiers::new(&settings, journals.clone(), world.clock()).unwrap()
}

async fn take(office: &Identifiers, count: u32) -> Vec<Number> {
    office.issue(&institution(), "cadastre/register", count).await.unwrap().numbers
}

#[tokio::test]
async fn racing_clients_and_restarts_never_get_a_number_twice() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let mut seen = HashSet::new();
    for round in 1..=4 {
        let journals = world.open(dir.path()).await.unwrap();
        let office = office(&world, &journals);
        for _ in 0..7 {
            let (a, b) = tokio::join!(take(&office, 3), take(&office, 2));
            assert!(a.into_iter().chain(b).all(|number| seen.insert(number)), "round {round}");
        }
        assert_eq!(seen.len(), round * 35);
    }
}

#[tokio::test]
async fn two_offices_on_one_journal_never_hand_out_one_number_both() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let journals = world.open(dir.path()).await.unwrap();
    let (one, other) = (office(&world, &journals), office(&world, &journals));
    let first = take(&one, 1).await;
    assert_ne!(take(&other, 1).await, first);
    // The first office believes that the second run is free: the journal knows better.
    let outcome = one.issue(&institution(), "cadastre/another", 1).await;
    assert!(matches!(outcome, Err(IdentifierError::Journal(_))), "{outcome:?}");
    assert_ne!(take(&one, 1).await, first);
}

#[tokio::test]
async fn without_trusted_time_there_is_no_number() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let journals = world.open(dir.path()).await.unwrap();
    let office = office(&world, &journals);
    world.untrust_clock();
    let outcome = office.issue(&institution(), "cadastre/register", 1).await;
    assert!(matches!(outcome, Err(IdentifierError::NotNow(_))), "{outcome:?}");
}

#[tokio::test]
async fn what_cannot_be_numbered_is_refused_by_name() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let journals = world.open(dir.path()).await.unwrap();
    let office = office(&world, &journals);
    for count in [0, 1001] {
        let outcome = office.issue(&institution(), "c", count).await;
        assert_eq!(outcome, Err(IdentifierError::Count(count)));
    }
    let stranger = pechat::institution::InstitutionId::try_from("tax-office".to_owned()).unwrap();
    let outcome = office.issue(&stranger, "c", 1).await;
    assert_eq!(outcome, Err(IdentifierError::NoCode("tax-office".into())));
}

/// A machine that stands still at a day of 2026.
struct DayOf2026(i64);

impl Machine for DayOf2026 {
    fn read(&self) -> MachineTime {
        // 2026-01-01T12:00:00Z and the days after it.
        let now = (1_767_268_800 + (self.0 - 1) * 86_400) * 1_000_000_000;
        MachineTime { realtime: now, monotonic: now, raw: now, window: 0 }
    }
    fn asleep(&self) -> i64 {
        0
    }
    fn kernel_unsynchronised(&self) -> Option<bool> {
        Some(false)
    }
}

#[tokio::test]
async fn a_clock_set_back_by_days_repeats_no_number_of_an_earlier_day() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = HashSet::new();
    let mut days = Vec::new();
    for day in [60, 61, 60, 59, 61, 60] {
        let world = World::on(Arc::new(DayOf2026(day)));
        let journals = world.open(dir.path()).await.unwrap();
        let office = office(&world, &journals);
        for number in [take(&office, 3).await, take(&office, 2).await].concat() {
            let text = number.to_string();
            assert_eq!(&text[..9], format!("267500{day:03}"), "{text}");
            assert!(seen.insert(text.clone()), "{text} on day {day}");
            days.push(text);
        }
    }
    let of_day_60 = days.iter().filter(|text| &text[6..9] == "060");
    let increments: Vec<u32> = of_day_60.map(|text| text[9..15].parse().unwrap()).collect();
    assert_eq!(increments, (1..=15).collect::<Vec<_>>(), "each day goes on where it stood");
}

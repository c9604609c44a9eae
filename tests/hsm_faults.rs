//! Every fault of an HSM that the fault module knows, against the running appliance under load: clients are told
//! why, nothing hangs, nothing is lost or signed twice, and signing works again when the cause is gone.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
#[path = "hsm_faults/ledger.rs"]
mod ledger;
#[path = "hsm_faults/load.rs"]
mod load;
#[path = "hsm_faults/rig.rs"]
mod rig;
#[path = "hsm_faults/rows.rs"]
mod rows;
#[path = "hsm_faults/schedule.rs"]
mod schedule;
mod token_copy;

use rig::Rig;
use rows::{Row, Seen};
use rustix::process::Signal;

/// Schedules of random faults: `PECHAT_FAULT_SCHEDULES`, else 20.
fn schedules() -> u64 {
    std::env::var("PECHAT_FAULT_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn every_named_fault_is_told_survived_and_costs_no_signature() {
    let mut rig = Rig::start();
    let rows = rows::all();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for row in &rows {
        run(&mut rig, row);
    }
    rig.signal_signer(Signal::STOP);
    rig.wait_for_refusal("signer-stopped", "did not answer");
    println!("{:45} signing again after {:?}", "signer-stopped", rig.recover());
    rig.signal_signer(Signal::KILL);
    println!("{:45} signing again after {:?}", "signer-killed", rig.recover());
    let ledger = rig.finish();
    println!("{} named faults; {ledger}", rows.len() + 2);
}

#[test]
fn random_schedules_of_faults_cost_no_signature() {
    let mut rig = Rig::start();
    for seed in 1..=schedules() {
        rig.apply(&schedule::plan(seed));
        std::thread::sleep(schedule::length(seed));
        let took = rig.recover();
        println!("schedule {seed:3}: signing again after {took:?}");
    }
    let ledger = rig.finish();
    println!("{} schedules; {ledger}", schedules());
}

fn run(rig: &mut Rig, row: &Row) {
    rig.apply(row.plan);
    rig.wait_until_hit(row);
    match row.seen {
        Seen::Nothing => rig.wait_for_successes(row.name),
        Seen::Reason(words) => rig.wait_for_refusal(row.name, words),
        Seen::Operator(words) => {
            rig.wait_for_refusal(row.name, words);
            rig.assert_tried_once(row.name);
            rig.restart_healed();
        }
        Seen::Frozen => {
            rig.wait_for_frozen(row.name);
            rig.restart_healed();
        }
    }
    let took = rig.recover();
    println!("{:45} signing again after {took:?}", row.name);
}

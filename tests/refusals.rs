//! Bad input of every kind gets the described error, nothing panics, and the appliance works as before.
//!
//! One appliance is asked everything; each check is a sentence, and all that do not hold are listed at
//! the end.

#[path = "refusals/access.rs"]
mod access;
#[allow(dead_code)] // each file that uses the appliance uses a part of its fixture
mod appliance;
#[path = "refusals/certificates.rs"]
mod certificates;
#[path = "refusals/clients.rs"]
mod clients;
#[path = "refusals/commands.rs"]
mod commands;
#[path = "refusals/identifiers.rs"]
mod identifiers;
#[path = "refusals/journals.rs"]
mod journals;
#[allow(dead_code)]
mod pki;
#[path = "refusals/timestamps.rs"]
mod timestamps;
#[allow(dead_code)]
mod wire;
#[path = "refusals/world.rs"]
mod world;

use world::World;

#[test]
fn bad_input_of_every_kind_gets_the_described_error_and_nothing_panics() {
    let mut world = World::start();
    timestamps::all(&world);
    journals::all(&world);
    identifiers::all(&world);
    access::all(&world);
    certificates::all(&world);
    clients::all(&world);
    commands::all(&world);
    world.check("a stamp, a seal and the signer are as before all that", |w| {
        w.works();
        assert_eq!(w.appliance.signer_pid(), w.appliance.env("PECHAT_SIGNER_PID").parse().ok());
    });
    commands::on_a_stopped_appliance(&mut world);
    world.check("a stamp and a seal succeed after the restart", World::works);
    world.end();
}

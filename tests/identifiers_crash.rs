//! `kill -9` of the real appliance while registers take numbers: nobody ever gets a number twice.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
mod token_copy;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use appliance::{Appliance, refused, run, wait_for};
use token_copy::TokenCopy;

/// How often the service is killed.
const KILLS: usize = 20;
/// Clients that ask at the same time.
const CLIENTS: usize = 3;

#[test]
fn no_kill_makes_the_appliance_hand_out_a_number_twice() {
    let mut appliance = Appliance::start();
    let token = TokenCopy::take(&appliance.path("demo/hsm/tokens"));
    let url = format!("{}/v1/identifiers", appliance.env("PECHAT_URL"));
    let ask = || -> Vec<&'static str> { vec!["-X", "POST", "-H", "content-type: application/json"] };
    let known = ["PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY"].map(|name| appliance.env(name).to_owned());
    let (taken, done) = (Mutex::new(Vec::<String>::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (taken, done, url, [ca, cert, key]) = (&taken, &done, &url, &known);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut curl = std::process::Command::new("curl");
                    curl.args(["-s", "--max-time", "20", "--cacert", ca, "--cert", cert, "--key", key]);
                    curl.args(ask()).args(["-d", &format!("{{\"count\":{}}}", client + 1), url]);
                    let answer = curl.output().expect("curl").stdout;
                    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
                    let numbers = answer["identifiers"].as_array().cloned().unwrap_or_default();
                    let numbers = numbers.iter().map(|number| number.as_str().expect("text").to_owned());
                    taken.lock().expect("the list").extend(numbers);
                }
            });
        }
        let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
        for kill in 0..KILLS {
            let before = taken.lock().expect("the list").len();
            wait_for("numbers after a start", || taken.lock().expect("the list").len() > before);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(kill as u64);
            std::thread::sleep(Duration::from_millis(seed >> 57));
            appliance.kill_serve();
            token.heal();
            appliance.start_serve();
        }
        done.store(true, Ordering::Relaxed);
    });
    appliance.wait_until_ready();
    let last = run(&mut appliance.client(&["identifier", "--count", "1000"]));
    let mut taken = taken.into_inner().expect("the list");
    taken.extend(last.lines().map(str::to_owned));
    let mut seen: HashMap<&str, usize> = HashMap::new();
    taken.iter().for_each(|number| *seen.entry(number).or_default() += 1);
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "handed out more than once: {twice:?}");
    assert!(taken.len() > 1000 + KILLS, "{} numbers", taken.len());

    let other = ["PECHAT_CERT2", "PECHAT_KEY2"];
    let number = run(&mut appliance.client_as(other[0], other[1], &["identifier"]));
    assert_eq!((number.trim().len(), &number[2..6]), (16, "4750"), "another owner, another code");
    let said =
        refused(&mut appliance.client_as("PECHAT_AUDITOR_CERT", "PECHAT_AUDITOR_KEY", &["identifier"]));
    assert!(said.contains("answered 403"), "{said}");
    println!("{} numbers over {KILLS} kills", taken.len());
}

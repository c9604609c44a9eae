//! Libraries that ask and verify by themselves: digitorus/timestamp (Go) and Bouncy Castle (Java).

use std::path::Path;
use std::process::Command;

use crate::programs::{PASSWORD, stores};
use crate::{Stage, present, runs, says, script};

/// Bouncy Castle as Debian has it.
const JARS: [&str; 3] =
    ["/usr/share/java/bcprov.jar", "/usr/share/java/bcpkix.jar", "/usr/share/java/bcutil.jar"];

#[test]
fn digitorus_timestamp_for_go_asks_and_verifies() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = target.join("interop-tsp");
    let mut go = Command::new("go");
    go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop-tsp"));
    go.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/local/go/bin");
    go.env("GOTOOLCHAIN", "local").args(["build", "-o"]).arg(&program).arg(".");
    let built = go.output();
    if !built.as_ref().is_ok_and(|out| out.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nothing is skipped in CI: {built:?}");
        return eprintln!("skipped: needs Go 1.24 and the modules of tests/interop-tsp");
    }
    let stage = Stage::new();
    says(&runs(&mut stage.command(&program)), &["3 tokens verified", "SHA-1:"]);
}

#[test]
fn bouncy_castle_asks_and_validates() {
    if !present(&[&["java", "keytool"], &JARS[..]].concat()) {
        return;
    }
    let stage = Stage::new();
    stage.signer();
    stores(&stage);
    let property = |name: &str, value: &str| format!("-Djavax.net.ssl.{name}={value}");
    let words = [
        property("keyStore", "client.p12"),
        property("keyStorePassword", PASSWORD),
        property("trustStore", "trust.p12"),
        property("trustStorePassword", PASSWORD),
        "-cp".into(),
        JARS.join(":"),
        script("TimestampAsks.java"),
        stage.tsa(),
    ];
    let said = runs(stage.command("java").args(words));
    assert_eq!(said.matches("valid: ").count(), 4, "{said}");
    says(&said, &["SHA-1: status 2, badAlg true"]);
}

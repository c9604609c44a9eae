//! Go's notes and tiles (golang.org/x/mod/sumdb) and openssl, on the root log and one receipt.

use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding};

use crate::{Stage, fails, present, runs, says};

/// Debian's golang-golang-x-mod-dev: no module is fetched.
const MODULES: &str = "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog";

impl Stage {
    /// Seals one digest; its receipt is `file`.
    fn receipt(&self, number: u8, file: &str) {
        let [ca, cert, key] = ["PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY"].map(|name| self.appliance.env(name));
        let identity = ["-sS", "--max-time", "40", "--cacert", ca, "--cert", cert, "--key", key];
        let id = format!("{:032x}", u128::from(number) + 0x7106_0000);
        let body = format!("{{\"request_id\":\"{id}\",\"digest\":\"{}\"}}", "5a".repeat(32));
        let url = format!("{}/v1/journals/{}/entries", self.appliance.env("PECHAT_URL"), "land-register");
        let what = [
            "-H",
            "Content-Type: application/json",
            "-H",
            "Accept: text/plain",
            "-o",
            file,
            "-d",
            &body,
            &url,
        ];
        let said = self.runs("curl", &[&identity[..], &["-w", "%{http_code}"], &what].concat());
        assert_eq!(said, "201", "{}", std::fs::read_to_string(self.path(file)).unwrap_or_default());
    }

    /// The stranger's program, built once.
    fn stranger(&self, receipt: &str) -> Command {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = target.join("stranger");
        let mut go = self.command("go");
        go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOFLAGS", "");
        go.env("GOCACHE", target.join("go-cache")).args(["build", "-o"]).arg(&program);
        runs(go.arg(format!("{}/tests/interop-go/stranger.go", env!("CARGO_MANIFEST_DIR"))));
        let mut stranger = self.command(program);
        stranger.args(["-url", self.appliance.env("PECHAT_PUBLIC_URL"), "-key"]);
        stranger.arg(self.appliance.path("demo/journal-head.pem"));
        let checkpoint = std::fs::read_to_string(self.path(receipt)).unwrap();
        let origin = checkpoint.split("\n\n").nth(1).and_then(|body| body.lines().next()).unwrap().to_owned();
        stranger.args(["-origin", &origin, "-receipt", receipt]);
        stranger
    }
}

#[test]
fn go_checks_receipt_checkpoint_and_tiles() {
    if !present(&["go", MODULES]) {
        return;
    }
    let stage = Stage::new();
    stage.receipt(1, "first");
    stage.receipt(2, "second");
    let said = runs(&mut stage.stranger("first"));
    says(
        &said,
        &[
            "in the receipt's head",
            "by tiles",
            "stands in its entry bundle",
            "under the journal's newest head",
            "PASSED",
        ],
    );

    let good = std::fs::read_to_string(stage.path("first")).unwrap();
    let line = good.lines().nth(1).unwrap().strip_prefix("extra ").unwrap();
    let mut extra = Base64::decode_vec(line).unwrap();
    extra[130] ^= 1;
    stage.write("bent", good.replacen(line, &Base64::encode_string(&extra), 1));
    says(&fails(&mut stage.stranger("bent")), &["FAILED: entry", "in the receipt's head"]);

    stage.runs("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other.key"]);
    stage.runs("openssl", &["ec", "-in", "other.key", "-pubout", "-out", "other.pem"]);
    let mut stranger = stage.stranger("first");
    says(&fails(stranger.args(["-key", "other.pem"])), &["FAILED: note has no verifiable signatures"]);
}

#[test]
fn openssl_checks_signature_and_token_of_the_public_checkpoint() {
    let stage = Stage::new();
    stage.receipt(3, "receipt");
    let url = format!("{}/root/checkpoint", stage.appliance.env("PECHAT_PUBLIC_URL"));
    let note = stage.runs("curl", &["-sS", "--max-time", "40", &url]);
    let (body, lines) = note.split_once("\n\n").unwrap();
    stage.write("body", format!("{body}\n"));
    let lines: Vec<_> =
        lines.lines().map(|line| Base64::decode_vec(line.split(' ').nth(2).unwrap()).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{note}");
    stage.write("signature", &lines[0][4..]);
    // Type 0xff with an identifier of its own: what follows the key hash is the token.
    stage.write("token", &lines[1][4..]);
    let key = stage.appliance.path("demo/journal-head.pem").display().to_string();
    let signature = ["dgst", "-sha256", "-verify", &key, "-signature", "signature"];
    says(&stage.runs("openssl", &[&signature[..], &["body"]].concat()), &["Verified OK"]);
    let token = ["ts", "-verify", "-in", "token", "-token_in", "-CAfile", stage.root(), "-data"];
    says(&stage.runs("openssl", &[&token[..], &["body"]].concat()), &["Verification: OK"]);
    stage.write("other", format!("{body}0\n"));
    stage.fails("openssl", &[&signature[..], &["other"]].concat());
    stage.fails("openssl", &[&token[..], &["other"]].concat());
}

#[test]
fn go_opens_a_published_checkpoint_with_a_standard_verifier_key() {
    if !present(&["go", MODULES]) {
        return;
    }
    // Of its own: the others run without a second key.
    let (started, dir) = (std::sync::Arc::new(crate::Appliance::start()), tempfile::tempdir().unwrap());
    let mut stage = Stage { appliance: started, dir };
    let appliance = std::sync::Arc::get_mut(&mut stage.appliance).expect("one owner");
    let config = std::fs::read_to_string(appliance.config()).unwrap();
    std::fs::write(appliance.config(), config.clone() + "\n[journal]\ned25519 = true\n").unwrap();
    appliance.kill_serve();
    let pechat = env!("CARGO_BIN_EXE_pechat");
    let without =
        std::process::Command::new(pechat).args(["serve", "--config"]).arg(appliance.config()).output();
    let said = String::from_utf8_lossy(&without.unwrap().stderr).into_owned();
    assert!(said.contains("run `pechat journal second-key`"), "{said}");
    let mut make = std::process::Command::new(pechat);
    let vkey = runs(make.args(["journal", "second-key", "--config"]).arg(appliance.config()));
    let vkey =
        vkey.lines().find(|line| line.starts_with("seal.example.gov/root+")).expect("a key").to_owned();
    appliance.start_serve();
    appliance.wait_until_ready();
    stage.receipt(1, "first");
    let url = format!("{}/root/checkpoint", stage.appliance.env("PECHAT_PUBLIC_URL"));
    let three =
        |text: &str| text.lines().filter(|line| line.starts_with("— seal.example.gov/root ")).count() == 3;
    // With a second key a checkpoint is published once a second: the receipt's may be newer for so long.
    let size = |note: &str| note.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
    let receipt = std::fs::read_to_string(stage.dir.path().join("first")).unwrap();
    let sealed =
        receipt.split_once("\n\n").and_then(|(_, note)| size(note)).expect("the receipt's checkpoint");
    crate::appliance::wait_for("both signatures and the token over the receipt's head", || {
        let out = std::process::Command::new("curl").args(["-sf", "--max-time", "6", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        three(&text) && size(&text).is_some_and(|size| size >= sealed)
    });
    let said = runs(stage.stranger("first").args(["-vkey", &vkey]));
    says(&said, &["opened with the Ed25519 verifier key", "signed with the head key", "PASSED"]);
    let other = "seal.example.gov/root+11ed5a8f+AZfRrCvZ3cOgMuhWbcTKq6k2l1Mcqd4Tq9VkPn3KjKfT";
    assert!(!stage.stranger("first").args(["-vkey", other]).output().unwrap().status.success());
}

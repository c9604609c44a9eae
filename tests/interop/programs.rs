//! Programs that ask for timestamps by themselves and put them into something.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::{Stage, fails, present, python, runs, says, script};

const UNIT: &str = "CN=Pechat Time-Stamping Unit 1";
pub const PASSWORD: &str = "changeit";

#[test]
fn rfc3161_client_verifies_its_own_nonce_policy_and_message() {
    let python = python();
    if !present(&[&python]) {
        return;
    }
    let stage = Stage::new();
    says(&stage.runs(&python, &[&script("rfc3161_client_verifies.py")]), &["4 tokens verified"]);
}

#[test]
fn pyhanko_signs_a_pdf_with_a_timestamp_that_it_trusts() {
    let python = python();
    if !present(&[&python]) {
        return;
    }
    let stage = Stage::new();
    stage.signer();
    let said = stage.runs(&python, &[&script("pyhanko_signs.py")]);
    says(&said, &["INTACT:TRUSTED,TIMESTAMP_TOKEN<INTACT:TRUSTED>,UNTOUCHED", "another root: UNTRUSTED"]);
}

#[test]
fn jarsigner_stamps_a_jar_and_its_strict_verification_warns_of_nothing() {
    if !present(&["jarsigner", "keytool", "jar"]) {
        return;
    }
    let stage = Stage::new();
    stage.signer();
    stores(&stage);
    stage.write("content.txt", "content\n");
    stage.runs("jar", &["cfM", "signed.jar", "content.txt"]);

    let said = fails(stage.command("jarsigner").args(signing(&stage, "")).args(["signed.jar", "signer"]));
    says(&said, &["certificate_required"]);

    let words = ["-tsadigestalg", "SHA-512", "-tsapolicyid", "0.4.0.2023.1.1", "signed.jar", "signer"];
    let said = runs(stage.command("jarsigner").args(signing(&stage, "client.p12")).args(words));
    says(&said, &["jar signed."]);

    let strictly = ["-verify", "-strict", "-verbose", "-certs", "-J-Duser.language=en"];
    let known = ["-keystore", "trust.p12", "-storepass", PASSWORD, "signed.jar"];
    let said = stage.runs("jarsigner", &[strictly, known].concat());
    says(
        &said,
        &["jar verified.", &format!("Timestamped by \"{UNIT},"), "Timestamp digest algorithm: SHA-512"],
    );
    says(&said, &["[entry was signed on", ">>> TSA"]);
    assert!(!said.contains("chain is invalid") && !said.contains("Error"), "{said}");

    stage.write("content.txt", "other content\n");
    stage.runs("jar", &["uf", "signed.jar", "content.txt"]);
    says(&stage.fails("jarsigner", &[strictly, known].concat()), &["digest error for content.txt"]);
}

/// `signer.p12`, `client.p12` (the registry service) and `trust.p12` (both roots).
pub fn stores(stage: &Stage) {
    let [cert, key] = ["PECHAT_CERT", "PECHAT_KEY"].map(|name| stage.appliance.env(name));
    let pass = format!("pass:{PASSWORD}");
    for (name, cert, key, issuers) in
        [("signer", "signer.pem", "signer.key", "signer-ca.pem"), ("client", cert, key, cert)]
    {
        let out = format!("{name}.p12");
        let words = ["pkcs12", "-export", "-in", cert, "-inkey", key, "-name", name, "-passout", &pass];
        stage.runs("openssl", &[&words[..], &["-certfile", issuers, "-out", &out]].concat());
    }
    for (alias, file) in [("pechat", stage.root()), ("signer-ca", "signer-ca.pem")] {
        let store = ["-keystore", "trust.p12", "-storetype", "PKCS12", "-storepass", PASSWORD];
        let words = ["-importcert", "-noprompt", "-alias", alias, "-file", file];
        stage.runs("keytool", &[&words[..], &store].concat());
    }
}

/// jarsigner's words up to the jar; with a client certificate when `identity` is the name of its store.
fn signing(stage: &Stage, identity: &str) -> Vec<String> {
    let mut tls = vec![("trustStore", "trust.p12"), ("trustStorePassword", PASSWORD)];
    if !identity.is_empty() {
        tls.extend([("keyStore", identity), ("keyStoreType", "PKCS12"), ("keyStorePassword", PASSWORD)]);
    }
    let mut words: Vec<String> = tls.iter().map(|(k, v)| format!("-J-Djavax.net.ssl.{k}={v}")).collect();
    words.extend(["-keystore", "signer.p12", "-storepass", PASSWORD, "-tsa", &stage.tsa()].map(String::from));
    words
}

#[test]
fn osslsigncode_stamps_an_authenticode_signature_through_a_relay() {
    if !present(&["osslsigncode", "python3"]) {
        return;
    }
    let stage = Stage::new();
    stage.signer();
    stage.write("plain.cab", cabinet(b"content of the cabinet\n"));
    let relay = Relay::start(&stage);
    let url = format!("http://127.0.0.1:{}/tsa", relay.port);
    let signing = ["sign", "-certs", "signer.pem", "-key", "signer.key", "-h", "sha256", "-ts", &url];
    let said =
        stage.runs("osslsigncode", &[&signing[..], &["-in", "plain.cab", "-out", "signed.cab"]].concat());
    says(&said, &["Succeeded"]);

    let verify = ["verify", "-in", "signed.cab", "-CAfile", "signer-ca.pem", "-TSA-CAfile"];
    let said = stage.runs("osslsigncode", &[&verify[..], &[stage.root()]].concat());
    says(&said, &["Timestamp Server Signature verification: ok", "Number of verified signatures: 1"]);
    let (_, said) = crate::outcome(stage.command("osslsigncode").args(verify).arg("signer-ca.pem"));
    says(&said, &["Timestamp Server Signature verification: failed"]);
}

/// A plain port in front of the mTLS listener, as the registry service; ended when dropped.
struct Relay {
    process: Child,
    port: u16,
}

impl Relay {
    fn start(stage: &Stage) -> Self {
        let mut python = stage.command("python3");
        let mut process = python.arg(script("relay.py")).stdout(Stdio::piped()).spawn().expect("the relay");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("its port");
        Self { process, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Microsoft cabinet with one stored file, the smallest thing that Authenticode signs.
fn cabinet(content: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"content.txt\0";
    const FOLDER: usize = 36;
    const FILE: usize = FOLDER + 8;
    const DATA: usize = FILE + 16 + NAME.len();
    let long = |n: usize| u32::try_from(n).expect("a small cabinet").to_le_bytes();
    let short = |n: usize| u16::try_from(n).expect("a small cabinet").to_le_bytes();
    let length = content.len();
    [
        // CFHEADER: version 1.3, one folder, one file.
        &b"MSCF\0\0\0\0"[..],
        &long(DATA + 8 + length),
        &long(0),
        &long(FILE),
        &long(0),
        &[3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        // CFFOLDER: one block, not compressed.
        &long(DATA),
        &[1, 0, 0, 0],
        // CFFILE: in folder 0 from byte 0, dated 2024-01-01, "archive".
        &long(length),
        &long(0),
        &[0, 0, 0x21, 0x58, 0, 0, 0x20, 0],
        NAME,
        // CFDATA: without checksum.
        &long(0),
        &short(length),
        &short(length),
        content,
    ]
    .concat()
}

//! Who gets through the handshake, in the words that curl has for it.

use crate::{Stage, fails, runs, says};

/// curl says this and ends with 56 when it has no certificate (TLS 1.3).
const REQUIRED: &str = "tlsv13 alert certificate required";

impl Stage {
    fn checkpoint(&self) -> String {
        format!("{}/v1/checkpoint", self.appliance.env("PECHAT_URL"))
    }

    /// Exit code of curl without any certificate, and what it said.
    fn nameless(&self, args: &[&str]) -> (i32, String) {
        let mut curl = self.command("curl");
        curl.args(["-sS", "--max-time", "40", "--cacert", self.root()]).args(args).arg(self.checkpoint());
        let out = curl.output().expect("curl");
        (out.status.code().expect("an exit code"), String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

#[test]
fn tls_1_3_and_1_2_are_spoken_over_http_2_and_1_1() {
    let stage = Stage::new();
    let [cert, key] = ["PECHAT_CERT", "PECHAT_KEY"].map(|name| stage.appliance.env(name));
    for exactly in [["--tlsv1.3", "--tls-max", "1.3"], ["--tlsv1.2", "--tls-max", "1.2"]] {
        for (http, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let mut curl = stage.command("curl");
            curl.args(["-sS", "--max-time", "40", "--cacert", stage.root(), "--cert", cert, "--key", key]);
            curl.args(exactly).args([http, "-o", "checkpoint", "-w", "%{http_code} %{http_version}"]);
            assert_eq!(runs(curl.arg(stage.checkpoint())), format!("200 {version}"), "{exactly:?}");
        }
    }
}

#[test]
fn tls_1_1_is_refused_by_the_server() {
    let stage = Stage::new();
    let [cert, key] = ["PECHAT_CERT", "PECHAT_KEY"].map(|name| stage.appliance.env(name));
    // At its usual security level OpenSSL itself would not speak 1.1.
    let old = ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
    let mut curl = stage.command("curl");
    curl.args(["-sS", "--max-time", "40", "--cacert", stage.root(), "--cert", cert, "--key", key]);
    let said = fails(curl.args(old).arg(stage.checkpoint()));
    says(&said, &["curl: (35)", "alert"]);
}

#[test]
fn without_a_certificate_curl_says_that_one_is_required_every_time() {
    let stage = Stage::new();
    for http in ["--http2", "--http1.1"] {
        // Whether curl or the server is faster must not matter.
        for _ in 0..10 {
            let (code, said) = stage.nameless(&[http]);
            assert_eq!((code, said.contains(REQUIRED)), (56, true), "{http}: {said}");
        }
    }
    let (code, said) = stage.nameless(&["--tls-max", "1.2"]);
    assert_eq!((code, said.contains(REQUIRED)), (98, true), "{said}");
}

#[test]
fn a_strangers_certificate_is_refused_in_the_handshake() {
    let stage = Stage::new();
    stage.signer();
    for certificate in ["signer", "signer-ca"] {
        let (cert, key) = (format!("{certificate}.pem"), format!("{certificate}.key"));
        let (code, said) = stage.nameless(&["--cert", &cert, "--key", &key]);
        assert_eq!((code, said.contains("alert")), (56, true), "{certificate}: {said}");
    }
}

//! Strangers judge what is published about a certificate: OpenSSL, GnuTLS and Java, by OCSP, by the
//! complete list and by an older list with the delta. The matrix of what each said is printed.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
mod present;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use appliance::Appliance;
use present::present;

/// What became of the certificate after it was issued.
const CASES: [(&str, &[&str]); 4] = [
    ("good", &[]),
    ("revoked", &[r#"{"reason":"key-compromise"}"#]),
    ("hold", &[r#"{"reason":"certificate-hold"}"#]),
    ("released", &[r#"{"reason":"certificate-hold"}"#, "release"]),
];

struct Bench {
    appliance: Appliance,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { appliance: Appliance::start(), dir: tempfile::tempdir().unwrap() };
        for (what, url) in [("ca", "/ca/ca-test.cer"), ("base", "/crl/ca-test.crl")] {
            bench.fetch(url, what);
        }
        let judge = format!("{}/tests/judges/Judge.java", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(bench.says("javac", &["-d", ".", &judge]), "");
        bench.pem("ca", "x509");
        bench.pem("base", "crl");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything a program said; it may fail.
    fn says(&self, program: &str, args: &[&str]) -> String {
        let run = Command::new(program).args(args).current_dir(self.dir.path()).stdin(Stdio::null()).output();
        let run = run.unwrap_or_else(|e| panic!("{program}: {e}"));
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr)
    }

    fn fetch(&self, path: &str, file: &str) {
        let url = format!("{}{path}", self.appliance.env("PECHAT_PUBLIC_URL"));
        let said = self.says("curl", &["-sS", "--fail", "-o", &format!("{file}.der"), &url]);
        assert_eq!(said, "", "{url}");
    }

    fn pem(&self, file: &str, kind: &str) {
        let (from, to) = (format!("{file}.der"), format!("{file}.pem"));
        assert_eq!(self.says("openssl", &[kind, "-inform", "DER", "-in", &from, "-out", &to]), "");
    }

    fn officer(&self, number: u8, path: &str, body: &str) -> serde_json::Value {
        let url = format!("{}{path}", self.appliance.env("PECHAT_URL"));
        let (cert, key) = (format!("PECHAT_OFFICER{number}_CERT"), format!("PECHAT_OFFICER{number}_KEY"));
        let words = ["-H", "Content-Type: application/json", "-X", "POST", "-d", body, &url];
        let (status, body) = self.appliance.curl(&cert, &key, &words);
        assert!((200..300).contains(&status), "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// A test certificate in `NAME.pem`; its serial.
    fn issue(&self, name: &str) -> String {
        let files = ["-keyout", "key.pem", "-out", "csr.pem"];
        let request =
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/"];
        self.says("openssl", &[&request[..], &files].concat());
        let csr = std::fs::read_to_string(self.path("csr.pem")).unwrap();
        let institutions = self.appliance.curl(
            "PECHAT_OFFICER1_CERT",
            "PECHAT_OFFICER1_KEY",
            &[&format!("{}/v1/institutions", self.appliance.env("PECHAT_URL"))],
        );
        let institutions: serde_json::Value = serde_json::from_slice(&institutions.1).unwrap();
        let wanted = serde_json::json!({
            "csr": csr, "institution": institutions[0]["id"], "environment": "test", "role": "registry-service",
            "name": name,
        });
        let made = self.officer(1, "/v1/certificates", &wanted.to_string());
        std::fs::write(self.path(&format!("{name}.pem")), made["pem"].as_str().unwrap()).unwrap();
        made["serial"].as_str().unwrap().to_owned()
    }

    fn act(&self, serial: &str, act: &str) {
        if act == "release" {
            for number in [1, 2] {
                self.officer(number, &format!("/v1/certificates/{serial}/release"), "");
            }
        } else {
            self.officer(1, &format!("/v1/certificates/{serial}/revocation"), act);
        }
    }

    /// What each judge says of `NAME.pem`: `good`, `revoked`, or all its words where they are neither.
    fn judged(&self, name: &str) -> Vec<(&'static str, String)> {
        let leaf = format!("{name}.pem");
        let (root, url) =
            (self.appliance.env("PECHAT_CA"), format!("{}/ocsp", self.appliance.env("PECHAT_PUBLIC_URL")));
        let openssl = ["-issuer", "ca.pem", "-cert", &leaf, "-url", &url, "-CAfile", root];
        let ask = |more: &[&str]| {
            let said = self.says("openssl", &[&["ocsp"], more, &openssl[..]].concat());
            assert!(said.contains("Response verify OK"), "{said}");
            verdict(&said, &[(": good", "good"), (": revoked", "revoked")])
        };
        let verify = |more: &[&str]| {
            let words = ["verify", "-CAfile", root, "-untrusted", "ca.pem", "-crl_check"];
            let said = self.says("openssl", &[&words[..], more, &[&leaf]].concat());
            verdict(&said, &[("certificate revoked", "revoked"), (": OK", "good")])
        };
        let gnutls = |nonce| {
            let asked = format!("--ask={url}");
            let words =
                [&asked, "--load-cert", &leaf, "--load-issuer", "ca.pem", "--load-trust", "ca.pem", nonce];
            let said = self.says("ocsptool", &words);
            assert!(said.contains("Verifying OCSP Response: Success."), "{said}");
            verdict(
                &said,
                &[("Certificate Status: good", "good"), ("Certificate Status: revoked", "revoked")],
            )
        };
        let java = |by| {
            let said = self.says(
                "java",
                &["-Dcom.sun.security.enableCRLDP=true", "-cp", ".", "Judge", root, "ca.pem", &leaf, by],
            );
            verdict(&said, &[("REVOKED", "revoked"), ("good", "good")])
        };
        vec![
            ("openssl ocsp, nonce", ask(&[])),
            ("openssl ocsp, SHA-256, no nonce", ask(&["-no_nonce", "-sha256"])),
            ("openssl ocsp, no nonce", ask(&["-no_nonce"])),
            ("ocsptool, nonce", gnutls("--nonce")),
            ("ocsptool, no nonce", gnutls("--no-nonce")),
            ("Java, OCSP", java("ocsp")),
            ("Java, complete list", java("crl")),
            ("openssl, complete list", verify(&["-CRLfile", "complete.pem"])),
            (
                "openssl, old list with delta",
                verify(&["-use_deltas", "-CRLfile", "base.pem", "-CRLfile", "delta.pem"]),
            ),
            ("openssl, old list alone", verify(&["-CRLfile", "base.pem"])),
        ]
    }
}

fn verdict(said: &str, words: &[(&str, &str)]) -> String {
    let found = words.iter().find(|(word, _)| said.contains(word));
    found.map_or_else(|| said.to_owned(), |(_, verdict)| (*verdict).to_owned())
}

#[test]
fn openssl_gnutls_and_java_agree_by_ocsp_by_list_and_by_delta() {
    if !present(&["openssl", "curl", "ocsptool", "java", "javac"]) {
        return;
    }
    let bench = Bench::new();
    for (name, acts) in CASES {
        let serial = bench.issue(name);
        acts.iter().for_each(|act| bench.act(&serial, act));
    }
    bench.fetch("/crl/ca-test.crl", "complete");
    bench.fetch("/crl/ca-test-delta.crl", "delta");
    bench.pem("complete", "crl");
    bench.pem("delta", "crl");
    let mut wrong = Vec::new();
    println!("{:34}{}", "", CASES.map(|(name, _)| format!("{name:10}")).concat());
    let judged = CASES.map(|(name, _)| bench.judged(name));
    for row in 0..judged[0].len() {
        let judge = judged[0][row].0;
        println!("{judge:34}{}", judged.iter().map(|j| format!("{:10}", j[row].1)).collect::<String>());
        for ((name, _), said) in CASES.iter().zip(&judged) {
            // The old list shows that the delta is what is believed.
            let bad = matches!(*name, "revoked" | "hold") && judge != "openssl, old list alone";
            if said[row].1 != if bad { "revoked" } else { "good" } {
                wrong.push(format!("{judge} of {name}: {}", said[row].1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    bench.strangers_serial_and_get();
    // The key of the last certificate is still there.
    let args = ["compromised", "--cert", "released.pem", "--key", "key.pem"];
    let said = appliance::run(bench.appliance.client(&args).current_dir(bench.dir.path()));
    assert!(said.contains("is revoked as compromised since"), "{said}");
    let url = format!("{}/ocsp", bench.appliance.env("PECHAT_PUBLIC_URL"));
    let ask = ["ocsp", "-issuer", "ca.pem", "-cert", "released.pem", "-url", &url, "-noverify"];
    let said = bench.says("openssl", &ask);
    assert!(said.contains("released.pem: revoked") && said.contains("Reason: keyCompromise"), "{said}");
}

impl Bench {
    /// Line 30 as OpenSSL shows it, and line 26 and 33 as curl does.
    fn strangers_serial_and_get(&self) {
        let url = format!("{}/ocsp", self.appliance.env("PECHAT_PUBLIC_URL"));
        let root = self.appliance.env("PECHAT_CA");
        let said = self.says(
            "openssl",
            &["ocsp", "-issuer", "ca.pem", "-serial", "0x1234", "-url", &url, "-CAfile", root],
        );
        for word in ["Response verify OK", "0x1234: revoked", "certificateHold", "Jan  1 00:00:00 1970 GMT"] {
            assert!(said.contains(word), "{word:?} is not in\n{said}");
        }
        self.says(
            "openssl",
            &["ocsp", "-no_nonce", "-issuer", "ca.pem", "-cert", "good.pem", "-reqout", "asked.der"],
        );
        let text = self.says("openssl", &["base64", "-A", "-in", "asked.der"]);
        for form in [text.clone(), text.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D")] {
            let said = self.says("curl", &["-sS", "-D", "-", "-o", "answer.der", &format!("{url}/{form}")]);
            let said = said.to_ascii_lowercase();
            for word in [
                "http/1.1 200",
                "content-type: application/ocsp-response",
                "etag: ",
                "last-modified: ",
                "expires: ",
            ] {
                assert!(said.contains(word), "{word:?} is not in\n{said}");
            }
            assert!(said.contains("max-age=60, public, no-transform, must-revalidate"), "{said}");
            let read =
                ["ocsp", "-respin", "answer.der", "-issuer", "ca.pem", "-cert", "good.pem", "-CAfile", root];
            assert!(self.says("openssl", &read).contains("good.pem: good"));
        }
        for (kind, body) in [("application/ocsp-request", "@base.der"), ("text/plain", "@asked.der")] {
            let header = format!("Content-Type: {kind}");
            let words = ["-sS", "-D", "-", "-o", "answer.der", "-H", &header, "--data-binary", body, &url];
            let said = self.says("curl", &words).to_ascii_lowercase();
            assert!(said.contains("http/1.1 200") && said.contains("cache-control: no-store"), "{said}");
            assert_eq!(
                std::fs::read(self.path("answer.der")).unwrap(),
                [0x30, 3, 0x0A, 1, 1],
                "malformedRequest"
            );
        }
    }
}

//! curl asks, OpenSSL judges: timestamps, certificates, revocation lists.

use crate::{Stage, says};

/// The issuers whose lists and certificates are on the plain listener.
const ISSUERS: [&str; 4] = ["root-ca", "ca-test", "ca-integration", "ca-production"];
const CODE: &[&str] = &["-w", "%{http_code} %{content_type}"];

impl Stage {
    /// `data` and a query for it with these words; what curl was answered is `reply.tsr`.
    fn stamped(&self, words: &[&str]) {
        self.write("data", "a decision of the land register\n");
        let query = ["ts", "-query", "-data", "data", "-out", "query.tsq"];
        self.runs("openssl", &[&query[..], words].concat());
        let said = self.curl(
            &[
                "-H",
                "Content-Type: application/timestamp-query",
                "--data-binary",
                "@query.tsq",
                "-o",
                "reply.tsr",
            ],
            &self.tsa(),
        );
        assert_eq!(said, "200 application/timestamp-reply");
    }

    /// curl as the registry service; status and media type.
    fn curl(&self, args: &[&str], url: &str) -> String {
        let [ca, cert, key] = ["PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY"].map(|name| self.appliance.env(name));
        let identity = ["-sS", "--max-time", "40", "--cacert", ca, "--cert", cert, "--key", key];
        self.runs("curl", &[&identity[..], CODE, args, &[url]].concat())
    }

    /// What the plain listener has there, in a file of the test.
    fn fetch(&self, path: &str, kind: &str, file: &str) {
        let url = format!("{}{path}", self.appliance.env("PECHAT_PUBLIC_URL"));
        let said =
            self.runs("curl", &[&["-sS", "--max-time", "40", "-o", file], CODE, &[url.as_str()]].concat());
        assert_eq!(said, format!("200 {kind}"), "{path}");
    }

    /// Certificates and lists of all issuers, as PEM files `LABEL.pem` and `LABEL.crl.pem`.
    fn published(&self) {
        for label in ISSUERS {
            let [der, crl, pem, crl_pem] =
                ["cer", "crl", "pem", "crl.pem"].map(|end| format!("{label}.{end}"));
            self.fetch(&format!("/ca/{der}"), "application/pkix-cert", &der);
            self.fetch(&format!("/crl/{crl}"), "application/pkix-crl", &crl);
            self.runs("openssl", &["x509", "-inform", "DER", "-in", &der, "-out", &pem]);
            self.runs("openssl", &["crl", "-inform", "DER", "-in", &crl, "-out", &crl_pem]);
        }
    }

    /// `openssl verify` of a certificate and its chain file, with the revocation list of its issuer.
    fn verify_words<'a>(&'a self, chain: &'a str, list: &'a str) -> Vec<&'a str> {
        let words = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", self.root()];
        [&words[..], &["-untrusted", chain, "-crl_check", "-CRLfile", list, chain]].concat()
    }
}

#[test]
fn openssl_verifies_what_curl_was_answered() {
    let stage = Stage::new();
    for hash in ["-sha256", "-sha384", "-sha512", "-sha3-256", "-sha3-384", "-sha3-512"] {
        stage.stamped(&[hash, "-cert"]);
        let known = ["ts", "-verify", "-in", "reply.tsr", "-CAfile", stage.root()];
        for by in [["-queryfile", "query.tsq"], ["-data", "data"]] {
            says(&stage.runs("openssl", &[&known[..], &by].concat()), &["Verification: OK"]);
        }
        stage.write("other", "another decision\n");
        let said = stage.fails("openssl", &[&known[..], &["-data", "other"]].concat());
        says(&said, &["Verification: FAILED", "message imprint mismatch"]);
        stage.runs("openssl", &["ts", "-query", "-data", "data", hash, "-cert", "-out", "later.tsq"]);
        let said = stage.fails("openssl", &[&known[..], &["-queryfile", "later.tsq"]].concat());
        says(&said, &["Verification: FAILED", "nonce mismatch"]);
    }
}

#[test]
fn openssl_reads_the_reply_as_the_policy_describes_it() {
    let stage = Stage::new();
    stage.stamped(&["-sha256", "-cert"]);
    let said = stage.runs("openssl", &["ts", "-reply", "-in", "reply.tsr", "-text"]);
    let told = [
        "Status: Granted.\nStatus description: unspecified\nFailure info: unspecified\n",
        "Version: 1\nPolicy OID: 0.4.0.2023.1.1\nHash Algorithm: sha256\n",
        "Accuracy: unspecified seconds, 0x",
        " millis, unspecified micros\nOrdering: no\nNonce: 0x",
        "\nTSA: unspecified\nExtensions:\n",
    ];
    says(&said, &told);
}

#[test]
fn openssl_reads_why_a_query_is_rejected() {
    let stage = Stage::new();
    for (words, why) in [
        (&["-sha1"][..], "unrecognized or unsupported algorithm identifier"),
        (&["-sha256", "-tspolicy", "1.2.3.4"], "the requested TSA policy is not supported by the TSA"),
    ] {
        stage.stamped(words);
        let said = stage.runs("openssl", &["ts", "-reply", "-in", "reply.tsr", "-text"]);
        says(&said, &["Status: Rejected.", "TST info:\nNot included."]);
        let info = said.lines().find_map(|line| line.strip_prefix("Failure info: ")).expect("a failInfo");
        assert_eq!(info, why);
        let text = said.lines().find_map(|line| line.strip_prefix("Status description: ")).expect("a text");
        assert!(text.len() > 10 && text != "unspecified", "words go with a rejection: {text}");
    }
}

#[test]
fn openssl_verifies_a_bare_token_as_cms_with_and_without_its_certificates() {
    let stage = Stage::new();
    let signed = |more: &[&str]| {
        stage.runs("openssl", &["ts", "-reply", "-in", "reply.tsr", "-token_out", "-out", "token.tst"]);
        let cms = ["cms", "-verify", "-inform", "DER", "-in", "token.tst", "-purpose", "timestampsign"];
        let known = ["-CAfile", stage.root(), "-out", "info.der"];
        [&cms[..], &known, more]
            .iter()
            .flat_map(|part| part.iter())
            .map(|w| (*w).to_owned())
            .collect::<Vec<_>>()
    };
    let run = |words: &[String]| stage.runs("openssl", &words.iter().map(String::as_str).collect::<Vec<_>>());
    let fail =
        |words: &[String]| stage.fails("openssl", &words.iter().map(String::as_str).collect::<Vec<_>>());

    stage.stamped(&["-sha256", "-cert"]);
    says(&run(&signed(&[])), &["CMS Verification successful"]);
    let said = stage.runs("openssl", &["asn1parse", "-inform", "DER", "-in", "info.der"]);
    says(&said, &["GENERALIZEDTIME", "0.4.0.2023.1.1"]);

    stage.stamped(&["-sha256"]);
    says(&fail(&signed(&[])), &["signer certificate not found"]);
    let unit = format!("{}/certificates/tsu-1.pem", stage.appliance.env("PECHAT_DATA"));
    says(&run(&signed(&["-certfile", &unit])), &["CMS Verification successful"]);
}

#[test]
fn openssl_finds_a_chain_to_the_root_for_every_identity_and_for_the_unit() {
    let stage = Stage::new();
    stage.published();
    let root = stage.root();
    for label in &ISSUERS[1..] {
        let words = ["verify", "-x509_strict", "-CAfile", root, "-crl_check", "-CRLfile", "root-ca.crl.pem"];
        says(&stage.runs("openssl", &[&words[..], &[&format!("{label}.pem")]].concat()), &["OK"]);
    }
    for name in ["PECHAT_CERT", "PECHAT_OFFICER1_CERT", "PECHAT_AUDITOR_CERT"] {
        let chain = stage.appliance.env(name);
        says(&stage.runs("openssl", &stage.verify_words(chain, "ca-production.crl.pem")), &["OK"]);
        let alone = ["verify", "-CAfile", root, chain];
        says(&stage.fails("openssl", &alone), &["unable to get local issuer certificate"]);
    }
    let unit = format!("{}/certificates/tsu-1.pem", stage.appliance.env("PECHAT_DATA"));
    let words = ["verify", "-x509_strict", "-purpose", "timestampsign", "-CAfile", root];
    let list = ["-crl_check", "-CRLfile", "root-ca.crl.pem", &unit];
    says(&stage.runs("openssl", &[&words[..], &list].concat()), &["OK"]);
}

#[test]
fn openssl_verifies_every_revocation_list_with_its_own_issuer_alone() {
    let stage = Stage::new();
    stage.published();
    for list in ISSUERS {
        for issuer in ISSUERS {
            let (crl, ca) = (format!("{list}.crl"), format!("{issuer}.pem"));
            let words = ["crl", "-verify", "-noout", "-inform", "DER", "-in", &crl, "-CAfile", &ca];
            let (_, said) = crate::outcome(stage.command("openssl").args(words));
            assert_eq!(said.contains("verify OK"), list == issuer, "{list} by {issuer}: {said}");
        }
    }
}

#[test]
fn openssl_refuses_a_certificate_once_it_is_revoked() {
    let stage = Stage::new();
    let chain = stage.appliance.env("PECHAT_CERT2");
    stage.published();
    says(&stage.runs("openssl", &stage.verify_words(chain, "ca-production.crl.pem")), &["OK"]);

    let said = stage.runs("openssl", &["x509", "-in", chain, "-noout", "-serial"]);
    let serial = said.trim().strip_prefix("serial=").expect("a serial").to_lowercase();
    let at = format!("{}/v1/certificates/{serial}", stage.appliance.env("PECHAT_URL"));
    let (status, p7) =
        stage.appliance.curl("PECHAT_OFFICER1_CERT", "PECHAT_OFFICER1_KEY", &[&format!("{at}?format=p7")]);
    assert_eq!(status, 200);
    stage.write("chain.p7c", p7);
    let said =
        stage.runs("openssl", &["pkcs7", "-inform", "DER", "-in", "chain.p7c", "-print_certs", "-noout"]);
    let subjects: Vec<_> = said.lines().filter(|line| line.starts_with("subject")).collect();
    assert_eq!(subjects.len(), 3, "{said}");
    for (subject, name) in subjects.iter().zip(["birth-register.", "Pechat production CA", "Pechat Root CA"])
    {
        says(subject, &[name]);
    }

    let json = ["-H", "Content-Type: application/json", "-d", r#"{"reason":"superseded"}"#];
    let url = format!("{at}/revocation");
    let words = [&json[..], &[&url]].concat();
    let (status, body) = stage.appliance.curl("PECHAT_OFFICER1_CERT", "PECHAT_OFFICER1_KEY", &words);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    stage.published();
    let said = stage.fails("openssl", &stage.verify_words(chain, "ca-production.crl.pem"));
    says(&said, &["error 23 at 0 depth lookup", "certificate revoked"]);
    let said = stage.runs("openssl", &["crl", "-in", "ca-production.crl.pem", "-noout", "-text"]);
    says(&said, &[&serial.to_uppercase(), "Superseded"]);
    let other = stage.appliance.env("PECHAT_CERT");
    says(&stage.runs("openssl", &stage.verify_words(other, "ca-production.crl.pem")), &["OK"]);
    let (status, _) = stage.appliance.curl("PECHAT_CERT2", "PECHAT_KEY2", &[&stage.tsa()]);
    assert_eq!(status, 403, "the appliance refuses it as well");
}

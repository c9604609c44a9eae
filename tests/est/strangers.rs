//! Programs of others enrol: curl with openssl, and strongSwan's pki.

use std::process::{Command, Output};

use pechat::institution::Clause;

use crate::Town;
use crate::present::present;

impl Town {
    /// Runs a program in the test's directory without blocking the service.
    async fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path());
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    async fn runs(&self, program: &str, args: &[&str]) -> String {
        let out = self.run(program, args).await;
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{program} {args:?}: {said}");
        said
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.est.address.port())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_and_openssl_enrol_and_verify_the_chain() {
    if !present(&["curl", "openssl"]) {
        return;
    }
    let town = Town::start().await;
    town.write("root.pem", &town.root);
    let (id, secret) = town.credential("registry-1").await;
    let new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/"];
    town.runs("openssl", &[&new[..], &["-keyout", "new.key", "-outform", "DER", "-out", "new.csr"]].concat())
        .await;
    town.runs("openssl", &["base64", "-in", "new.csr", "-out", "new.b64"]).await;
    let url = format!("{}/.well-known/est/production/simpleenroll", town.url());
    let user = format!("{id}:{secret}");
    let resolve = format!("localhost:{}:127.0.0.1", town.est.address.port());
    let ask = [
        "-sS",
        "--cacert",
        "root.pem",
        "--resolve",
        &resolve,
        "-u",
        &user,
        "-H",
        "Content-Type: application/pkcs10",
        "--data-binary",
        "@new.b64",
        "-o",
        "answer.b64",
        "-w",
        "%{http_code}",
        &url,
    ];
    assert_eq!(town.runs("curl", &ask).await, "202");
    town.decide(Clause::Agree).await;
    assert_eq!(town.runs("curl", &ask).await, "200");
    town.runs("openssl", &["base64", "-d", "-A", "-in", "answer.b64", "-out", "answer.p7"]).await;
    town.runs("openssl", &["pkcs7", "-inform", "DER", "-in", "answer.p7", "-print_certs", "-out", "new.pem"])
        .await;
    let ca = town.service.app.issuer.ca_certificate("ca-production").unwrap();
    town.write("ca.pem", pechat::certificate::pem(&ca).as_bytes());
    let said =
        town.runs("openssl", &["verify", "-CAfile", "root.pem", "-untrusted", "ca.pem", "new.pem"]).await;
    assert!(said.contains("OK"), "{said}");
}

impl Town {
    /// The officers have agreed when pki asks: it is not made to wait again.
    async fn renews_with_pki(&self, url: &str, dn: &str) {
        let csr = crate::key_and_csr(&self.dir, "next", &format!("/{dn}")).1;
        self.write("next.pem", &csr);
        self.runs("openssl", &["req", "-in", "next.pem", "-outform", "DER", "-out", "next.csr"]).await;
        let all = self.service.app.issuer.certificates().await.unwrap();
        let record = all.into_iter().find(|c| c.name == "registry-1").unwrap();
        let mut holder = self.holder(&record, &std::fs::read(self.dir.path().join("new.key")).unwrap()).await;
        let first = crate::enroll(&mut holder, "simplereenroll", None, &crate::body(&csr)).await;
        assert_eq!(first.status(), 202);
        self.decide(Clause::Agree).await;
        let ask = [
            "--est",
            "--url",
            url,
            "--in",
            "next.csr",
            "--cacert",
            "root.pem",
            "--cacert",
            "ca.pem",
            "--cert",
            "new.pem",
            "--key",
            "new.key",
            "--outform",
            "pem",
        ];
        let out = self.run("pki", &ask).await;
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stdout.starts_with(b"-----BEGIN CERTIFICATE-----"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strongswan_enrols_waiting_for_the_officers_and_renews() {
    if !present(&["pki", "openssl"]) {
        return;
    }
    let town = Town::start().await;
    town.write("root.pem", &town.root);
    let ca = town.service.app.issuer.ca_certificate("ca-production").unwrap();
    town.write("ca.pem", pechat::certificate::pem(&ca).as_bytes());
    let (id, secret) = town.credential("registry-1").await;
    town.runs(
        "openssl",
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "new.key"],
    )
    .await;
    let dn = "CN=registry-1.agency.example";
    let key = ["--req", "--type", "priv", "--in", "new.key", "--dn", dn, "--outform", "der"];
    let csr = town.run("pki", &key).await;
    assert!(csr.status.success(), "{}", String::from_utf8_lossy(&csr.stderr));
    town.write("new.csr", &csr.stdout);
    // strongSwan 5.9 knows no labels.
    let (url, user) = (town.url(), format!("{id}:{secret}"));
    let ask = [
        "--est",
        "--url",
        &url,
        "--in",
        "new.csr",
        "--cacert",
        "root.pem",
        "--cacert",
        "ca.pem",
        "--userpass",
        &user,
        "--interval",
        "1",
        "--maxpolltime",
        "20",
        "--outform",
        "pem",
    ];
    let enrolling = town.run("pki", &ask);
    let deciding = async {
        while !town.service.app.issuer.requests().await.unwrap().iter().any(|r| r.name == "registry-1") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        town.decide(Clause::Agree).await;
    };
    let deciding = tokio::time::timeout(std::time::Duration::from_secs(30), deciding);
    let (out, decided) = tokio::join!(enrolling, deciding);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    decided.unwrap_or_else(|_| panic!("pki asked for nothing: {said}"));
    assert!(out.status.success(), "{said}");
    town.write("new.pem", &out.stdout);
    town.renews_with_pki(&url, dn).await;
    let said =
        town.runs("openssl", &["verify", "-CAfile", "root.pem", "-untrusted", "ca.pem", "new.pem"]).await;
    assert!(said.contains("OK"), "{said}");
}

//! A throw-away time-stamping authority of openssl: root, issuing CA and unit in a directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct OpensslTsa(TempDir);

/// Runs `openssl`, which must succeed.
fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl starts");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl OpensslTsa {
    pub fn new() -> OpensslTsa {
        let it = OpensslTsa(tempfile::tempdir().unwrap());
        let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
        let unit = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                    extendedKeyUsage=critical,timeStamping\n";
        it.certify("root", "root", ca);
        it.certify("issuing", "root", ca);
        it.certify("unit", "issuing", unit);
        it.write("serial", "01\n".as_bytes());
        let config = format!(
            "[tsa]\ndefault_tsa=t\n[t]\nserial={}\ncrypto_device=builtin\nsigner_digest=sha256\n\
             default_policy=1.2.3.4\ndigests=sha256\naccuracy=secs:1\ness_cert_id_alg=sha256\nordering=no\n",
            it.text("serial")
        );
        it.write("ts.cnf", config.as_bytes());
        it
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Token (ContentInfo) over the SHA-256 of `data`, the unit's and the issuing certificate inside.
    pub fn stamp(&self, data: &[u8]) -> Vec<u8> {
        self.ask(data, &["-token_out"])
    }

    /// The whole reply (TimeStampResp).
    pub fn reply(&self, data: &[u8]) -> Vec<u8> {
        self.ask(data, &[])
    }

    fn ask(&self, data: &[u8], form: &[&str]) -> Vec<u8> {
        let (query, out, file) = (self.text("query"), self.text("out"), self.text("data"));
        self.write("data", data);
        openssl(&["ts", "-query", "-data", &file, "-sha256", "-cert", "-out", &query]);
        let (config, unit, key) = (self.text("ts.cnf"), self.text("unit.pem"), self.text("unit.key"));
        let chain = self.text("issuing.pem");
        let mut words = vec!["ts", "-reply", "-config", &config, "-queryfile", &query, "-signer", &unit];
        words.extend(["-inkey", &key, "-chain", &chain, "-out", &out]);
        words.extend(form);
        openssl(&words);
        std::fs::read(Path::new(&out)).unwrap()
    }

    fn certify(&self, name: &str, issuer: &str, extensions: &str) {
        let file = |suffix: &str| self.text(&format!("{name}.{suffix}"));
        let (key, request, pem, ext) = (file("key"), file("csr"), file("pem"), file("ext"));
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
        let subject = format!("/O=Test Administration/CN={name}");
        openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &request]);
        self.write(&format!("{name}.ext"), extensions.as_bytes());
        let mut words = vec!["x509", "-req", "-in", &request, "-days", "30", "-extfile", &ext, "-out", &pem];
        let (ca, ca_key) = (self.text(&format!("{issuer}.pem")), self.text(&format!("{issuer}.key")));
        if issuer == name {
            words.extend(["-signkey", &key]);
        } else {
            words.extend(["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"]);
        }
        openssl(&words);
    }
}

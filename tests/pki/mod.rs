//! Certificates made by openssl in a directory of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pechat::digest::Digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// A root, an issuing CA, and what they certified.
pub struct Pki {
    dir: tempfile::TempDir,
}

/// A certificate with its chain and key, PEM.
pub struct Credential {
    /// Leaf and issuing CA.
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
    pub fingerprint: Digest,
}

/// In force, or long over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    Good,
    Past,
}

const CONFIG: &str = "\
[ca]\ndefault_ca = issuing\n\
[issuing]\ndir = .\ndatabase = index\nserial = serial\nnew_certs_dir = .\ncertificate = issuing.pem\n\
private_key = issuing.key\ndefault_md = sha256\npolicy = any\nunique_subject = no\n\
[any]\ncommonName = supplied\n\
[root_ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n\
[client]\nbasicConstraints = critical, CA:FALSE\nextendedKeyUsage = clientAuth\n\
[server]\nbasicConstraints = critical, CA:FALSE\nextendedKeyUsage = serverAuth\n\
subjectAltName = DNS:localhost, IP:127.0.0.1\n\
[req]\ndistinguished_name = nothing\n[nothing]\n";

impl Pki {
    pub fn new() -> Self {
        let pki = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(pki.path("ca.cnf"), CONFIG).unwrap();
        fs::write(pki.path("index"), "").unwrap();
        fs::write(pki.path("serial"), "1000").unwrap();
        pki.request("root");
        pki.openssl("x509 -req -in root.csr -signkey root.key -days 30 -extfile ca.cnf -extensions root_ca -out root.pem");
        pki.request("issuing");
        pki.openssl(
            "x509 -req -in issuing.csr -CA root.pem -CAkey root.key -set_serial 7 -days 30 -extfile ca.cnf \
             -extensions root_ca -out issuing.pem",
        );
        pki
    }

    /// The root certificate, PEM.
    pub fn root(&self) -> Vec<u8> {
        self.read("root.pem")
    }

    pub fn server(&self) -> Credential {
        self.certify("server", "server", Dates::Good)
    }

    pub fn client(&self, name: &str, dates: Dates) -> Credential {
        self.certify(name, "client", dates)
    }

    fn certify(&self, name: &str, section: &str, dates: Dates) -> Credential {
        self.request(name);
        let dates = match dates {
            Dates::Good => "-days 20",
            Dates::Past => "-startdate 20200101000000Z -enddate 20200201000000Z",
        };
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -extensions {section} {dates} -in {name}.csr -out {name}.pem"
        ));
        let leaf = self.read(&format!("{name}.pem"));
        let der = CertificateDer::from_pem_slice(&leaf).unwrap();
        let fingerprint = Digest::of(&der);
        let chain = [leaf, self.read("issuing.pem")].concat();
        Credential { chain, key: self.read(&format!("{name}.key")), fingerprint }
    }

    fn request(&self, name: &str) {
        self.openssl(&format!(
            "req -config ca.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr \
             -subj /CN={name}"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let run =
            Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.dir.path()).output();
        let output = run.unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }
}

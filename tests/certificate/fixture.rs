//! An issuer on a store of its own: software keys answer the HSM's queue, the journal is a list.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::EncodePublicKey;
use pechat::access::{Directory, Identity, Role};
use pechat::certificate::profile::Subject;
use pechat::certificate::{
    Application, Ca, CertificateError, CertificateRecord, Issuer, Parts, RequestRecord, ceremony,
};
use pechat::clock::UtcMicros;
use pechat::digest::{Digest, hex};
use pechat::institution::{Clause, Environment, Institution, InstitutionId};
use pechat::keys::{Job, KeyError, KeyLabel, KeyPurpose, Keys, PinnedKey, PinnedKeys};
use pechat::timestamp::RecordFn;
use serde_json::Value;

/// 2027-01-15T08:00:00Z, seconds since 1970.
pub const NOW: i64 = 1_800_000_000;
pub const URL: &str = "http://seal.example.gov";

pub fn at(seconds: i64) -> UtcMicros {
    UtcMicros(seconds * 1_000_000)
}

/// What the device does with the next jobs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Signs,
    Refuses,
    /// Signs with another key.
    Lies,
    /// Takes the job and never answers.
    Hangs,
}

pub struct Office {
    pub issuer: Issuer,
    pub keys: Keys,
    pub directory: Directory,
    pub root: Ca,
    /// Every event recorded so far, and every signature the device made, in order.
    pub history: Arc<Mutex<Vec<Value>>>,
    pub device: Arc<Mutex<Device>>,
    /// Whether the journal takes records.
    pub journal_works: Arc<Mutex<bool>>,
    pub cas: Vec<(Environment, Ca)>,
    pub dir: tempfile::TempDir,
}

const LABELS: [(&str, KeyPurpose); 8] = [
    ("root-ca", KeyPurpose::RootCa),
    ("ca-test", KeyPurpose::IssuingCa),
    ("ca-integration", KeyPurpose::IssuingCa),
    ("ca-production", KeyPurpose::IssuingCa),
    ("tsu-1", KeyPurpose::Timestamp),
    ("ocsp-test", KeyPurpose::OcspResponder),
    ("ocsp-integration", KeyPurpose::OcspResponder),
    ("ocsp-production", KeyPurpose::OcspResponder),
];

pub fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

pub fn id(text: &str) -> InstitutionId {
    InstitutionId::try_from(text.to_owned()).unwrap()
}

pub fn subject(common_name: &str) -> Subject {
    Subject {
        country: "BG".into(),
        organisation: "Operator".into(),
        organisation_identifier: None,
        common_name: common_name.into(),
    }
}

impl Office {
    /// CAs made at `now`, three institutions, no officer.
    pub async fn bare(now: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let history: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (device, journal_works) = (Arc::new(Mutex::new(Device::Signs)), Arc::new(Mutex::new(true)));
        let keys = device_keys(device.clone(), history.clone());
        let certificate =
            ceremony::self_signed_root(&keys, &label("root-ca"), &subject("Root CA"), at(now)).await.unwrap();
        let root = Ca { label: label("root-ca"), certificate };
        let mut cas = Vec::new();
        for environment in Environment::ALL {
            let label = label(&format!("ca-{}", environment.as_str()));
            let named = subject(&format!("{} CA", environment.as_str()));
            let made = ceremony::issuing_ca(&keys, &root, &label, environment, &named, URL, at(now)).await;
            cas.push((environment, Ca { label, certificate: made.unwrap() }));
        }
        let directory = Directory::default();
        let record = recorder(history.clone(), journal_works.clone());
        let parts = parts(dir.path(), &keys, &directory, record, &root, &cas);
        let issuer = Issuer::open(parts).unwrap();
        issuer.renew_responders(at(now)).await.unwrap();
        let office = Self { issuer, keys, directory, root, history, device, journal_works, cas, dir };
        for (name, organisation) in [("operator", "Operator"), ("agency", "Agency"), ("court", "Court")] {
            let domain = format!("{name}.example");
            let record = Institution::new(id(name), organisation.into(), "BG".into(), None, domain).unwrap();
            office.issuer.register(record, "init", at(now)).await.unwrap();
        }
        office
    }

    /// With the officers `ana` and `boris`.
    pub async fn open() -> (Self, Identity, Identity) {
        let office = Self::bare(NOW).await;
        let ana = office.officer("ana").await;
        let boris = office.officer("boris").await;
        office.history.lock().unwrap().clear();
        (office, ana, boris)
    }

    async fn officer(&self, name: &str) -> Identity {
        let application =
            self.application("operator", Environment::Production, Role::ControlAdministrator, name);
        let record = self.issuer.import_identity(application, at(NOW)).await.unwrap();
        self.identity(&record)
    }

    /// As the directory has it.
    pub fn identity(&self, record: &CertificateRecord) -> Identity {
        self.directory.find(&Digest::of(&record.der)).unwrap().as_ref().clone()
    }

    /// What a restarted service would have: the same files, nothing in memory.
    pub fn reopened(&self) -> Issuer {
        let record = recorder(self.history.clone(), self.journal_works.clone());
        let parts = parts(self.dir.path(), &self.keys, &self.directory, record, &self.root, &self.cas);
        Issuer::open(parts).unwrap()
    }

    pub fn application(
        &self,
        institution: &str,
        environment: Environment,
        role: Role,
        name: &str,
    ) -> Application {
        let csr = self.csr(&self.new_key());
        Application { csr, institution: id(institution), environment, role, name: name.into() }
    }

    /// A fresh P-256 key file.
    pub fn new_key(&self) -> PathBuf {
        let path = self.dir.path().join(format!("{}.key", hex(&rand_16())));
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", text(&path)]);
        path
    }

    /// A request without names for a key file.
    pub fn csr(&self, key: &Path) -> Vec<u8> {
        openssl(&["req", "-new", "-key", text(key), "-subj", "/"])
    }

    pub async fn submit(
        &self,
        application: Application,
        by: &Identity,
    ) -> Result<(RequestRecord, Option<CertificateRecord>), CertificateError> {
        self.issuer.submit(application, by, at(NOW)).await
    }

    /// A test certificate of `name` of `agency`.
    pub async fn test_certificate(&self, by: &Identity, name: &str) -> CertificateRecord {
        let application = self.application("agency", Environment::Test, Role::RegistryService, name);
        self.submit(application, by).await.unwrap().1.unwrap()
    }

    /// A production request of `name` of `agency`, frozen.
    pub async fn production_request(&self, by: &Identity, name: &str) -> RequestRecord {
        let application = self.application("agency", Environment::Production, Role::RegistryService, name);
        let (request, certificate) = self.submit(application, by).await.unwrap();
        assert_eq!(certificate, None);
        request
    }

    pub async fn agree(
        &self,
        request: &RequestRecord,
        officer: &Identity,
    ) -> Result<(RequestRecord, Option<CertificateRecord>), CertificateError> {
        self.issuer.decide(&request.id, officer, Clause::Agree, request.tbs_sha256(), None, at(NOW)).await
    }

    /// A file for openssl.
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        text(&path).to_owned()
    }

    /// Root and issuing CA files, PEM.
    pub fn ca_files(&self, environment: Environment) -> (String, String) {
        let ca = self.cas.iter().find(|(e, _)| *e == environment).unwrap();
        let pem = pechat::certificate::pem;
        (
            self.file("root.pem", pem(&self.root.certificate).as_bytes()),
            self.file("ca.pem", pem(&ca.1.certificate).as_bytes()),
        )
    }

    /// The words of the history so far: events, and `signature KEY` for every use of a key.
    pub fn events(&self) -> Vec<String> {
        let history = self.history.lock().unwrap();
        history.iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect()
    }
}

fn parts(
    dir: &Path,
    keys: &Keys,
    directory: &Directory,
    record: RecordFn,
    root: &Ca,
    cas: &[(Environment, Ca)],
) -> Parts {
    Parts {
        store: dir.join("store.sqlite"),
        keys: keys.clone(),
        record,
        directory: directory.clone(),
        root: root.clone(),
        cas: cas.to_vec(),
        admits: vec![Environment::Production],
        public_url: URL.into(),
    }
}

fn recorder(history: Arc<Mutex<Vec<Value>>>, works: Arc<Mutex<bool>>) -> RecordFn {
    Arc::new(move |_, detail| {
        let (history, works) = (history.clone(), *works.lock().unwrap());
        Box::pin(async move {
            if !works {
                return Err("the disk is full".to_owned());
            }
            history.lock().unwrap().push(serde_json::from_slice(&detail).unwrap());
            Ok(())
        })
    })
}

fn device_keys(device: Arc<Mutex<Device>>, history: Arc<Mutex<Vec<Value>>>) -> Keys {
    let soft = |n: u8| SigningKey::from_slice(&[n; 32]).unwrap();
    let signing: HashMap<_, _> = (1u8..).zip(LABELS).map(|(n, (name, _))| (label(name), soft(n))).collect();
    let keys = (1u8..).zip(LABELS).map(|(n, (name, purpose))| PinnedKey {
        spki: hex(soft(n).verifying_key().to_public_key_der().unwrap().as_bytes()),
        id: hex(&[n]),
        label: label(name),
        purpose,
    });
    let (keys, mut jobs) =
        Keys::channel(PinnedKeys { keys: keys.collect() }, 64, Duration::from_secs(30)).unwrap();
    std::thread::spawn(move || {
        let mut held: Vec<Job> = Vec::new();
        while let Some(job) = jobs.blocking_recv() {
            let mode = *device.lock().unwrap();
            let with =
                |key: &SigningKey| -> p256::ecdsa::Signature { key.sign_prehash(&job.digest).unwrap() };
            let answer = match mode {
                Device::Hangs => {
                    held.push(job);
                    continue;
                }
                Device::Refuses => Err(KeyError::Refused("the token was pulled out".into())),
                Device::Lies => Ok(with(&soft(99)).to_bytes().into()),
                Device::Signs => {
                    let event = format!("signature {}", job.key.as_str());
                    history.lock().unwrap().push(serde_json::json!({ "event": event }));
                    Ok(with(&signing[&job.key]).to_bytes().into())
                }
            };
            let _ = job.reply.send(answer);
        }
    });
    keys
}

fn rand_16() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Standard output of a run that must succeed.
pub fn openssl(arguments: &[&str]) -> Vec<u8> {
    let (worked, out, error) = openssl_says(arguments);
    assert!(worked, "openssl {arguments:?}: {error}");
    out
}

/// Whether it succeeded, standard output, and both outputs as text.
pub fn openssl_says(arguments: &[&str]) -> (bool, Vec<u8>, String) {
    let run = Command::new("openssl").args(arguments).output().unwrap();
    let both = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    (run.status.success(), run.stdout, both)
}

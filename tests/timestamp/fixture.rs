//! One time-stamping authority: certificates made by OpenSSL, a software key that answers the HSM's
//! queue, a clock set by hand, and a list for the journal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::DecodePrivateKey;
use pechat::clock::HandSet;
use pechat::digest::hex;
use pechat::keys::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKey, PinnedKeys};
use pechat::timestamp::{Answer, Authority, AuthorityError, RecordFn, UnitParts};
use serde_json::Value;
use tempfile::TempDir;

pub const POLICY: &str = "0.4.0.2023.1.1";
pub const OTHER_POLICY: &str = "1.3.6.1.4.1.99999.1";
pub const UNIT_EXTENSIONS: &str = "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE";

/// Runs `openssl`; what it printed, or what it complained about.
pub fn openssl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("openssl").args(arguments).output().expect("openssl starts");
    let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// A directory with `root`, `issuing` and `unit` keys and certificates.
pub struct Hierarchy(TempDir);

impl Hierarchy {
    pub fn new() -> Self {
        let it = Self(tempfile::tempdir().unwrap());
        it.key("root");
        it.key("issuing");
        it.key("unit");
        let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
        it.certify("root", "root", ca, 3650);
        it.certify("issuing", "root", ca, 3650);
        it.certify("unit", "issuing", UNIT_EXTENSIONS, 365);
        it
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }

    fn key(&self, name: &str) {
        let file = self.text(&format!("{name}.key"));
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &file])
            .unwrap();
    }

    /// Makes `name.pem` and `name.der`, signed by `issuer` (its own name: self-signed).
    pub fn certify(&self, name: &str, issuer: &str, extensions: &str, days: i32) {
        let file = |suffix: &str| self.text(&format!("{name}.{suffix}"));
        let issuer = |suffix: &str| self.text(&format!("{issuer}.{suffix}"));
        let (key, csr, pem) = (file("key"), file("csr"), file("pem"));
        let subject = format!("/C=RS/O=Test Administration/CN={name}");
        openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &csr]).unwrap();
        let extfile = self.write(&format!("{name}.ext"), extensions.as_bytes());
        let days = days.to_string();
        let mut command =
            vec!["x509", "-req", "-in", &csr, "-days", &days, "-extfile", &extfile, "-out", &pem];
        let (ca, ca_key) = (issuer("pem"), issuer("key"));
        if ca == pem {
            command.extend(["-signkey", &key]);
        } else {
            command.extend(["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"]);
        }
        openssl(&command).unwrap();
        openssl(&["x509", "-in", &pem, "-outform", "DER", "-out", &file("der")]).unwrap();
    }

    pub fn der(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(&format!("{name}.der"))).unwrap()
    }

    pub fn parts(&self) -> UnitParts {
        UnitParts {
            key: KeyLabel::new("tsu-1").unwrap(),
            certificate: self.der("unit"),
            chain: vec![self.der("issuing")],
            policy: POLICY.into(),
            accepted_policies: vec![OTHER_POLICY.into()],
        }
    }

    fn signing_key(&self) -> SigningKey {
        let pem = std::fs::read_to_string(self.path("unit.key")).unwrap();
        SigningKey::from_pkcs8_pem(&pem).unwrap()
    }

    fn pinned(&self) -> PinnedKeys {
        let der = self.text("unit.spki");
        openssl(&["pkey", "-in", &self.text("unit.key"), "-pubout", "-outform", "DER", "-out", &der])
            .unwrap();
        let spki = hex(&std::fs::read(Path::new(&der)).unwrap());
        let label = KeyLabel::new("tsu-1").unwrap();
        PinnedKeys { keys: vec![PinnedKey { label, purpose: KeyPurpose::Timestamp, id: "01".into(), spki }] }
    }
}

/// What the device does before it signs; it may refuse, or move the clock meanwhile.
pub type Device = Box<dyn Fn(&HandSet) -> Result<(), KeyError> + Send>;

pub fn willing() -> Device {
    Box::new(|_| Ok(()))
}

/// An authority and everything around it.
pub struct Tsa {
    pub hierarchy: Hierarchy,
    pub clock: Arc<HandSet>,
    pub authority: Authority,
    /// Digests the device signed, and records made, in one order.
    pub events: Arc<Mutex<Vec<Event>>>,
    pub journal_works: Arc<AtomicBool>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Recorded([u8; 16], Value),
    Signed([u8; 32]),
}

impl Tsa {
    pub fn new() -> Self {
        Self::with(Duration::from_millis(3), willing())
    }

    pub fn with(bound: Duration, device: Device) -> Self {
        Self::after(Hierarchy::new(), 0, bound, device)
    }

    /// Behind a journal whose last time is `not_before_us`.
    pub fn after(hierarchy: Hierarchy, not_before_us: i64, bound: Duration, device: Device) -> Self {
        let (clock, reader) = HandSet::synchronised(bound);
        let (clock, events) = (Arc::new(clock), Arc::default());
        let keys = keys(&hierarchy, clock.clone(), device, Arc::clone(&events));
        let authority = Authority::new(hierarchy.parts(), keys, reader, not_before_us).unwrap();
        let journal_works = Arc::new(AtomicBool::new(true));
        authority.record_with(record_fn(events.clone(), journal_works.clone()));
        Self { hierarchy, clock, authority, events, journal_works }
    }

    pub async fn ask(&self, query: &[u8]) -> Answer {
        self.authority.answer(query, "client-of-the-test").await
    }

    pub fn records(&self) -> Vec<([u8; 16], Value)> {
        let events = self.events.lock().unwrap();
        let of = |e: &Event| if let Event::Recorded(id, v) = e { Some((*id, v.clone())) } else { None };
        events.iter().filter_map(of).collect()
    }

    /// `openssl ts -verify` of a reply against its query.
    pub fn openssl_verifies(&self, reply: &[u8], query: &[u8]) -> Result<String, String> {
        let (reply, query) = (self.hierarchy.write("r.tsr", reply), self.hierarchy.write("q.tsq", query));
        let (root, untrusted) = (self.hierarchy.text("root.pem"), self.hierarchy.text("untrusted.pem"));
        let pems =
            ["unit.pem", "issuing.pem"].map(|n| std::fs::read_to_string(self.hierarchy.path(n)).unwrap());
        std::fs::write(&untrusted, pems.concat()).unwrap();
        openssl(&[
            "ts",
            "-verify",
            "-in",
            &reply,
            "-queryfile",
            &query,
            "-CAfile",
            &root,
            "-untrusted",
            &untrusted,
        ])
    }

    /// `openssl ts -reply -text`.
    pub fn openssl_text(&self, reply: &[u8]) -> String {
        let reply = self.hierarchy.write("t.tsr", reply);
        openssl(&["ts", "-reply", "-in", &reply, "-text"]).unwrap()
    }
}

fn keys(hierarchy: &Hierarchy, clock: Arc<HandSet>, device: Device, events: Arc<Mutex<Vec<Event>>>) -> Keys {
    let (keys, mut jobs) = Keys::channel(hierarchy.pinned(), 16, Duration::from_secs(5)).unwrap();
    let key = hierarchy.signing_key();
    std::thread::spawn(move || {
        while let Some(job) = jobs.blocking_recv() {
            let answer = device(&clock).map(|()| {
                events.lock().unwrap().push(Event::Signed(job.digest));
                let signature: p256::ecdsa::Signature = key.sign_prehash(&job.digest).unwrap();
                signature.to_bytes().into()
            });
            let _ = job.reply.send(answer);
        }
    });
    keys
}

fn record_fn(events: Arc<Mutex<Vec<Event>>>, works: Arc<AtomicBool>) -> RecordFn {
    Arc::new(move |id, detail| {
        let (events, works) = (events.clone(), works.clone());
        Box::pin(async move {
            if !works.load(Ordering::SeqCst) {
                return Err("the disk is full".into());
            }
            events.lock().unwrap().push(Event::Recorded(id, serde_json::from_slice(&detail).unwrap()));
            Ok(())
        })
    })
}

/// An authority of other parts, for the refusals of `Authority::new`; nothing records for it.
pub fn authority_of(hierarchy: &Hierarchy, parts: UnitParts) -> Result<Authority, AuthorityError> {
    let (clock, reader) = HandSet::synchronised(Duration::from_millis(3));
    let keys = keys(hierarchy, Arc::new(clock), willing(), Arc::default());
    Authority::new(parts, keys, reader, 0)
}

//! A whole `App` behind real listeners: software keys answer the HSM's queue, the clock is set by hand,
//! journal and store are real.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::EncodePublicKey;
use pechat::access::{Directory, Identity, Role};
use pechat::certificate::profile::Subject;
use pechat::certificate::{Ca, Issuer, ceremony};
use pechat::clock::{Clock, HandSet, UtcMicros};
use pechat::digest::hex;
use pechat::http::limit::Limits;
use pechat::http::listen::{Door, listen};
use pechat::http::tls::Tls;
use pechat::http::{self, App, Front};
use pechat::identifier::{IdentifierSettings, Identifiers};
use pechat::institution::{Environment, InstitutionId};
use pechat::journal::{JournalName, Journals, OwnJournal, RequestId};
use pechat::keys::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKey, PinnedKeys};
use pechat::timestamp::{Authority, RecordFn, UnitParts};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::pki::{Credential, Dates, Pki};
use crate::wire::Wire;

/// Ends with the test's runtime.
pub struct Listening {
    pub address: SocketAddr,
    pub stop: watch::Sender<bool>,
    pub task: tokio::task::JoinHandle<()>,
}

pub async fn start(door: Door, router: Router, limits: Limits) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move { listen(listener, door, router, &limits, stopped).await });
    Listening { address, stop, task }
}

pub fn mutual(pki: &Pki) -> Door {
    let server = pki.server();
    Door::Mutual(Tls::new(&server.chain, &server.key, &pki.root()).unwrap())
}

pub struct Service {
    pub pki: Pki,
    pub app: App,
    pub clock: HandSet,
    /// Whether the device signs.
    pub device_works: Arc<AtomicBool>,
    pub api: Listening,
    pub public: Listening,
    pub metrics: Listening,
    identities: Vec<Identity>,
    credentials: HashMap<String, Credential>,
    _dir: tempfile::TempDir,
}

const LABELS: [(&str, KeyPurpose); 5] = [
    ("root-ca", KeyPurpose::RootCa),
    ("ca-production", KeyPurpose::IssuingCa),
    ("tsu-1", KeyPurpose::Timestamp),
    ("journal-head", KeyPurpose::JournalHead),
    ("canary", KeyPurpose::Canary),
];

impl Service {
    pub async fn start(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, reader) = HandSet::synchronised(Duration::from_millis(2));
        let (keys, device_works) = device();
        let app = app(dir.path(), keys, reader, limits.clone()).await;
        let pki = Pki::new();
        let api = start(mutual(&pki), http::api(app.clone()).0, limits.clone()).await;
        let public = start(Door::Plain, http::public(app.clone()), limits.clone()).await;
        let metrics = start(Door::Plain, http::metrics(app.clone()), limits).await;
        let (identities, credentials) = Default::default();
        Self { pki, app, clock, device_works, api, public, metrics, identities, credentials, _dir: dir }
    }

    /// Certifies `name` of `institution` and puts it in force.
    pub fn add(&mut self, institution: &str, name: &str, role: Role) -> &Credential {
        let credential = self.pki.client(&format!("{institution}-{name}"), Dates::Good);
        self.identities.push(Identity {
            fingerprint: credential.fingerprint,
            institution: id(institution),
            name: name.into(),
            role,
            not_after: i64::MAX,
            revoked: false,
        });
        self.app.directory.replace(self.identities.clone());
        self.credentials.entry(name.into()).insert_entry(credential).into_mut()
    }

    /// Changes the identity `name` in the directory.
    pub fn change(&mut self, name: &str, change: impl Fn(&mut Identity)) {
        self.identities.iter_mut().filter(|i| i.name == name).for_each(change);
        self.app.directory.replace(self.identities.clone());
    }

    /// A kept connection of the identity `name`.
    pub async fn connect(&self, name: &str) -> Wire {
        Wire::connect(self.api.address, &self.pki.root(), Some(&self.credentials[name])).await.unwrap()
    }

    pub async fn open_journal(&self, name: &str, institution: &str) {
        let name = JournalName::try_from(name.to_owned()).unwrap();
        self.app.journals.create(name, id(institution)).await.unwrap();
    }
}

pub fn id(text: &str) -> InstitutionId {
    InstitutionId::try_from(text.to_owned()).unwrap()
}

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

fn device() -> (Keys, Arc<AtomicBool>) {
    let works = Arc::new(AtomicBool::new(true));
    let signing: HashMap<_, _> =
        (1u8..).zip(LABELS).map(|(n, (name, _))| (label(name), soft_key(n))).collect();
    let pinned = (1u8..).zip(LABELS).map(|(n, (name, purpose))| PinnedKey {
        spki: hex(signing[&label(name)].verifying_key().to_public_key_der().unwrap().as_bytes()),
        id: hex(&[n]),
        label: label(name),
        purpose,
    });
    let pinned = PinnedKeys { keys: pinned.collect() };
    let (keys, mut jobs) = Keys::channel(pinned, 64, Duration::from_secs(5)).unwrap();
    let working = works.clone();
    std::thread::spawn(move || {
        while let Some(job) = jobs.blocking_recv() {
            let signature: p256::ecdsa::Signature = signing[&job.key].sign_prehash(&job.digest).unwrap();
            let answer = match working.load(Ordering::SeqCst) {
                true => Ok(signature.to_bytes().into()),
                false => Err(KeyError::Refused("the token was pulled out".into())),
            };
            let _ = job.reply.send(answer);
        }
    });
    (keys, works)
}

fn soft_key(n: u8) -> SigningKey {
    SigningKey::from_slice(&[n; 32]).unwrap()
}

async fn app(dir: &std::path::Path, keys: Keys, clock: Clock, limits: Limits) -> App {
    let (root, ca, tsu) = certificates(&keys, clock.permit().unwrap().reading.utc).await;
    let policy = "0.4.0.2023.1.1".to_owned();
    let unit = UnitParts {
        key: label("tsu-1"),
        certificate: tsu,
        chain: vec![ca.certificate.clone()],
        policy,
        accepted_policies: vec![],
    };
    let authority = Authority::new(unit, keys.clone(), clock.clone(), 0).unwrap();
    let stamping = authority.clone();
    let parts = pechat::journal::Parts {
        dir: dir.join("journal"),
        site: "seal.example.gov".into(),
        keys: keys.clone(),
        head_key: label("journal-head"),
        stamp: Arc::new(move |imprint| {
            let authority = stamping.clone();
            Box::pin(async move { authority.stamp_batch(imprint).await.map_err(|e| e.to_string()) })
        }),
        clock: clock.clone(),
        segment_bytes: 1 << 20,
    };
    let journals = Journals::open(parts).await.unwrap();
    authority.record_with(recorder(&journals, OwnJournal::Timestamps));
    let directory = Directory::default();
    let issuer = Issuer::open(pechat::certificate::Parts {
        store: dir.join("store.sqlite"),
        keys: keys.clone(),
        record: recorder(&journals, OwnJournal::Certificates),
        directory: directory.clone(),
        root,
        cas: vec![(Environment::Production, ca)],
        admits: vec![Environment::Production],
        public_url: "http://seal.example.gov".into(),
    });
    let front = Front::new(limits);
    let identifiers = Identifiers::new(&numbering(), journals.clone(), clock.clone()).unwrap();
    App { journals, authority, clock, keys, issuer: issuer.unwrap(), directory, identifiers, front }
}

/// Two institutions with owner codes.
fn numbering() -> IdentifierSettings {
    let codes = [("cadastre", "7500"), ("land-agency", "4750")];
    let codes = codes.into_iter().map(|(name, code)| (id(name), code.to_owned())).collect();
    IdentifierSettings { codes, ..IdentifierSettings::default() }
}

fn recorder(journals: &Journals, own: OwnJournal) -> RecordFn {
    let journals = journals.clone();
    Arc::new(move |id, detail| {
        let journals = journals.clone();
        Box::pin(async move {
            journals.record(own, RequestId(id), detail).await.map(|_| ()).map_err(|e| e.to_string())
        })
    })
}

async fn certificates(keys: &Keys, now: UtcMicros) -> (Ca, Ca, Vec<u8>) {
    let url = "http://seal.example.gov";
    let subject = |common_name: &str| Subject {
        country: "RS".into(),
        organisation: "Test Administration".into(),
        organisation_identifier: None,
        common_name: common_name.into(),
    };
    let certificate =
        ceremony::self_signed_root(keys, &label("root-ca"), &subject("Root"), now).await.unwrap();
    let root = Ca { label: label("root-ca"), certificate };
    let production = Environment::Production;
    let certificate =
        ceremony::issuing_ca(keys, &root, &label("ca-production"), production, &subject("CA"), url, now)
            .await;
    let ca = Ca { label: label("ca-production"), certificate: certificate.unwrap() };
    let tsu = ceremony::tsu(keys, &ca, &label("tsu-1"), &subject("TSU 1"), url, now).await.unwrap();
    (root, ca, tsu)
}

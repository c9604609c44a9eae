//! The flow of a certificate: judge, freeze, agree, record, sign, record, release.
//!
//! Trust: the store decides who is admitted, so whoever writes to it can make an identity; the journal
//! holds an intent and an outcome for every signature and shows what the store would hide.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::authority::{Authority, Ca};
use super::draft::iso8601;
use super::ocsp::{Allowance, Answers, Responder};
use super::record::{CertificateRecord, RequestRecord};
use super::{CertificateError, RevocationList, Serial};
use crate::access::Directory;
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::institution::{Agreement, Environment, Institution, InstitutionId};
use crate::keys::Keys;
use crate::store::{IdentityRecord, Store};
use crate::timestamp::RecordFn;

/// What an issuer works with.
pub struct Parts {
    /// The SQLite file; made if absent.
    pub store: PathBuf,
    /// The HSM.
    pub keys: Keys,
    /// Writes to the journal of certificates; resolves when durable.
    pub record: RecordFn,
    /// Who is who; replaced at each change.
    pub directory: Directory,
    /// The root.
    pub root: Ca,
    /// The issuing CA of each environment.
    pub cas: Vec<(Environment, Ca)>,
    /// Environments whose certificates are identities on this appliance. Only `production`, unless
    /// nothing here is real: a test certificate needs one officer, so it must not open real journals.
    pub admits: Vec<Environment>,
    /// Where `/crl/…` and `/ca/…` are served, e.g. `http://seal.example.gov`, without slash at the end.
    pub public_url: String,
}

/// Issues and revokes; holds the store, the HSM keys and the journal. Cheap to clone.
#[derive(Clone)]
pub struct Issuer(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub store: Store,
    pub keys: Keys,
    record: RecordFn,
    pub directory: Directory,
    pub root: Authority,
    pub cas: HashMap<Environment, Authority>,
    pub responders: Vec<Responder>,
    pub answers: Answers,
    pub allowance: Allowance,
    pub renewing: Mutex<()>,
    /// Between looking for a machine's request and entering it nobody else may do the same.
    pub enrolling: Mutex<()>,
    admits: Vec<Environment>,
    pub public_url: String,
    /// Between judging a key or a name and keeping the request nobody else may do the same.
    pub submitting: Mutex<()>,
    /// A list read before a revocation may not replace the one read after it.
    refreshing: Mutex<()>,
    pub listing: Mutex<()>,
    pub lists: ArcSwap<HashMap<String, Arc<RevocationList>>>,
    last_time: AtomicI64,
}

impl Issuer {
    /// Opens the store, marks what was interrupted, puts identities and lists in force. Blocking.
    pub fn open(parts: Parts) -> Result<Issuer, CertificateError> {
        let store = Store::open(&parts.store)?;
        store.mark_interrupted()?;
        let lists: HashMap<_, _> =
            store.newest_lists()?.into_iter().map(|(ca, l)| (ca, Arc::new(l))).collect();
        let last_time = lists.values().map(|l| l.this_update).max().unwrap_or(0);
        let cas =
            parts.cas.iter().map(|(environment, ca)| Ok((*environment, Authority::new(ca, &parts.keys)?)));
        let cas: HashMap<_, _> = cas.collect::<Result<_, CertificateError>>()?;
        let made = |name: &str| Ok(store.own_certificates(name)?);
        let responders = cas.values().filter_map(|ca| Responder::of(ca, &parts.keys, made).transpose());
        let responders = responders.collect::<Result<_, CertificateError>>()?;
        let inner = Inner {
            record: parts.record,
            directory: parts.directory,
            root: Authority::new(&parts.root, &parts.keys)?,
            cas,
            responders,
            answers: Answers::default(),
            allowance: Allowance::default(),
            renewing: Mutex::default(),
            enrolling: Mutex::default(),
            keys: parts.keys,
            admits: parts.admits,
            public_url: parts.public_url,
            submitting: Mutex::default(),
            refreshing: Mutex::default(),
            listing: Mutex::default(),
            lists: ArcSwap::from_pointee(lists),
            last_time: AtomicI64::new(last_time),
            store,
        };
        let issuer = Issuer(Arc::new(inner));
        issuer.admit(issuer.0.store.identities_now()?);
        Ok(issuer)
    }

    fn admit(&self, identities: Vec<IdentityRecord>) {
        let admitted = identities.into_iter().filter(|i| self.0.admits.contains(&i.environment));
        self.0.directory.replace(admitted.map(|i| i.identity));
    }

    pub(super) async fn refresh_directory(&self) -> Result<(), CertificateError> {
        let _turn = self.0.refreshing.lock().await;
        self.admit(self.0.store.identities().await?);
        Ok(())
    }

    /// Makes an event durable in the journal; its id is the first half of its hash, so that the same
    /// event recorded twice is one entry.
    pub(super) async fn note(&self, event: Value) -> Result<(), CertificateError> {
        let detail = event.to_string().into_bytes();
        let mut id = [0; 16];
        id.copy_from_slice(&Digest::of(&detail).as_bytes()[..16]);
        (self.0.record)(id, detail).await.map_err(CertificateError::Record)
    }

    /// Whole seconds; remembered as the last time the caller trusted.
    pub(super) fn at(&self, now: UtcMicros) -> i64 {
        let seconds = now.0.div_euclid(1_000_000);
        self.0.last_time.store(seconds, Ordering::Relaxed);
        seconds
    }

    /// `now`, or the last time that was trusted: a revocation does not wait for the clock.
    pub(super) fn at_or_last(&self, now: Option<UtcMicros>) -> Result<i64, CertificateError> {
        match (now, self.0.last_time.load(Ordering::Relaxed)) {
            (Some(now), _) => Ok(self.at(now)),
            (None, 0) => Err(CertificateError::NoTime),
            (None, last) => Ok(last),
        }
    }

    pub(super) fn authority(&self, environment: Environment) -> Result<&Authority, CertificateError> {
        self.0
            .cas
            .get(&environment)
            .ok_or_else(|| CertificateError::UnknownCa(environment.as_str().to_owned()))
    }

    /// Registers an institution.
    pub async fn register(
        &self,
        institution: Institution,
        by: &str,
        now: UtcMicros,
    ) -> Result<Institution, CertificateError> {
        let exists = || CertificateError::InstitutionExists {
            id: institution.id.to_string(),
            domain: institution.domain.clone(),
        };
        if self.0.store.institution(&institution.id).await?.is_some() {
            return Err(exists());
        }
        self.note(json!({
            "event": "institution", "id": institution.id, "organisation": institution.organisation,
            "country": institution.country, "organisation_identifier": institution.organisation_identifier,
            "domain": institution.domain, "by": by, "time": iso8601(self.at(now)),
        }))
        .await?;
        if self.0.store.add_institution(institution.clone()).await? { Ok(institution) } else { Err(exists()) }
    }

    /// All institutions.
    pub async fn institutions(&self) -> Result<Vec<Institution>, CertificateError> {
        Ok(self.0.store.institutions().await?)
    }

    pub(super) async fn institution(&self, id: &InstitutionId) -> Result<Institution, CertificateError> {
        let found = self.0.store.institution(id).await?;
        found.ok_or_else(|| CertificateError::UnknownInstitution(id.to_string()))
    }

    /// One request with the decisions on it.
    pub async fn request(&self, id: &str) -> Result<(RequestRecord, Vec<Agreement>), CertificateError> {
        let request = self.0.store.request(id).await?;
        let request = request.ok_or_else(|| CertificateError::UnknownRequest(id.to_owned()))?;
        let decisions = self.0.store.agreements(id).await?;
        Ok((request, decisions))
    }

    /// All requests, newest first.
    pub async fn requests(&self) -> Result<Vec<RequestRecord>, CertificateError> {
        Ok(self.0.store.requests().await?)
    }

    /// One certificate.
    pub async fn certificate(&self, serial: Serial) -> Result<CertificateRecord, CertificateError> {
        let found = self.0.store.certificate(serial).await?;
        found.ok_or_else(|| CertificateError::UnknownCertificate(serial.to_string()))
    }

    /// All certificates, newest first.
    pub async fn certificates(&self) -> Result<Vec<CertificateRecord>, CertificateError> {
        Ok(self.0.store.certificates().await?)
    }

    /// The certificate and its issuers, leaf first, root last, DER.
    pub fn chain(&self, record: &CertificateRecord) -> Vec<Vec<u8>> {
        let ca = self.authorities().find(|a| a.label.as_str() == record.issuer);
        let issuers = ca.into_iter().chain([&self.0.root]).map(|a| a.certificate.clone());
        let mut chain: Vec<Vec<u8>> = std::iter::once(record.der.clone()).chain(issuers).collect();
        // The root's own products, and the root itself, do not name it twice.
        chain.dedup();
        chain
    }

    /// All CAs, the root first.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &Authority> {
        std::iter::once(&self.0.root).chain(self.0.cas.values())
    }

    /// The certificate (DER) of the CA with this key label.
    pub fn ca_certificate(&self, label: &str) -> Option<Vec<u8>> {
        self.authorities().find(|a| a.label.as_str() == label).map(|a| a.certificate.clone())
    }
}

//! Line 34: at every instant after a call returned, OCSP, the complete list, every earlier list with the
//! delta, and the store say the same, over random sequences of issuing, revoking, holding and releasing.

#[allow(dead_code)] // not all of it is used here
#[path = "ocsp/ask.rs"]
mod ask;
#[allow(dead_code)] // not all of it is used here
#[path = "certificate/fixture.rs"]
mod fixture;

use std::collections::BTreeMap;
use std::time::Instant;

use ask::{Told, USUAL, id, request};
use const_oid::{AssociatedOid, ObjectIdentifier};
use der::Decode;
use der::asn1::{GeneralizedTime, Uint};
use fixture::{NOW, Office, at};
use pechat::access::Identity;
use pechat::certificate::{CertificateError, Issuer, Reason, RevocationList, Serial};
use proptest::prelude::*;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::pkix::crl::BaseCrlNumber;
use x509_cert::ext::pkix::{CrlNumber, CrlReason};

const INVALIDITY_DATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");

/// When, with which code, invalid since when.
type Entry = (i64, Option<u32>, Option<i64>);
type Says = BTreeMap<Vec<u8>, Entry>;

fn extension<'a, T: Decode<'a, Error = der::Error>>(
    list: Option<&'a [x509_cert::ext::Extension]>,
    oid: ObjectIdentifier,
) -> Option<T> {
    let found = list?.iter().find(|e| e.extn_id == oid)?;
    Some(T::from_der(found.extn_value.as_bytes()).unwrap())
}

fn entry(revoked: &RevokedCert) -> (Vec<u8>, Entry) {
    let extensions = revoked.crl_entry_extensions.as_deref();
    let code = extension::<CrlReason>(extensions, CrlReason::OID).map(|c| c as u32);
    let since = extension::<GeneralizedTime>(extensions, INVALIDITY_DATE);
    let since = since.map(|t| t.to_unix_duration().as_secs() as i64);
    let time = revoked.revocation_date.to_unix_duration().as_secs() as i64;
    (revoked.serial_number.as_bytes().to_vec(), (time, code, since))
}

fn says(der: &[u8]) -> Vec<(Vec<u8>, Entry)> {
    let list: CertificateList = CertificateList::from_der(der).unwrap();
    let entries: Vec<_> = list.tbs_cert_list.revoked_certificates.iter().flatten().map(entry).collect();
    assert_ne!(list.tbs_cert_list.revoked_certificates.as_deref(), Some(&[][..]), "line 17");
    entries
}

/// CRLNumber and BaseCRLNumber.
fn numbers(der: &[u8]) -> (u32, Option<u32>) {
    let list: CertificateList = CertificateList::from_der(der).unwrap();
    let number = |uint: Uint| uint.as_bytes().iter().fold(0, |n, b| (n << 8) | u32::from(*b));
    let extensions = list.tbs_cert_list.crl_extensions.as_deref();
    let own = extension::<CrlNumber>(extensions, CrlNumber::OID).unwrap();
    (number(own.0), extension::<BaseCrlNumber>(extensions, BaseCrlNumber::OID).map(|b| number(b.0)))
}

/// RFC 5280 section 6.3.3 (c): an earlier complete list, brought up to date.
fn with_delta(complete: &[u8], delta: &[u8]) -> Says {
    let mut state: Says = says(complete).into_iter().collect();
    for (serial, entry) in says(delta) {
        if entry.1 == Some(CrlReason::RemoveFromCRL as u32) {
            state.remove(&serial);
        } else {
            state.insert(serial, entry);
        }
    }
    state
}

#[derive(Debug, Clone)]
enum Act {
    Issue,
    /// Which certificate, for which reason, since how long invalid.
    Revoke(prop::sample::Index, Reason, Option<i64>),
    Hold(prop::sample::Index),
    Release(prop::sample::Index),
    /// Seconds go by, then lists and answers are renewed.
    Wait(i64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    use prop::sample::Index;
    let reason = prop::sample::select(vec![
        Reason::Unspecified,
        Reason::KeyCompromise,
        Reason::AffiliationChanged,
        Reason::Superseded,
        Reason::CessationOfOperation,
        Reason::PrivilegeWithdrawn,
    ]);
    prop_oneof![
        2 => Just(Act::Issue),
        2 => (any::<Index>(), reason, prop::option::of(0..50_i64)).prop_map(|(i, r, s)| Act::Revoke(i, r, s)),
        3 => any::<Index>().prop_map(Act::Hold),
        3 => any::<Index>().prop_map(Act::Release),
        2 => (1..60_000_i64).prop_map(Act::Wait),
        1 => Just(Act::Restart),
    ]
}

struct World {
    office: Office,
    issuer: Issuer,
    officers: [Identity; 2],
    now: i64,
    /// What should be: certificates of the test CA, revoked or not.
    model: BTreeMap<Serial, Option<(i64, Reason, Option<i64>)>>,
    /// Every complete list there ever was.
    lists: Vec<std::sync::Arc<RevocationList>>,
}

impl World {
    async fn new() -> Self {
        let (office, ana, boris) = Office::open().await;
        let issuer = office.issuer.clone();
        issuer.refresh_crls(at(NOW)).await.unwrap();
        let mut world =
            Self { office, issuer, officers: [ana, boris], now: NOW, model: BTreeMap::new(), lists: vec![] };
        world.act(Act::Issue).await;
        world
    }

    fn pick(&self, index: prop::sample::Index) -> Serial {
        *index.get(&self.model.keys().copied().collect::<Vec<_>>())
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Issue => {
                let name = format!("registry-{}", self.model.len());
                let record = self.office.test_certificate(&self.officers[0], &name).await;
                self.model.insert(record.serial, None);
            }
            Act::Revoke(index, reason, since) => {
                self.revoke(self.pick(index), reason, since.map(|s| (self.now - s).max(NOW))).await;
            }
            Act::Hold(index) => self.revoke(self.pick(index), Reason::CertificateHold, None).await,
            Act::Release(index) => self.release(self.pick(index)).await,
            Act::Wait(seconds) => {
                self.now += seconds;
                self.issuer.refresh_crls(at(self.now)).await.unwrap();
                self.issuer.refresh_answers(at(self.now)).await.unwrap();
            }
            Act::Restart => self.issuer = self.office.reopened(),
        }
        self.agree().await;
    }

    async fn revoke(&mut self, serial: Serial, reason: Reason, since: Option<i64>) {
        let by = &self.officers[0];
        let outcome = self.issuer.revoke_since(serial, reason, since, by, Some(at(self.now))).await;
        let held = |r: &(i64, Reason, Option<i64>)| r.1 == Reason::CertificateHold;
        let before = self.model[&serial];
        match before {
            Some(r) if !held(&r) || reason == Reason::CertificateHold => {
                assert!(matches!(outcome, Err(CertificateError::RevokedAlready { .. })), "{outcome:?}");
            }
            _ => {
                outcome.unwrap().list.unwrap();
                // Who doubted it from the hold on was right.
                let time = before.map_or(self.now, |r| r.0);
                self.model.insert(serial, Some((time, reason, since)));
            }
        }
    }

    /// Line 25: released from hold by two officers; any other revocation stays.
    async fn release(&mut self, serial: Serial) {
        let held = self.model[&serial].is_some_and(|r| r.1 == Reason::CertificateHold);
        for (officer, last) in self.officers.clone().iter().zip([false, true]) {
            for _ in 0..2 {
                let outcome = self.issuer.release(serial, officer, at(self.now)).await;
                if !held {
                    assert!(matches!(outcome, Err(CertificateError::NotOnHold(_))), "{outcome:?}");
                    continue;
                }
                match outcome.unwrap() {
                    None => assert!(!last, "two officers suffice"),
                    Some(released) => {
                        assert!(last, "one officer does not");
                        released.list.unwrap();
                        self.model.insert(serial, None);
                        return;
                    }
                }
            }
        }
    }

    async fn agree(&mut self) {
        let expected: Says = (self.model.iter())
            .filter_map(|(serial, r)| r.map(|r| (serial.as_bytes().to_vec(), (r.0, code(r.1), r.2))))
            .collect();
        self.lists_agree(&expected);
        let ca = self.issuer.ca_certificate("ca-test").unwrap();
        for (serial, wanted) in &self.model {
            let stored = self.issuer.certificate(*serial).await.unwrap().revocation;
            assert_eq!(stored.map(|r| (r.time, r.reason, r.invalid_since)), *wanted, "the store");
            let asked = request(vec![id(&ca, serial.as_bytes(), USUAL)], None);
            let answer = self.issuer.ocsp(&asked, Some(at(self.now)), Instant::now()).await;
            let said = Told::read(&answer.der, &ca).said();
            assert_eq!(said, [wanted.map(|r| (r.0, code(r.1)))], "OCSP");
        }
    }

    fn lists_agree(&mut self, expected: &Says) {
        let list = self.issuer.list("ca-test").unwrap();
        if self.lists.last().is_none_or(|last| last.number != list.number) {
            assert!(self.lists.last().is_none_or(|last| last.number < list.number), "line 16");
            self.lists.push(list.clone());
        }
        let delta = list.delta.as_ref().unwrap();
        assert_eq!(
            (numbers(&list.der), numbers(&delta.der)),
            ((list.number, None), (list.number, Some(delta.base)))
        );
        let complete = says(&list.der);
        assert_eq!(
            complete.len(),
            complete.iter().map(|(serial, _)| serial).collect::<std::collections::BTreeSet<_>>().len()
        );
        for (_, (time, code, _)) in &complete {
            assert!(*time <= list.this_update, "line 17");
            assert!(code.is_none_or(|c| [1, 3, 4, 5, 6, 9].contains(&c)), "line 18");
        }
        assert_eq!(&complete.into_iter().collect::<Says>(), expected, "the complete list");
        for earlier in self.lists.iter().filter(|l| (delta.base..list.number).contains(&l.number)) {
            assert_eq!(
                &with_delta(&earlier.der, &delta.der),
                expected,
                "list {} with the delta",
                earlier.number
            );
        }
    }
}

fn code(reason: Reason) -> Option<u32> {
    match reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(1),
        Reason::AffiliationChanged => Some(3),
        Reason::Superseded => Some(4),
        Reason::CessationOfOperation => Some(5),
        Reason::CertificateHold => Some(6),
        Reason::PrivilegeWithdrawn => Some(9),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn line_34_ocsp_lists_deltas_and_store_agree_after_every_act(acts in prop::collection::vec(act(), 5..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in acts {
                world.act(act).await;
            }
        });
    }
}

#[tokio::test]
async fn line_21_a_release_after_the_base_is_taken_off_every_list_since() {
    let mut world = World::new().await;
    let serial = *world.model.keys().next().unwrap();
    world.revoke(serial, Reason::CertificateHold, None).await;
    world.agree().await;
    let held = world.issuer.list("ca-test").unwrap();
    world.release(serial).await;
    world.agree().await;
    let list = world.issuer.list("ca-test").unwrap();
    let delta = list.delta.as_ref().unwrap();
    assert!(delta.base < held.number && says(&held.der).len() == 1);
    let removed = (serial.as_bytes().to_vec(), (NOW, Some(8), None));
    assert_eq!(says(&delta.der), [removed], "removeFromCRL though the base never had it");
}

#[tokio::test]
async fn line_19_and_25_hold_and_invalidity_dates_are_refused_where_they_make_no_sense() {
    let world = World::new().await;
    let [ana, boris] = &world.officers;
    let officers = world.issuer.certificates().await.unwrap();
    let of_boris = officers.iter().find(|c| c.name == "boris").unwrap().serial;
    let outcome = world.issuer.revoke(of_boris, Reason::CertificateHold, ana, Some(at(NOW))).await;
    assert!(matches!(outcome, Err(CertificateError::HoldNotAllowed(_))), "{outcome:?}");
    let serial = *world.model.keys().next().unwrap();
    for since in [NOW - 1, NOW + 1] {
        let outcome =
            world.issuer.revoke_since(serial, Reason::KeyCompromise, Some(since), boris, Some(at(NOW))).await;
        assert!(matches!(outcome, Err(CertificateError::InvaliditySpan(_))), "{outcome:?}");
    }
}

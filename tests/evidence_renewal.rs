//! Thirty years rehearsed: units expire and are replaced, ECDSA is broken, SHA-256 is
//! retired, and an auditor of 2056 has nothing but the archive, the roots and the policy of his day.

#[path = "journal/fixture.rs"]
#[allow(dead_code, reason = "the renewals need a part of the fixture")]
mod fixture;
#[path = "evidence/tsa.rs"]
mod tsa;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pechat::clock::system::{Machine, MachineTime};
use pechat::clock::{HandSet, UtcMicros};
use pechat::digest::Digest;
use pechat::evidence::policy::{Policy, day_start};
use pechat::evidence::record::EvidenceRecord;
use pechat::evidence::renew::{begin, renew_hashes, renew_timestamps};
use pechat::evidence::renewal::{EVENT, Renewal, Statement};
use pechat::evidence::verify::{Doubt, Verifier};
use pechat::journal::verify::{Trust, verify_receipt};
use pechat::journal::{Journals, OwnJournal, epoch};
use pechat::timestamp::Hash;
use tsa::Tsa;

/// What 2056 knows: ECDSA fell in 2035, SHA-256 in 2040.
const POLICY_OF_2056: &str = "version = 1\n[valid_until]\necdsa-p256 = \"2035-06-01\"\nsha256 = \"2040-06-01\"\n\
    sha512 = \"2070-01-01\"\nrsa = \"2070-01-01\"\n";
const FILES: [&[u8]; 5] = [b"entries", b"heads", b"tokens", b"format", b"verifier"];

struct World {
    units: Vec<Tsa>,
    roots: Vec<Vec<u8>>,
}

fn world() -> World {
    let units = vec![
        Tsa::new("first", "ec", 2026, 2032),
        Tsa::new("second", "ec", 2031, 2036),
        Tsa::new("third", "rsa", 2034, 2046),
        Tsa::new("fourth", "rsa", 2044, 2060),
    ];
    let roots = units.iter().map(Tsa::root).collect();
    World { units, roots }
}

fn digests(hash: Hash) -> Vec<Vec<u8>> {
    FILES.iter().map(|file| hash.of(&[file])).collect()
}

/// What is done in 30 years: (unit, day, new hash or a time-stamp renewal).
const LIFE: [(usize, u32, Option<Hash>); 4] =
    [(1, 20311101, None), (2, 20350301, None), (2, 20390301, Some(Hash::Sha512)), (3, 20450301, None)];

impl World {
    /// The life without the renewals whose numbers are left out.
    fn live(&self, left_out: &[usize]) -> Vec<EvidenceRecord> {
        self.states(left_out).pop().unwrap()
    }

    /// The records at first, and after each renewal.
    fn states(&self, left_out: &[usize]) -> Vec<Vec<EvidenceRecord>> {
        let mut newest = 0;
        let mut records =
            begin(Hash::Sha256, &digests(Hash::Sha256), &mut |h, d| Ok(self.units[0].stamp(h, d, 20261124)))
                .unwrap();
        let mut states = vec![records.clone()];
        for (n, (unit, day, hash)) in LIFE.into_iter().enumerate() {
            if left_out.contains(&n) {
                continue;
            }
            let lists = [self.units[newest].list()];
            let stamp = &mut |h: Hash, d: &[u8]| Ok(self.units[unit].stamp(h, d, day));
            records = match hash {
                None => renew_timestamps(&records, &lists, stamp).unwrap(),
                Some(hash) => renew_hashes(&records, hash, &digests(hash), &lists, stamp).unwrap(),
            };
            newest = unit;
            states.push(records.clone());
        }
        states
    }

    fn verify(&self, record: &EvidenceRecord, file: &[u8], day: &str) -> Result<Vec<String>, Doubt> {
        let policy = Policy::parse(POLICY_OF_2056).unwrap();
        // The list for the newest token is still served; those of the old ones only the archive has.
        let lists = [self.units[3].list()];
        let at = day_start(day).unwrap();
        let verifier = Verifier { roots: &self.roots, lists: &lists, policy: &policy, at };
        let facts = verifier.verify(record, &mut |hash| Ok(hash.of(&[file])))?;
        Ok(facts.iter().map(|fact| UtcMicros(fact.gen_time_us).iso8601()[..10].to_owned()).collect())
    }
}

#[test]
fn an_auditor_of_2056_verifies_every_file_from_the_archive_alone() {
    let world = world();
    // As in the archive: bytes.
    let records = world.live(&[]);
    for (record, file) in records.iter().zip(FILES) {
        let record = EvidenceRecord::from_der(&record.to_der()).unwrap();
        let days = world.verify(&record, file, "2056-01-01").unwrap();
        assert_eq!(days, ["2026-11-24", "2031-11-01", "2035-03-01", "2039-03-01", "2045-03-01"]);
    }
}

#[test]
fn a_file_altered_by_one_bit_fails_at_its_first_time_stamp() {
    let world = world();
    let records = world.live(&[]);
    let doubt = world.verify(&records[0], b"entriez", "2056-01-01").unwrap_err();
    let why = "time-stamp 1 of chain 1: it does not cover what it should: the hash is not in its tree";
    assert_eq!(doubt, Doubt::Failed(why.into()));
}

#[test]
fn one_renewal_left_out_is_named() {
    let world = world();
    for (left_out, reason) in [
        (0, "time-stamp 1 of chain 1: its certificates end at 2032-12-31T23:59:59.000Z"),
        (1, "time-stamp 2 of chain 1: ecdsa-p256 is trusted until 2035-06-01T00:00:00.000Z only"),
        (2, "the hash of chain 1: sha256 is trusted until 2040-06-01T00:00:00.000Z only"),
        (3, "time-stamp 1 of chain 2: its certificates end at 2046-12-31T23:59:59.000Z"),
    ] {
        let records = world.live(&[left_out]);
        let Err(Doubt::Indeterminate(why)) = world.verify(&records[2], FILES[2], "2056-01-01") else {
            panic!("renewal {left_out} was not missed");
        };
        assert!(why.starts_with(reason), "{why}");
    }
}

/// Bouncy Castle's jars as Debian installs them.
const JARS: [&str; 3] =
    ["/usr/share/java/bcprov.jar", "/usr/share/java/bcutil.jar", "/usr/share/java/bcpkix.jar"];

/// Whether Bouncy Castle is here. If not: says so, and fails where nothing may be skipped.
fn bouncy_castle() -> bool {
    let java = Command::new("java").arg("-version").output().is_ok();
    let here = java && JARS.iter().all(|jar| std::path::Path::new(jar).exists());
    if !here {
        let needs = "java and Bouncy Castle: default-jdk-headless, libbcpkix-java";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nothing is skipped in CI: needs {needs}");
        eprintln!("skipped: needs {needs} (make setup)");
    }
    here
}

/// What Bouncy Castle says of records and files, and whether it accepts all of them.
fn stranger(pairs: &[(EvidenceRecord, &[u8])]) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("java");
    command.current_dir(dir.path()).arg("-cp").arg(JARS.join(":"));
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/EvidenceReads.java"));
    for (n, (record, file)) in pairs.iter().enumerate() {
        let names = [format!("{n}.er"), format!("{n}.file")];
        std::fs::write(dir.path().join(&names[0]), record.to_der()).unwrap();
        std::fs::write(dir.path().join(&names[1]), file).unwrap();
        command.args(names);
    }
    let out = command.output().unwrap();
    let said = [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
    (out.status.success(), said)
}

#[test]
fn bouncy_castle_validates_records_in_every_state_of_their_life() {
    if !bouncy_castle() {
        return;
    }
    let world = world();
    let states = [&[0, 1, 2, 3][..], &[1, 2, 3], &[2, 3], &[3], &[]].map(|left_out| world.live(left_out));
    let pairs: Vec<_> =
        states.iter().flat_map(|records| records.iter().cloned().zip(FILES.iter().copied())).collect();
    let (accepted, said) = stranger(&pairs);
    assert!(accepted, "{said}");
    assert_eq!(said.matches("valid: ").count(), 25, "{said}");
    let (accepted, said) = stranger(&[(states[4][0].clone(), FILES[1])]);
    assert!(!accepted && said.contains("hash not found"), "{said}");
}

#[test]
fn no_changed_byte_of_a_record_goes_unnoticed() {
    let world = world();
    let record = world.live(&[0, 1, 3])[1].to_der();
    let verify = |der: &[u8]| {
        let record = EvidenceRecord::from_der(der).ok()?;
        world.verify(&record, FILES[1], "2040-01-01").ok()
    };
    for at in (0..record.len()).step_by(7) {
        let mut changed = record.clone();
        changed[at] ^= 1 << (at % 8);
        assert_eq!(verify(&changed), None, "byte {at}");
    }
    assert!(EvidenceRecord::from_der(&[&record[..], &[0]].concat()).is_err());
    assert!(EvidenceRecord::from_der(&record[..record.len() - 1]).is_err());
}

/// A machine whose time is a day of the calendar, and a little later at each look.
struct Calendar(AtomicI64);

impl Machine for Calendar {
    fn read(&self) -> MachineTime {
        let now = self.0.fetch_add(1_000, Ordering::Relaxed);
        MachineTime { realtime: now, monotonic: now, raw: now, window: 0 }
    }
    fn asleep(&self) -> i64 {
        0
    }
    fn kernel_unsynchronised(&self) -> Option<bool> {
        Some(false)
    }
}

fn iso(day: u32) -> String {
    format!("{}-{:02}-{:02}", day / 10_000, day / 100 % 100, day % 100)
}

/// What the appliance keeps of a renewal: the statement and its receipt.
async fn on_record(journals: &Journals, renewal: Renewal) -> (Vec<u8>, String) {
    let (by, certificate) = ("archive/anna".into(), Digest::of(b"certificate"));
    let text = Statement { event: EVENT.into(), by, certificate, renewal }.text();
    let id = epoch::entry_id(&Digest::of(&text));
    let recorded = journals.record(OwnJournal::Events, id, text.clone()).await.unwrap();
    for _ in 0..500 {
        if let Ok(receipt) = journals.receipt(&OwnJournal::Events.into(), recorded.seq).await {
            return (text, receipt);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("entry {} was never sealed", recorded.seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_years_of_renewals_stand_in_the_appliances_own_journal() {
    let (world, dir) = (world(), tempfile::tempdir().unwrap());
    let start = day_start("2026-11-24").unwrap().0 * 1000;
    let calendar = Arc::new(Calendar(AtomicI64::new(start)));
    let machine: Arc<dyn Machine> = calendar.clone();
    let appliance = fixture::World::with(HandSet::on(machine, Duration::from_millis(2)));
    let names: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).into();
    let (mut kept, states) = (Vec::new(), world.states(&[]));
    for (n, (_, day, _)) in LIFE.into_iter().enumerate() {
        // Each year another start of the service.
        calendar.0.store(day_start(&iso(day)).unwrap().0 * 1000, Ordering::Relaxed);
        appliance.trust_clock();
        let journals = appliance.open(dir.path()).await.unwrap();
        let origin = journals.origin("land");
        let renewal = Renewal::of(&origin, &names, &states[n], &states[n + 1]).unwrap();
        kept.push(on_record(&journals, renewal).await);
    }

    // 2056: the statements are those of the entries, in order of time, each going on where the last one ended.
    let spki = appliance.spki();
    let (mut last, mut earlier): (_, Option<Renewal>) = ((0, 0), None);
    for ((text, receipt), (_, day, hash)) in kept.iter().zip(LIFE) {
        let facts = verify_receipt(receipt, &Trust { head_key_spki: Some(&spki), token: None }).unwrap();
        assert_eq!(facts.entry.digest, Digest::of(text));
        assert_eq!(UtcMicros(facts.entry.time).iso8601()[..10], iso(day));
        assert!((facts.entry.seq, facts.entry.time) > last);
        last = (facts.entry.seq, facts.entry.time);
        let renewal = Statement::parse(text).unwrap().renewal;
        assert_eq!(renewal.algorithm != renewal.algorithm_before, hash.is_some(), "{day}");
        if let Some(earlier) = &earlier {
            renewal.continues(earlier).unwrap();
            assert!(earlier.continues(&renewal).is_err(), "{day}");
        }
        earlier = Some(renewal);
    }
    let end = earlier.unwrap();
    for (at, (name, record)) in names.iter().zip(&states[LIFE.len()]).enumerate() {
        assert!(end.left(name, record));
        assert!(!end.left("another", record));
        assert!(!end.left(name, &states[LIFE.len() - 1][at]), "the last renewal left out is missed");
    }
}

#[test]
fn statements_of_renewals_that_are_almost_right_are_refused() {
    let world = world();
    let renewal =
        Renewal::of("a.example/j/one", &["f".into()], &world.live(&[0, 1, 2, 3]), &world.live(&[1, 2, 3]));
    let statement = Statement {
        event: EVENT.into(),
        by: "archive/anna".into(),
        certificate: Digest::of(b"certificate"),
        renewal: renewal.unwrap(),
    };
    let text = String::from_utf8(statement.text()).unwrap();
    assert_eq!(Statement::parse(text.as_bytes()), Ok(statement));
    for (from, to) in [
        (EVENT, "renewal"),
        ("\"sha256\"", "\"md5\""),
        ("\"sha256\"", "\"sha512\""),
        ("\"f\"", "\"../f\""),
        ("\"f\"", "\"\""),
        ("\"before\":\"", "\"before\":\"0"),
        (",\"by\"", ", \"by\""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(Statement::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
    }
}

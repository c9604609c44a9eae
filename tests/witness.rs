//! Witnesses from both sides: our appliance and `pechat witness` as processes, and journals in process
//! against witnesses that are down, slow, ahead or lying.

#[allow(dead_code)] // shared with other tests, which use the rest
mod appliance;
#[allow(dead_code)]
#[path = "journal/fixture.rs"]
mod fixture;
#[path = "witness/process.rs"]
mod process;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use appliance::{Appliance, refused, run, wait_for};
use fixture::{SITE, World, copy, land, submissions};
use pechat::journal::Journals;
use pechat::journal::known::{Doubt, Held, Known};
use pechat::witness::cosignature::CosignerKey;
use pechat::witness::request::{AddCheckpoint, SignedCheckpoint};
use pechat::witness::rounds::{self, Rounds};
use pechat::witness::{KeyKind, VerifierKey, WitnessConfig, WitnessView, add_known};
use process::{Stub, WitnessProcess, answer};

const PECHAT: &str = env!("CARGO_BIN_EXE_pechat");

fn get(url: &str) -> Option<String> {
    let out = Command::new("curl").args(["-sf", "--max-time", "10", url]).output().ok()?;
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

fn metric(appliance: &Appliance, name: &str) -> u64 {
    let text = get(&format!("{}/metrics", appliance.env("PECHAT_METRICS_URL"))).unwrap();
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn with_witness(appliance: &mut Appliance, witness: &WitnessProcess) {
    appliance.kill_serve();
    let mut config = std::fs::OpenOptions::new().append(true).open(appliance.config()).unwrap();
    let (url, vkey) = (witness.url(), &witness.vkey);
    write!(config, "\n[[journal.witness]]\nname = \"one\"\nurl = \"{url}\"\nvkey = \"{vkey}\"\n").unwrap();
    appliance.start_serve();
    appliance.wait_until_ready();
}

/// `go` with these arguments in the stranger's module, ended after five minutes.
fn go(args: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/go/bin";
    let mut go = Command::new("timeout");
    // GOTOOLCHAIN=local: a Go that is too old says so instead of fetching another one.
    go.args(["300", "env", &format!("PATH={path}"), "GOTOOLCHAIN=local", "go"]).args(args);
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness/stranger"));
    go
}

/// Asks a Go program that uses none of our code. Skipped without a recent Go or its modules, even with
/// `CI=true`: unlike the other needs, the modules come from the network, which a build need not have.
fn stranger_opens(note: &Path, log_vkey: &str, witness_vkey: &str) -> Option<String> {
    let resolved = go(&["list", "-deps", "."]).output().unwrap();
    if !resolved.status.success() {
        let why = String::from_utf8_lossy(&resolved.stderr);
        println!("skipped: needs go 1.26 and its modules: {}", why.trim());
        return None;
    }
    Some(run(go(&["run", "."]).arg(note).args([log_vkey, witness_vkey])))
}

#[test]
fn a_witness_cosigns_the_appliances_heads_and_its_death_stops_no_seal() {
    let mut appliance = Appliance::start();
    let head_key = appliance.path("demo/journal-head.pem");
    let public = appliance.env("PECHAT_PUBLIC_URL").to_owned();
    let checkpoint = get(&format!("{public}/checkpoint")).unwrap();
    let origin = checkpoint.lines().next().unwrap();
    let mut log_key = Command::new(PECHAT);
    log_key.args(["witness", "log-key", "--origin", origin, "--head-key"]).arg(&head_key);
    let log_vkey = run(&mut log_key).trim().to_owned();
    let mut witness = WitnessProcess::start(&appliance.path("witness"), &log_vkey);
    with_witness(&mut appliance, &witness);

    // A cosigned head appears, and everybody accepts it.
    let cosigned = format!("{public}/checkpoint?cosigned=1");
    wait_for("a cosigned head", || get(&cosigned).is_some());
    let note = get(&cosigned).unwrap();
    let file = appliance.path("checkpoint.txt");
    std::fs::write(&file, &note).unwrap();
    let vkey = witness.vkey.clone();
    let verify = |file: &Path| {
        let mut verify = Command::new(PECHAT);
        verify.arg("verify").arg("--head-key").arg(&head_key).arg(file);
        verify.args(["--witness", &vkey, "--cosigned", "1"]);
        verify
    };
    let said = run(&mut verify(&file));
    assert!(said.contains("cosigned by 1 of 1 witnesses"), "{said}");
    let bare = appliance.path("bare.txt");
    std::fs::write(&bare, &checkpoint).unwrap();
    let said = refused(&mut verify(&bare));
    assert!(said.contains("cosigned by 0 of 1 witnesses; 1 are needed"), "{said}");
    if let Some(said) = stranger_opens(&file, &log_vkey, &witness.vkey) {
        assert!(said.starts_with("2 verified, 1 unknown\ncosigned at "), "{said}");
    }
    assert!(metric(&appliance, "pechat_witness_size{witness=\"one\"}") >= 1);

    // The witness dies: seals go on, the failure is counted.
    witness.kill();
    let errors = metric(&appliance, "pechat_witness_errors_total{witness=\"one\"}");
    let records = appliance.path("records.jsonl");
    appliance::write_records(&records, 50);
    run(appliance.client(&["seal", "--journal", appliance.env("PECHAT_JOURNAL")]).arg(&records));
    wait_for("the failure to be counted", || {
        metric(&appliance, "pechat_witness_errors_total{witness=\"one\"}") > errors
    });
    let before = metric(&appliance, "pechat_witness_size{witness=\"one\"}");

    // It comes back and goes on from where it was.
    witness.restart();
    wait_for("the witness to catch up", || {
        metric(&appliance, "pechat_witness_size{witness=\"one\"}") > before
    });
    let journal = appliance.env("PECHAT_JOURNAL");
    let url = format!("{}/v1/journals/{journal}/receipts/1?cosigned=1", appliance.env("PECHAT_URL"));
    let (status, receipt) = appliance.curl("PECHAT_CERT", "PECHAT_KEY", &[&url]);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&receipt));
    let file = appliance.path("receipt.txt");
    std::fs::write(&file, receipt).unwrap();
    let said = run(&mut verify(&file));
    assert!(said.contains("cosigned by 1 of 1 witnesses"), "{said}");
}

/// Journals in process with a log key that a witness can know.
struct Site {
    world: World,
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        Site { world: World::new(), dir: tempfile::tempdir().unwrap() }
    }

    fn log_vkey(&self) -> String {
        VerifierKey::new(&format!("{SITE}/root"), KeyKind::Ecdsa(self.world.spki())).unwrap().to_string()
    }

    async fn open(&self, name: &str) -> Journals {
        self.world.open(&self.dir.path().join(name)).await.unwrap()
    }

    /// Opens as the service does: the witness and what it cosigned are asked first.
    async fn open_asking(&self, name: &str, witness: &WitnessProcess, cosigned: &str) -> Journals {
        let configs = [config(&witness.url(), &witness.vkey)];
        let (spki, cosigned) = (self.world.spki(), self.dir.path().join(cosigned));
        let ask = move |held: &Held<'_>| {
            let mut known = Known::default();
            add_known(&mut known, &configs, &cosigned, (SITE, &spki), held);
            known
        };
        self.world.open_asking(&self.dir.path().join(name), ask).await.unwrap()
    }

    fn rounds(&self, journals: &Journals, url: &str, vkey: &str) -> Rounds {
        rounds::start(journals, &[config(url, vkey)], self.dir.path().join("cosigned")).unwrap()
    }
}

fn config(url: &str, vkey: &str) -> WitnessConfig {
    WitnessConfig { name: "one".into(), url: url.into(), vkey: vkey.into(), ca: None }
}

fn view(journals: &Journals) -> WitnessView {
    let ours = journals.newest_root().map_or(0, |(size, _)| size);
    journals.witnesses().view(ours).remove(0)
}

async fn seal(journals: &Journals, numbers: std::ops::Range<u64>) {
    let land = land(journals).await;
    journals.seal(&land, submissions(numbers), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_time_a_witness_remembers_at_least_what_it_cosigned() {
    let site = Site::new();
    let journals = site.open("journal").await;
    let mut witness = WitnessProcess::start(&site.dir.path().join("w"), &site.log_vkey());
    let _rounds = site.rounds(&journals, &witness.url(), &witness.vkey);
    for round in 0..4 {
        seal(&journals, 100 * round..100 * round + 3).await;
        let (sealed, _) = journals.newest_root().unwrap();
        wait_for("a cosignature", || view(&journals).size >= sealed);
        witness.kill();
        let cosigned = view(&journals).size;
        assert!(witness.remembered() >= cosigned, "{} < {cosigned}", witness.remembered());
        witness.restart();
        // The head it cosigned before its death cannot be replaced, neither from nothing nor in place.
        let (size, note) = journals.witnesses().newest_with(1).unwrap();
        assert_eq!(size, witness.remembered());
        let again = AddCheckpoint::text(0, &[], &note);
        let conflict = (409, "text/x.tlog.size".to_owned(), format!("{size}\n"));
        assert_eq!(witness.post(again.as_bytes()), conflict);
        assert_eq!(witness.post(AddCheckpoint::text(size, &[], &note).as_bytes()).0, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_rolled_back_is_refused_and_its_fork_too() {
    let site = Site::new();
    let journals = site.open("journal").await;
    let witness = WitnessProcess::start(&site.dir.path().join("w"), &site.log_vkey());
    seal(&journals, 0..3).await;
    drop(journals);
    copy(&site.dir.path().join("journal"), &site.dir.path().join("backup"));
    let journals = site.open("journal").await;
    let rounds = site.rounds(&journals, &witness.url(), &witness.vkey);
    for number in 10..20 {
        seal(&journals, number..number + 1).await;
    }
    let (size, _) = journals.newest_root().unwrap();
    wait_for("a cosignature", || view(&journals).size >= size);
    drop((rounds, journals));

    // The backup starts where the log once was; its appliance kept what the witness cosigned.
    let asked = site.open_asking("backup", &witness, "cosigned").await;
    let found = asked.quarantine().expect("quarantine");
    let sizes: Vec<_> = found.heads().map(|head| (head.size, head.root.is_some())).collect();
    assert_eq!(sizes, [(size, true), (size, false)], "from disk with its root, from the witness: {found:?}");
    let reason = found.reason();
    assert!(reason.contains("witness one (http://127.0.0.1:"), "{reason}");
    drop(asked);

    // Had nobody asked, it would sign another history.
    let restored = site.open("backup").await;
    seal(&restored, 50..51).await;
    let (ours, _) = restored.newest_root().unwrap();
    assert!(ours < size, "{ours} {size}");
    let _rounds = site.rounds(&restored, &witness.url(), &witness.vkey);
    wait_for("the alarm", || view(&restored).alarm.is_some());
    let alarm = view(&restored).alarm.unwrap();
    assert!(alarm.contains("rolled back"), "{alarm}");

    // Grown past the witness it is a fork: never cosigned, and seals go on.
    for number in 60..80 {
        seal(&restored, number..number + 1).await;
    }
    wait_for("the refusal", || view(&restored).alarm.is_some_and(|alarm| alarm.contains("another history")));
    assert_eq!(witness.remembered(), size);
    let forked = restored.newest_root().unwrap().1;
    let proof = restored.root_consistency(size, restored.newest_root().unwrap().0).await.unwrap();
    let fork = AddCheckpoint::text(size, &proof, &forked);
    let size_of = SignedCheckpoint::parse(&forked).unwrap().size;
    if size_of > size {
        assert_eq!(witness.post(fork.as_bytes()).0, 422);
    }
    assert_eq!(restored.witnesses().newest_with(1).unwrap().0, size, "only what was cosigned before");

    // Asked at the next start, the witness says so.
    drop((_rounds, restored));
    let forked = site.open_asking("backup", &witness, "nowhere").await;
    let found = forked.quarantine().expect("quarantine");
    assert!(matches!(found.doubts.as_slice(), [Doubt::Disputed { .. }]), "{found:?}");
    assert!(found.reason().contains("refuses that this log continues them"), "{}", found.reason());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_the_status_of_the_specification() {
    let site = Site::new();
    let journals = site.open("journal").await;
    seal(&journals, 0..3).await;
    let (size, note) = journals.newest_root().unwrap();
    let witness = WitnessProcess::start(&site.dir.path().join("w"), &site.log_vkey());
    let post = |body: String| witness.post(body.as_bytes()).0;
    assert_eq!(post("old 0\n".into()), 400, "no checkpoint");
    assert_eq!(post(AddCheckpoint::text(size + 1, &[], &note)), 400, "it would shrink");
    assert_eq!(post(AddCheckpoint::text(0, &[], &note.replace(SITE, "other.example"))), 404);
    assert_eq!(post(AddCheckpoint::text(0, &[], &note.replacen(&format!("\n{size}\n"), "\n1\n", 1))), 403);
    let hash = pechat::digest::Digest::of(b"no proof");
    assert_eq!(post(AddCheckpoint::text(0, &[hash], &note)), 422);
    assert_eq!(post("x".repeat(200_000)), 413);
    assert_eq!(post(AddCheckpoint::text(0, &[], &note)), 200);
    assert_eq!(post(AddCheckpoint::text(0, &[], &note)), 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_witness_is_counted_and_its_line_goes_nowhere() {
    let site = Site::new();
    let journals = site.open("journal").await;
    let (honest, liar) = (cosigner(1), cosigner(2));
    let vkey = honest.public().to_string();
    let stub = Stub::start(move |request| {
        let body = AddCheckpoint::parse(request.as_bytes()).unwrap().checkpoint.body;
        Some(answer("200 OK", "text/plain", &liar.cosign(&body, 1_700_000_000)))
    });
    let _rounds = site.rounds(&journals, &stub.url, &vkey);
    seal(&journals, 0..3).await;
    wait_for("the lie to be counted", || view(&journals).errors >= 2);
    let seen = view(&journals);
    assert_eq!((seen.size, seen.cosigned_at), (0, None));
    assert!(seen.last_error.unwrap().contains("no cosignature of its key"));
    assert_eq!(journals.root_checkpoint().await.unwrap(), journals.newest_root().unwrap().1);
    assert_eq!(journals.witnesses().newest_with(1), None);
    assert!(!site.dir.path().join("cosigned").exists(), "nothing is stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_never_answers_delays_no_seal() {
    let site = Site::new();
    let journals = site.open("journal").await;
    let stub = Stub::start(|_| None);
    let _rounds = site.rounds(&journals, &stub.url, &cosigner(1).public().to_string());
    wait_for("the question", || stub.asked.load(Ordering::SeqCst) == 1);
    let before = journals.stats().seals;
    for number in 0..20 {
        seal(&journals, number..number + 1).await;
    }
    assert!(journals.stats().seals >= before + 20);
    assert_eq!(stub.asked.load(Ordering::SeqCst), 1, "it is still being waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_claims_a_size_ahead_of_ours_is_an_alarm_and_no_obstacle() {
    let site = Site::new();
    let journals = site.open("journal").await;
    let stub = Stub::start(|_| Some(answer("409 Conflict", "text/x.tlog.size", "1000000\n")));
    let _rounds = site.rounds(&journals, &stub.url, &cosigner(1).public().to_string());
    wait_for("the alarm", || view(&journals).alarm.is_some());
    seal(&journals, 0..3).await;
    let seen = view(&journals);
    assert!(seen.alarm.as_ref().unwrap().contains("it cosigned size 1000000"));
    assert!(seen.errors >= 1);
    assert_eq!(seen.size, 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_appliance_that_forgot_goes_on_from_the_size_the_witness_tells() {
    let site = Site::new();
    let journals = site.open("journal").await;
    let witness = WitnessProcess::start(&site.dir.path().join("w"), &site.log_vkey());
    seal(&journals, 0..3).await;
    let (_, note) = journals.newest_root().unwrap();
    assert_eq!(witness.post(AddCheckpoint::text(0, &[], &note).as_bytes()).0, 200);
    seal(&journals, 3..6).await;
    let _rounds = site.rounds(&journals, &witness.url(), &witness.vkey);
    let (size, _) = journals.newest_root().unwrap();
    wait_for("a cosignature", || view(&journals).size >= size);
    assert_eq!(view(&journals).errors, 0);
    let newest = journals.root_checkpoint().await.unwrap();
    let lines = SignedCheckpoint::parse(&newest).unwrap().signatures;
    assert_eq!(lines.len(), 3, "head key, token, witness: {newest}");
}

fn cosigner(seed: u8) -> CosignerKey {
    CosignerKey::from_seed("witness.example.org/w1", [seed; 32]).unwrap()
}

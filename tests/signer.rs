//! The signer process with a real HSM token (SoftHSM): signing, and what happens when things break.

mod softhsm;
mod token_copy;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use p256::ecdsa::signature::Verifier;
use p256::pkcs8::DecodePublicKey;
use pechat::keys::client::{How, SignerCommand, connect, generate};
use pechat::keys::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKeys, SignerState};
use rustix::process::{Pid, Signal, kill_process};
use softhsm::SoftHsm;
use token_copy::TokenCopy;

const DEADLINE: Duration = Duration::from_secs(3);

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

/// A token with the keys `tsu-1` and `canary`, and its list of pinned keys.
struct Bench {
    hsm: SoftHsm,
    pinned: PinnedKeys,
}

impl Bench {
    async fn new() -> Self {
        let hsm = SoftHsm::new();
        let wanted = [(label("tsu-1"), KeyPurpose::Timestamp), (label("canary"), KeyPurpose::Canary)];
        let pinned = generate(hsm.command(&[]), &wanted).await.unwrap();
        pinned.save(&hsm.keys()).unwrap();
        Self { hsm, pinned }
    }

    fn command(&self) -> SignerCommand {
        let keys = self.hsm.keys();
        self.hsm.command(&["--keys", keys.to_str().unwrap()])
    }

    async fn connect(&self, command: SignerCommand, depth: usize) -> Result<Keys, KeyError> {
        connect(self.pinned.clone(), How::Child(command), depth, DEADLINE).await
    }
}

/// Signs until it works again; returns how long that took.
async fn signing_again(keys: &Keys) -> Duration {
    let since = Instant::now();
    while keys.sign(&label("tsu-1"), b"again").await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(20), "no signature again: {:?}", keys.state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    since.elapsed()
}

fn signal(keys: &Keys, signal: Signal) -> u32 {
    let pid = keys.control().unwrap().pid().unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    pid
}

/// 32 callers that sign without pause for as long as `running`: every answer they got.
fn load(keys: &Keys, time: Duration) -> Vec<tokio::task::JoinHandle<Vec<Result<(), KeyError>>>> {
    let until = Instant::now() + time;
    (0..32)
        .map(|caller| {
            let keys = keys.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while Instant::now() < until {
                    let message = format!("{caller} {}", answers.len());
                    let answer = keys.sign(&label("tsu-1"), message.as_bytes()).await.map(|_| ());
                    if answer.is_err() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    answers.push(answer);
                }
                answers
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_made_in_a_ceremony_sign_and_strangers_verify() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command(), 64).await.unwrap();
    assert_eq!(keys.state(), SignerState::Ready);
    for pinned in &bench.pinned.keys {
        let message = format!("signed by {}", pinned.label);
        let signature = keys.sign(&pinned.label, message.as_bytes()).await.unwrap();
        let spki = keys.public_key_der(&pinned.label).unwrap();
        let theirs = p256::ecdsa::VerifyingKey::from_public_key_der(&spki).unwrap();
        let signature = p256::ecdsa::Signature::from_der(signature.as_der()).unwrap();
        theirs.verify(message.as_bytes(), &signature).unwrap();
    }
    for answers in load(&keys, Duration::from_millis(300)) {
        assert!(answers.await.unwrap().iter().all(Result::is_ok));
    }
    assert_eq!(keys.control().unwrap().restarts(), 0);
    keys.control().unwrap().stop().await;
    assert!(matches!(keys.sign(&label("tsu-1"), b"late").await, Err(KeyError::Down(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_is_never_given_twice_and_only_ceremonies_make_keys() {
    let bench = Bench::new().await;
    let again = [(label("tsu-1"), KeyPurpose::Timestamp)];
    let error = generate(bench.hsm.command(&[]), &again).await.unwrap_err();
    assert!(error.to_string().contains("already has a key labelled tsu-1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_signer_is_replaced_and_nobody_hangs() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command(), 64).await.unwrap();
    let callers = load(&keys, Duration::from_secs(3));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = signal(&keys, Signal::KILL);
    let mut failures = Vec::new();
    for caller in callers {
        failures.extend(caller.await.unwrap().into_iter().filter_map(Result::err));
    }
    assert!(!failures.is_empty(), "the kill hit nobody");
    for failure in &failures {
        assert!(matches!(failure, KeyError::Down(_)), "{failure}");
    }
    assert!(signing_again(&keys).await < Duration::from_secs(5));
    let control = keys.control().unwrap();
    assert_eq!(control.restarts(), 1);
    assert_ne!(control.pid(), Some(before));
    assert!(control.last_error().unwrap().contains("signal: 9"), "{:?}", control.last_error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_signer_is_killed_and_replaced() {
    let bench = Bench::new().await;
    let command = SignerCommand { call_limit: Duration::from_millis(400), ..bench.command() };
    let keys = bench.connect(command, 64).await.unwrap();
    signal(&keys, Signal::STOP);
    let waiting = keys.sign(&label("tsu-1"), b"into the void").await.unwrap_err();
    assert_eq!(waiting, KeyError::Down("the signer did not answer for 400ms and was killed".into()));
    signing_again(&keys).await;
    // Nobody asks for anything: the canary notices.
    let before = signal(&keys, Signal::STOP);
    let since = Instant::now();
    while keys.control().unwrap().pid() == Some(before) {
        assert!(since.elapsed() < Duration::from_secs(20), "an idle dead signer is not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signing_again(&keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pin_is_tried_once_and_the_reason_is_told() {
    let bench = Bench::new().await;
    std::fs::write(bench.hsm.pin(), "not the pin\n").unwrap();
    let (command, starts) = bench.hsm.counted(bench.command());
    let error = bench.connect(command, 8).await.err().unwrap();
    assert_eq!(std::fs::read_to_string(starts).unwrap(), "start\n");
    let text = "the HSM token refused the PIN (PinIncorrect); it was tried once and will not be tried again";
    assert_eq!(error, KeyError::Down(text.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_file_torn_by_a_kill_is_told_with_its_remedy_and_its_copy_signs_again() {
    let bench = Bench::new().await;
    let token = TokenCopy::take(&bench.hsm.tokens());
    for left in [0, 100] {
        std::fs::OpenOptions::new().write(true).open(token.file()).unwrap().set_len(left).unwrap();
        let error = bench.connect(bench.command(), 8).await.err().unwrap().to_string();
        assert!(error.contains("no HSM token is labelled \"pechat-test\""), "{error}");
        assert!(error.contains("a kill within a login may have torn its token.object"), "{error}");
        assert!(error.contains("restore the token directory from its backup"), "{error}");
        assert!(token.heal(), "a torn file is seen");
        let keys = bench.connect(bench.command(), 8).await.unwrap();
        keys.sign(&label("tsu-1"), b"restored").await.unwrap();
        keys.control().unwrap().stop().await;
        assert!(!token.heal(), "a login leaves a whole file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_changed_behind_a_running_signer_is_tried_once_at_its_restart() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command(), 8).await.unwrap();
    std::fs::write(bench.hsm.pin(), "not the pin\n").unwrap();
    signal(&keys, Signal::KILL);
    let since = Instant::now();
    let refused = |text: String| text.contains("refused the PIN");
    while !keys.control().unwrap().last_error().is_some_and(refused) {
        assert!(since.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let restarts = keys.control().unwrap().restarts();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(keys.control().unwrap().restarts(), restarts);
    assert!(matches!(keys.state(), SignerState::Down { reason } if refused(reason.clone())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_file_that_others_can_read_is_refused() {
    let bench = Bench::new().await;
    std::fs::set_permissions(bench.hsm.pin(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = bench.connect(bench.command(), 8).await.err().unwrap().to_string();
    assert!(error.ends_with("has mode 644: others may read it; make it 600"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_busy_at_once() {
    let bench = Bench::new().await;
    // However slow this machine is: the stopped signer must not be replaced meanwhile.
    let patient = SignerCommand { call_limit: Duration::from_secs(60), ..bench.command() };
    let keys = bench.connect(patient, 2).await.unwrap();
    signal(&keys, Signal::STOP);
    let callers: Vec<_> = (0..32u8)
        .map(|n| {
            let keys = keys.clone();
            tokio::spawn(async move { keys.sign(&label("tsu-1"), &[n]).await })
        })
        .collect();
    // Two at the signer, two in the queue; which callers these are is chance.
    let turned_away_now = || callers.iter().filter(|caller| caller.is_finished()).count();
    while turned_away_now() < 28 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    signal(&keys, Signal::CONT);
    let mut turned_away = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Ok(_) => {}
            Err(KeyError::Busy) => turned_away += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((28..=30).contains(&turned_away), "{turned_away} of 32 were turned away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_vanishes_and_returns_is_used_again() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command(), 64).await.unwrap();
    bench.hsm.hide(true);
    let since = Instant::now();
    while !matches!(keys.sign(&label("tsu-1"), b"gone").await, Err(KeyError::Down(_))) {
        assert!(since.elapsed() < Duration::from_secs(20), "the lost token is not noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(keys.sign(&label("tsu-1"), b"gone").await, Err(KeyError::Down(_))));
    bench.hsm.hide(false);
    assert!(signing_again(&keys).await < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_and_a_foreign_key_stop_the_start() {
    let bench = Bench::new().await;
    let mut pinned = bench.pinned.clone();
    pinned.keys[0].id = "ab".repeat(16);
    pinned.save(&bench.hsm.keys()).unwrap();
    let error = bench.connect(bench.command(), 8).await.err().unwrap().to_string();
    assert!(error.contains("key tsu-1: 0 public key objects with its id instead of 1"), "{error}");

    let mut pinned = bench.pinned.clone();
    let [one, two] = &mut pinned.keys[..] else { panic!() };
    std::mem::swap(&mut one.spki, &mut two.spki);
    pinned.save(&bench.hsm.keys()).unwrap();
    let error = bench.connect(bench.command(), 8).await.err().unwrap().to_string();
    assert!(error.contains("key tsu-1: the public key in the HSM token is not the pinned one"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_run_by_somebody_else_is_attached_to_and_found_again() {
    let bench = Bench::new().await;
    let how = How::Attach {
        socket: bench.hsm.socket(),
        call_limit: Duration::from_secs(5),
        start_limit: Duration::from_secs(20),
    };
    let keys_path = bench.hsm.keys();
    let arguments = ["--keys", keys_path.to_str().unwrap()];
    let mut first = bench.hsm.run_alone(&arguments);
    let keys = connect(bench.pinned.clone(), how, 8, DEADLINE).await.unwrap();
    keys.sign(&label("tsu-1"), b"attached").await.unwrap();
    assert_eq!(keys.control().unwrap().pid(), Some(first.id()));
    let second = bench.hsm.run_alone(&arguments).wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("another signer holds"));
    first.kill().unwrap();
    first.wait().unwrap();
    let mut third = bench.hsm.run_alone(&arguments);
    signing_again(&keys).await;
    assert_eq!(keys.control().unwrap().pid(), Some(third.id()));
    third.kill().unwrap();
    third.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_ends_with_the_front_that_started_it() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command(), 8).await.unwrap();
    let pid = keys.control().unwrap().pid().unwrap();
    drop(keys);
    let since = Instant::now();
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(since.elapsed() < Duration::from_secs(20), "the signer outlives its front");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_hangs_in_the_module_ends_the_signer() {
    let bench = Bench::new().await;
    let fifo = bench.hsm.socket().with_file_name("fifo");
    // Opening a pipe that nobody writes to blocks: so the module hangs in C_Initialize.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut command = bench.command();
    command.args.extend(["--call-timeout-ms".into(), "50".into()]);
    command.env = vec![("SOFTHSM2_CONF".into(), fifo.into())];
    command.start_limit = Duration::from_secs(2);
    let error = bench.connect(command, 8).await.err().unwrap().to_string();
    assert!(error.contains("did not end in time; the HSM hangs"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pin_may_come_through_a_descriptor_and_no_core_file_can_hold_it() {
    let bench = Bench::new().await;
    let keys_path = bench.hsm.keys();
    let mut signer = bench.hsm.run_with_pin_on_stdin(&["--keys", keys_path.to_str().unwrap()]);
    let how = How::Attach {
        socket: bench.hsm.socket(),
        call_limit: Duration::from_secs(5),
        start_limit: Duration::from_secs(20),
    };
    let keys = connect(bench.pinned.clone(), how, 8, DEADLINE).await.unwrap();
    keys.sign(&label("tsu-1"), b"with the piped PIN").await.unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}", signer.id()));
    let limits = std::fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    for place in ["cmdline", "environ"] {
        let text = std::fs::read(proc.join(place)).unwrap();
        assert!(!text.windows(13).any(|window| window == b"test-user-pin"), "the PIN is in {place}");
    }
    signer.kill().unwrap();
    signer.wait().unwrap();
}

/// With `--session-copies` the signing object is not the token's: all that must hold is that it signs the same, in
/// every worker, and comes back after a session is lost, since the copy went with it.
#[tokio::test(flavor = "multi_thread")]
async fn copies_in_the_session_sign_like_the_keys_they_are_copies_of() {
    let hsm = SoftHsm::new();
    let wanted = [(label("tsu-1"), KeyPurpose::Timestamp), (label("canary"), KeyPurpose::Canary)];
    let pinned = generate(hsm.command(&["--session-copies"]), &wanted).await.unwrap();
    pinned.save(&hsm.keys()).unwrap();
    let bench = Bench { hsm, pinned };
    let path = bench.hsm.keys();
    let arguments = ["--keys", path.to_str().unwrap(), "--session-copies", "--workers", "3"];
    let keys = bench.connect(bench.hsm.command(&arguments), 64).await.unwrap();
    let many = (0..50u32).map(|n| {
        let keys = keys.clone();
        tokio::spawn(async move { keys.sign(&label("tsu-1"), &n.to_be_bytes()).await })
    });
    for signature in many.collect::<Vec<_>>() {
        assert!(signature.await.unwrap().is_ok());
    }
    signal(&keys, Signal::KILL);
    signing_again(&keys).await;
    keys.control().unwrap().stop().await;
    // The same token without copies: nothing of them stayed behind.
    let keys = bench.connect(bench.command(), 64).await.unwrap();
    keys.sign(&label("tsu-1"), b"the token's own").await.unwrap();
    keys.control().unwrap().stop().await;
}

#[tokio::test]
async fn keys_made_without_session_copies_say_so_when_copies_are_asked_for() {
    let bench = Bench::new().await;
    let path = bench.hsm.keys();
    let command = bench.hsm.command(&["--keys", path.to_str().unwrap(), "--session-copies"]);
    let error = bench.connect(command, 4).await.err().unwrap().to_string();
    assert!(error.contains("cannot be copied into a session") && error.contains("session_copies"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ed25519_key_signs_whole_messages_and_nothing_else_signs_them() {
    let mut bench = Bench::new().await;
    let head = label("journal-head-ed25519");
    let wanted = [(head.clone(), KeyPurpose::JournalHeadEd25519)];
    let made = generate(bench.hsm.command(&[]), &wanted).await.unwrap();
    bench.pinned.keys.extend(made.keys);
    bench.pinned.save(&bench.hsm.keys()).unwrap();
    for copies in [&[][..], &["--session-copies"]] {
        let mut command = bench.command();
        command.args.extend(copies.iter().map(Into::into));
        let connected = bench.connect(command, 16).await;
        if !copies.is_empty() {
            // Made without the setting, no key can be copied: the signer says so.
            assert!(connected.is_err_and(|e| e.to_string().contains("hsm.session_copies = false")));
            continue;
        }
        let keys = connected.unwrap();
        let message = b"seal.example.gov/root\n7\nroot\n";
        let signature = keys.sign_message(&head, message).await.unwrap();
        let spki = keys.public_key_der(&head).unwrap();
        let theirs =
            aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, &spki[12..]);
        theirs.verify(message, &signature).unwrap();
        assert!(theirs.verify(b"another", &signature).is_err());
        assert!(matches!(keys.sign(&head, message).await, Err(KeyError::Refused(_))));
        assert!(matches!(keys.sign_message(&label("tsu-1"), message).await, Err(KeyError::Refused(_))));
        assert!(matches!(keys.sign_message(&head, &[0; 1025]).await, Err(KeyError::Refused(_))));
        assert!(matches!(keys.sign_message(&label("none"), message).await, Err(KeyError::Unknown(_))));
        assert_eq!(keys.frozen(), []);
        keys.sign(&label("tsu-1"), message).await.unwrap();
        keys.control().unwrap().stop().await;
    }
    // Only the head's second key may be of that kind.
    let mut wrong = bench.pinned.clone();
    wrong.keys.iter_mut().for_each(|key| key.purpose = KeyPurpose::Timestamp);
    assert!(wrong.check().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_keeps_the_newest_head_over_restarts() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command(), 16).await.unwrap();
    assert_eq!(keys.kept().await.unwrap(), Vec::<Vec<u8>>::new());
    for head in [&b"first"[..], b"second", &[7; 1024]] {
        assert_eq!(keys.keep(head).await.unwrap(), [head.to_vec()]);
    }
    assert!(matches!(keys.keep(&[7; 1025]).await, Err(KeyError::Refused(_))));
    keys.sign(&label("tsu-1"), b"meanwhile").await.unwrap();
    keys.control().unwrap().stop().await;
    assert!(matches!(keys.kept().await, Err(KeyError::Down(_) | KeyError::Busy | KeyError::Deadline(_))));
    let keys = bench.connect(bench.command(), 16).await.unwrap();
    assert_eq!(keys.kept().await.unwrap(), [vec![7; 1024]]);
    keys.control().unwrap().stop().await;
}

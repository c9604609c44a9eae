use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;

use super::*;

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

/// A pinned canary whose private key is made of `seed`.
pub(super) fn pinned(label: &str, seed: u8) -> PinnedKey {
    let point: [u8; 65] =
        signing_key(seed).verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap();
    let label = KeyLabel::new(label).unwrap();
    PinnedKey::new(label, KeyPurpose::Canary, &[seed; 16], &spki_of_point(&point))
}

fn keys(depth: usize, deadline: Duration) -> (Keys, mpsc::Receiver<Job>, KeyLabel) {
    let pinned = PinnedKeys { keys: vec![pinned("tsu-1", 1), pinned("other", 2)] };
    let (keys, jobs) = Keys::channel(pinned, depth, deadline).unwrap();
    (keys, jobs, KeyLabel::new("tsu-1").unwrap())
}

fn answer_with(mut jobs: mpsc::Receiver<Job>, seed: u8) {
    tokio::spawn(async move {
        while let Some(job) = jobs.recv().await {
            let signature: p256::ecdsa::Signature = signing_key(seed).sign_prehash(&job.digest).unwrap();
            let _ = job.reply.send(Ok(signature.to_bytes().into()));
        }
    });
}

#[test]
fn labels_of_other_lengths_or_characters_are_refused() {
    for good in ["a", "tsu-1", &"z".repeat(32)] {
        assert_eq!(KeyLabel::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "A", "a_b", "a b", "č", "a\0", &"z".repeat(33)] {
        assert_eq!(KeyLabel::new(bad), Err(KeyError::BadLabel(bad.into())));
        assert!(serde_json::from_value::<KeyLabel>(bad.into()).is_err());
    }
}

#[tokio::test]
async fn a_right_signature_is_released_as_der() {
    let (keys, jobs, label) = keys(4, Duration::from_secs(9));
    answer_with(jobs, 1);
    let signature = keys.sign(&label, b"message").await.unwrap();
    let expected: p256::ecdsa::Signature =
        signing_key(1).sign_prehash(Digest::of(b"message").as_bytes()).unwrap();
    assert_eq!(signature.as_der(), expected.to_der().as_bytes());
    assert_eq!(keys.state(), SignerState::Ready);
}

#[tokio::test]
async fn another_keys_signature_is_refused_and_freezes_the_key_alone() {
    let (keys, jobs, label) = keys(4, Duration::from_secs(9));
    answer_with(jobs, 2);
    let wrong = KeyError::WrongSignature("tsu-1".into());
    assert_eq!(keys.sign(&label, b"1").await, Err(wrong.clone()));
    assert_eq!(keys.sign(&label, b"2").await, Err(wrong));
    assert_eq!(keys.frozen(), [label]);
    keys.sign(&KeyLabel::new("other").unwrap(), b"3").await.unwrap();
}

#[tokio::test]
async fn a_full_queue_a_silent_signer_and_a_gone_one_are_told_apart() {
    let deadline = Duration::from_millis(30);
    let (keys, jobs, label) = keys(1, deadline);
    let (first, second) = tokio::join!(keys.sign(&label, b"1"), keys.sign(&label, b"2"));
    assert_eq!((first, second), (Err(KeyError::Deadline(deadline)), Err(KeyError::Busy)));
    drop(jobs);
    assert!(matches!(keys.sign(&label, b"3").await, Err(KeyError::Down(_))));
    let unknown = KeyLabel::new("nobody").unwrap();
    assert_eq!(keys.sign(&unknown, b"4").await, Err(KeyError::Unknown("nobody".into())));
    assert_eq!(keys.public_key_der(&unknown), Err(KeyError::Unknown("nobody".into())));
}

#[tokio::test]
async fn an_error_of_the_hsm_reaches_the_caller() {
    let (keys, mut jobs, label) = keys(1, Duration::from_secs(9));
    let asked = keys.sign(&label, b"1");
    let answered = async {
        let job = jobs.recv().await.unwrap();
        assert_eq!(job.digest, *Digest::of(b"1").as_bytes());
        job.reply.send(Err(KeyError::Refused("no".into()))).unwrap();
    };
    assert_eq!(tokio::join!(asked, answered).0, Err(KeyError::Refused("no".into())));
}

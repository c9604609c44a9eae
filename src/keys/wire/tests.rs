use proptest::prelude::*;

use super::*;

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

fn requests() -> Vec<Request> {
    let job = |id| SignJob { id, key: 3, digest: [id as u8; 32] };
    vec![
        Request::Hello { version: VERSION },
        Request::Sign(vec![job(1)]),
        Request::Sign((0..MAX_BATCH as u64).map(job).collect()),
        Request::Generate { id: 9, label: label("tsu-1") },
        Request::Status { id: u64::MAX },
        Request::Inventory { id: 7 },
        Request::Keep { id: 1, head: vec![] },
        Request::Keep { id: 2, head: vec![7; MAX_MESSAGE] },
        Request::SignMessage { id: 3, key: 1, message: b"text".to_vec() },
        Request::GenerateEd25519 { id: 4, label: label("head-two") },
    ]
}

fn responses() -> Vec<Response> {
    let failure = |class| Failure::new(class, "the HSM said no");
    let made = Generated { key_id: [1; 16], spki: [2; 91], proof: [3; 64] };
    let keys = vec![HelloKey { label: label("canary"), spki_sha256: [7; 32] }];
    vec![
        Response::Hello(Hello { version: VERSION, ceremony: false, keys }),
        Response::Hello(Hello { version: VERSION, ceremony: true, keys: vec![] }),
        Response::Signed(vec![
            Signed { id: 1, outcome: Ok([5; 64]) },
            Signed { id: 2, outcome: Err(failure(FailureClass::Refused)) },
            Signed { id: 3, outcome: Err(failure(FailureClass::UnknownKey)) },
            Signed { id: 4, outcome: Err(failure(FailureClass::TokenLost)) },
            Signed { id: 5, outcome: Err(failure(FailureClass::Busy)) },
        ]),
        Response::Generated { id: 1, outcome: Ok(made) },
        Response::Generated { id: 2, outcome: Err(failure(FailureClass::NotAllowed)) },
        Response::Kept { id: 1, outcome: Ok(vec![]) },
        Response::Kept { id: 2, outcome: Ok(vec![vec![1; MAX_MESSAGE]; MAX_KEPT]) },
        Response::Kept { id: 3, outcome: Err(failure(FailureClass::Refused)) },
        Response::GeneratedEd25519 {
            id: 4,
            outcome: Ok(GeneratedEd25519 { key_id: [1; 16], spki: [2; 44], proof: [3; 64] }),
        },
        Response::Status(Status { id: 1, signed: 2, failed: 3, queued: 4 }),
        Response::Inventory { id: 7, outcome: Ok("{\"module\":\"ž\"}".into()) },
        Response::Inventory { id: 8, outcome: Err(failure(FailureClass::WrongSignature)) },
    ]
}

#[test]
fn every_message_reads_back_as_written() {
    for request in requests() {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let (payload, used) = split(&bytes).unwrap().unwrap();
        assert_eq!((Request::decode(payload), used), (Ok(request), bytes.len()));
        assert!(reads_back(&bytes));
    }
    for response in responses() {
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        let (payload, used) = split(&bytes).unwrap().unwrap();
        assert_eq!((Response::decode(payload), used), (Ok(response), bytes.len()));
        assert!(reads_back(&bytes));
    }
}

#[test]
fn every_cut_of_a_message_is_refused_and_so_is_a_byte_too_many() {
    let mut bytes = Vec::new();
    responses()[2].encode(&mut bytes);
    let payload = &bytes[4..];
    for end in 0..payload.len() {
        assert_eq!(Response::decode(&payload[..end]), Err(WireError::Short), "cut at {end}");
        assert_eq!(split(&bytes[..4 + end]), Ok(None), "cut at {end}");
    }
    let longer = [payload, &[0]].concat();
    assert_eq!(Response::decode(&longer), Err(WireError::Trailing(1)));
}

#[test]
fn lengths_counts_labels_and_tags_out_of_range_are_refused() {
    assert_eq!(split(&[0, 0, 0, 0, 1]), Err(WireError::FrameLength(0)));
    assert_eq!(split(&[0, 2, 0, 1]), Err(WireError::FrameLength(131073)));
    assert_eq!(Request::decode(&[SIGN, 0, 0]), Err(WireError::Field("count")));
    assert_eq!(Request::decode(&[SIGN, 4, 1]), Err(WireError::Field("count")));
    assert_eq!(Request::decode(&[9]), Err(WireError::Kind(9)));
    assert_eq!(Response::decode(&[HELLO]), Err(WireError::Kind(HELLO)));
    let bad_label = [GENERATE, 0, 0, 0, 0, 0, 0, 0, 1, 2, b'A', b'!'];
    assert_eq!(Request::decode(&bad_label), Err(WireError::Field("label")));
    let bad_class = [&[ANSWER | SIGN, 0, 1][..], &[0; 8], &[7]].concat();
    assert_eq!(Response::decode(&bad_class), Err(WireError::Field("failure class")));
    let long_text = [&[ANSWER | SIGN, 0, 1][..], &[0; 8], &[1, 2, 1]].concat();
    assert_eq!(Response::decode(&long_text), Err(WireError::Field("text length")));
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let failure = Failure::new(FailureClass::Refused, "č".repeat(600));
    assert_eq!(failure.text, "č".repeat(256));
}

#[test]
fn full_batches_of_jobs_and_of_signatures_fit_a_frame() {
    let mut bytes = Vec::new();
    Response::Signed(vec![Signed { id: 1, outcome: Ok([1; 64]) }; MAX_BATCH]).encode(&mut bytes);
    assert!(matches!(split(&bytes), Ok(Some(_))));
    bytes.clear();
    requests()[2].encode(&mut bytes);
    assert!(matches!(split(&bytes), Ok(Some(_))));
}

proptest! {
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(kind in 0u8..0x90, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = u32::try_from(body.len() + 1).unwrap().to_be_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(body);
        prop_assert!(reads_back(&bytes));
    }
}

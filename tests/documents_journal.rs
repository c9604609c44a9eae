//! `docs/verify.py` and `pechat verify` on evidence whose token an openssl authority made, and the worked
//! examples of `docs/formats/journal.md`.

#[path = "evidence/authority.rs"]
mod authority;
mod evidence;

use std::path::PathBuf;
use std::process::{Command, Output};

use authority::OpensslTsa;
use base64ct::{Base64, Encoding};
use evidence::{Evidence, root_of};
use pechat::digest::{Digest, hex};
use pechat::journal::checkpoint::{Head, ecdsa_key_hash, open_note, token_key_hash};
use pechat::journal::entry::{ENTRY_BYTES, journal_id};
use pechat::journal::receipt::parse_range;
use pechat::journal::tile_name::{Content, TileName, bundle};
use pechat::journal::tree::leaf_hash;
use pechat::journal::verify::{Trust, verify_range, verify_receipt};

const SEQ: u64 = 3;

struct Case {
    tsa: OpensslTsa,
    evidence: Evidence,
    receipt: String,
}

impl Case {
    fn new() -> Case {
        let tsa = OpensslTsa::new();
        let evidence = Evidence::new(6, |body| tsa.stamp(body.as_bytes()));
        tsa.write("head.pem", evidence.public_key_pem().as_bytes());
        let receipt = evidence.single(SEQ);
        Case { tsa, evidence, receipt }
    }

    /// What verify.py says of this text: exit status, and the one line it prints.
    fn script(&self, receipt: &str, further: &[&str]) -> (Option<i32>, String) {
        let file = self.tsa.write("receipt", receipt.as_bytes());
        let mut command = Command::new("python3");
        command.arg(root().join("docs/verify.py")).arg(file);
        said(self.trusting(&mut command).args(further))
    }

    fn command(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pechat"));
        said(self.trusting(command.arg("verify")).args(words))
    }

    fn trusting<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.arg("--ca").arg(self.tsa.path("root.pem")).arg("--head-key").arg(self.tsa.path("head.pem"))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn said(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn the_script_accepts_a_true_receipt_and_can_be_read_in_one_sitting() {
    let case = Case::new();
    let digest = case.evidence.entries[SEQ as usize].digest.to_string();
    let (status, said) = case.script(&case.receipt, &["--digest", &digest]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.starts_with(&format!("PASSED: entry 3 of seal.example.gov/j/land, digest {digest}")),
        "{said}"
    );
    assert!(said.trim_end().ends_with("GMT"), "{said}");
    let script = std::fs::read_to_string(root().join("docs/verify.py")).unwrap();
    assert!(script.lines().count() <= 560);
}

#[test]
fn the_script_refuses_another_digest_key_or_authority() {
    let case = Case::new();
    let (status, said) = case.script(&case.receipt, &["--digest", &"0".repeat(64)]);
    assert_eq!((status, said.contains("the receipt is for digest")), (Some(1), true), "{said}");

    let other = Case::new();
    let (status, said) = other.script(&case.receipt, &[]);
    assert_eq!((status, said.contains("FAILED: token: openssl says")), (Some(1), true), "{said}");

    let arguments =
        ["pkey", "-in", &case.tsa.text("unit.key"), "-pubout", "-out", &case.tsa.text("head.pem")];
    assert!(Command::new("openssl").args(arguments).status().unwrap().success());
    let (status, said) = case.script(&case.receipt, &[]);
    assert_eq!((status, said.contains("no signature line of this key")), (Some(1), true), "{said}");
}

/// The text with one bit of byte `at` of the extra data flipped.
fn in_extra(receipt: &str, at: usize) -> String {
    in_base64(receipt, receipt.lines().nth(1).unwrap().strip_prefix("extra ").unwrap(), at)
}

fn in_base64(receipt: &str, value: &str, at: usize) -> String {
    let mut bytes = Base64::decode_vec(value).unwrap();
    bytes[at] ^= 1;
    receipt.replacen(value, &Base64::encode_string(&bytes), 1)
}

/// Copies of a receipt with one thing changed in each, and what was changed.
fn bent(receipt: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let head_bytes =
        Base64::decode_vec(receipt.lines().nth(1).unwrap().strip_prefix("extra ").unwrap()).unwrap();
    let head_length = u32::from_be_bytes(head_bytes[152..156].try_into().unwrap()) as usize;
    let fields = [0, 16, 48, 56, 95, 99, 101, 102, 119, 120, 151, 155, 156];
    let after = [156 + 40, 155 + head_length, 157 + head_length, 158 + head_length, head_bytes.len() - 1];
    for at in fields.into_iter().chain(after) {
        all.push((format!("extra data, byte {at}"), in_extra(receipt, at)));
    }
    let lines: Vec<_> = receipt.lines().collect();
    let blank = lines.iter().position(|l| l.is_empty()).unwrap();
    for line in &lines[3..blank] {
        all.push((format!("root path line {line}"), in_base64(receipt, line, 7)));
    }
    all.push(("a root path line missing".into(), receipt.replacen(&format!("{}\n", lines[3]), "", 1)));
    all.push((
        "a root path line twice".into(),
        receipt.replacen(lines[3], &format!("{0}\n{0}", lines[3]), 1),
    ));
    for (from, to) in [("index 4", "index 5"), ("proof@v1", "proof@v2"), ("\n6\n", "\n7\n")] {
        all.push((format!("{from:?}"), receipt.replacen(from, to, 1)));
    }
    let origin = receipt.replace("seal.example.gov/root", "seal.example.com/root");
    all.push(("checkpoint origin".into(), origin));
    all.push(("root hash".into(), in_base64(receipt, lines[blank + 3], 9)));
    for (name, line) in [("signature", blank + 5), ("token", blank + 6)] {
        let value = lines[line].rsplit_once(' ').unwrap().1;
        let length = Base64::decode_vec(value).unwrap().len();
        all.push((format!("{name} line's key hash"), in_base64(receipt, value, 3)));
        all.push((format!("{name} line's last byte"), in_base64(receipt, value, length - 1)));
        all.push((format!("no {name} line"), receipt.replacen(&format!("{}\n", lines[line]), "", 1)));
        all.push((
            format!("{name} line's name"),
            receipt.replacen(lines[line], &lines[line].replacen('s', "z", 1), 1),
        ));
    }
    let token = lines[blank + 6].rsplit_once(' ').unwrap().1;
    let bytes = Base64::decode_vec(token).unwrap();
    let body = format!("{}\n", lines[blank + 1..blank + 4].join("\n"));
    let imprint = Digest::of(body.as_bytes());
    let place = |wanted: &[u8]| bytes.windows(wanted.len()).position(|w| w == wanted).unwrap();
    all.push(("the token's imprint".into(), in_base64(receipt, token, place(imprint.as_bytes()))));
    let gen_time = place(b"Z0\x03\x02\x01\x01"); // end of genTime, then accuracy of one second
    all.push(("the token's genTime".into(), in_base64(receipt, token, gen_time - 1)));
    all
}

#[test]
fn script_and_command_refuse_a_receipt_with_anything_changed() {
    let case = Case::new();
    for (what, text) in bent(&case.receipt) {
        assert_ne!(text, case.receipt, "{what}");
        let (status, said) = case.script(&text, &[]);
        assert_eq!((status, said.starts_with("FAILED: ")), (Some(1), true), "{what}: {said}");
        let (status, said) = case.command(&[&case.tsa.text("receipt")]);
        assert_eq!((status, said.starts_with("FAILED  ")), (Some(1), true), "{what}: {said}");
    }
}

#[test]
fn the_command_tells_every_kind_of_evidence_apart() {
    let case = Case::new();
    let receipt = case.tsa.write("r.tlog-proof", case.receipt.as_bytes());
    let range = serde_json::to_vec(&case.evidence.range(1, 3)).unwrap();
    let range = case.tsa.write("range.json", &range);
    let export = case.tsa.write("land.export", &case.evidence.export());
    let files = [receipt, range, export].map(|p| p.to_str().unwrap().to_owned());
    let (status, said) = case.command(&files.each_ref().map(String::as_str));
    assert_eq!(status, Some(0), "{said}");
    let kinds: Vec<_> =
        said.lines().filter(|l| l.starts_with("PASSED")).map(|l| l.rsplit(": ").next().unwrap()).collect();
    assert_eq!(kinds, ["receipt", "range receipt", "journal export"], "{said}");
    assert!(!said.contains("NOT CHECKED"), "{said}");

    for (name, bytes) in [("t.tst", case.tsa.stamp(b"data")), ("t.tsr", case.tsa.reply(b"data"))] {
        case.tsa.write(name, &bytes);
        let data = case.tsa.write("stamped", b"data");
        let (file, data) = (case.tsa.text(name), data.to_str().unwrap().to_owned());
        let (status, said) = case.command(&[&file, "--data", &data]);
        assert_eq!((status, said.contains("time-stamp token")), (Some(0), true), "{said}");
        let digest = Digest::of(b"data").to_string();
        assert_eq!(case.command(&[&file, "--digest", &digest]).0, Some(0));
        let (status, said) = case.command(&[&file, "--digest", &"0".repeat(64)]);
        assert_eq!((status, said.contains("imprint")), (Some(1), true), "{said}");
    }
}

#[test]
fn the_command_compares_record_and_salt() {
    let case = Case::new();
    let file = case.tsa.write("r", case.receipt.as_bytes());
    let file = file.to_str().unwrap();
    let record = case.tsa.write("record", b" and record 3");
    let record = record.to_str().unwrap();
    let (status, said) = case.command(&["--record", record, "--salt", &hex(b"salt"), file]);
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = case.command(&["--record", record, "--salt", &hex(b"sale"), file]);
    assert_eq!((status, said.contains("holds, but seals")), (Some(1), true), "{said}");
}

#[test]
fn the_command_answers_in_json_and_by_exit_status() {
    let case = Case::new();
    let good = case.tsa.write("good", case.receipt.as_bytes());
    let bad = case.tsa.write("bad", in_extra(&case.receipt, 120).as_bytes());
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let (status, said) = case.command(&["--json", good, bad]);
    assert_eq!(status, Some(1), "{said}");
    let lines: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&lines[0]["passed"], &lines[1]["passed"]), (&true.into(), &false.into()));
    assert_eq!(lines[0]["facts"]["entry"]["seq"], SEQ);
    assert_eq!(lines[0]["facts"]["head"]["signature_checked"], true);
    assert!(lines[1]["reason"].as_str().unwrap().starts_with("from entry 3 to the journal's head"), "{said}");

    let bare = said_of(&["verify", good]);
    assert_eq!((bare.0, bare.1.contains("nothing to trust")), (Some(2), true), "{}", bare.1);
    let ca = case.tsa.text("root.pem");
    let half = said_of(&["verify", "--ca", &ca, good]);
    assert_eq!(half.0, Some(0), "{}", half.1);
    assert!(half.1.contains("NOT CHECKED: the checkpoint's signature"), "{}", half.1);
}

fn said_of(words: &[&str]) -> (Option<i32>, String) {
    said(Command::new(env!("CARGO_BIN_EXE_pechat")).args(words))
}

#[test]
fn the_script_finds_a_token_over_more_heads_that_is_older() {
    let tsa = OpensslTsa::new();
    let entries = Evidence::new(5, |_| Vec::new()).entries;
    let charter = Evidence::new(1, |_| Vec::new()).charter;
    let of =
        |place| Evidence::within(entries.clone(), charter.clone(), place, |body| tsa.stamp(body.as_bytes()));
    let folder = |name: &str, export: &Evidence, newest: &Evidence| {
        let dir = tsa.path(name);
        std::fs::create_dir(&dir).unwrap();
        let files = [
            ("checkpoint.txt", newest.proof.checkpoint.to_string().into_bytes()),
            ("journal.export", export.export()),
        ];
        let line = |(name, bytes): &(&str, Vec<u8>)| format!("{}  {name}\n", Digest::of(bytes));
        std::fs::write(dir.join("MANIFEST"), files.iter().map(line).collect::<String>()).unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
        let key = tsa.write("head.pem", export.public_key_pem().as_bytes());
        let mut script = Command::new("python3");
        script.arg(root().join("docs/verify.py")).arg(&dir).args([
            "--ca",
            &tsa.text("root.pem"),
            "--head-key",
        ]);
        said(script.arg(key))
    };
    let more = of((4, 7));
    // The authority of this test counts whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let fewer = of((4, 6));
    let (status, said) = folder("back", &fewer, &more);
    assert_eq!(
        (status, said.contains("is older than one over fewer: time ran back")),
        (Some(1), true),
        "{said}"
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (status, said) = folder("forth", &fewer, &of((4, 7)));
    assert_eq!(status, Some(0), "{said}");
}

/// The code block after `<!-- example: name -->` in the format's document.
fn example(name: &str) -> String {
    let document = std::fs::read_to_string(root().join("docs/formats/journal.md")).unwrap();
    let mark = format!("<!-- example: {name} -->\n```text\n");
    let block = document.split_once(&mark).unwrap_or_else(|| panic!("no example {name}")).1;
    block.split_once("```").unwrap().0.to_owned()
}

fn unwrapped(hex: &str) -> String {
    hex.split_whitespace().collect()
}

#[test]
fn the_formats_examples_are_what_the_code_makes() {
    let e = Evidence::new(3, |_| b"token".to_vec());
    let entry = e.entries[1];
    let text = |name: &str, made: &str| assert_eq!(example(name), made, "{name}");
    let bytes = |name: &str, made: &[u8]| assert_eq!(unwrapped(&example(name)), hex(made), "{name}");
    text("charter", &e.charter);
    bytes("journal id", journal_id(evidence::ORIGIN).as_bytes());
    bytes("entry", &entry.encode());
    bytes("leaf", entry.leaf().as_bytes());
    assert_eq!(e.entries[2].prev, entry.leaf());
    text("head", &e.proof.head);
    bytes("head leaf", leaf_hash(e.proof.head.as_bytes()).as_bytes());
    let note = open_note(&e.proof.checkpoint).unwrap();
    text("checkpoint body", &note.body);
    text("head key", &e.public_key_pem());
    let hashes = [ecdsa_key_hash(&evidence::spki()), token_key_hash(&note.checkpoint.origin)];
    bytes("key hashes", &hashes.concat());
    text("note", &e.proof.checkpoint);
    text("receipt", &e.single(1));
    text("range", &format!("{}\n", e.range(1, 1).to_json()));
    let part = e.range_export(1, 2);
    text("part start", &String::from_utf8_lossy(&part[..part.len() - 2 * ENTRY_BYTES]));
    let step = hex(&pechat::journal::life::step_id("RNU-2026-000017", 1).0);
    text("step", &format!("RNU-2026-000017 step 1 {step}\n"));
    text("export start", &String::from_utf8_lossy(&e.export()[..e.export().len() - 3 * ENTRY_BYTES]));
}

#[test]
fn the_formats_tiles_are_named_and_filled_as_the_code_does() {
    for line in example("tile names").lines() {
        let (what, name) = line.rsplit_once(' ').unwrap();
        let read = TileName::parse(name).unwrap();
        let said = match read.content {
            Content::Entries => "entries".to_owned(),
            Content::Hashes { level } => format!("level {level}"),
        };
        assert_eq!(format!("{said} index {} width {}", read.index, read.width), what);
    }
    let e = Evidence::new(3, |_| b"token".to_vec());
    let hashes: Vec<u8> = e.leaves().iter().flat_map(|leaf| *leaf.as_bytes()).collect();
    assert_eq!(unwrapped(&example("tile")), hex(&hashes));
    let entries = e.entries.iter().map(|entry| entry.encode());
    assert_eq!(unwrapped(&example("bundle")), hex(&bundle(entries)));
    assert_eq!(root_of(&e.leaves()), Head::parse(&e.proof.head).unwrap().root);
}

#[test]
fn the_formats_example_receipt_verifies() {
    let trust = Trust { head_key_spki: Some(&evidence::spki()), token: None };
    let facts = verify_receipt(&example("receipt"), &trust).unwrap();
    assert_eq!((facts.entry.seq, facts.proof.head.size), (1, 3));
    let receipt = parse_range(example("range").as_bytes()).unwrap();
    assert_eq!(verify_range(&receipt, &trust).unwrap().entries, [facts.entry]);
}

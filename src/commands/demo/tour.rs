//! What the demonstration shows, step by step, once the appliance runs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::processes::output;
use super::records::{USUAL, generated};
use super::setup::Appliance;
use super::{DemoError, Narrator};
use crate::commands::client::http::{Connection, RequestError};
use crate::commands::client::identifier::{IdentifierArgs, identifier};
use crate::commands::client::seal::{SealArgs, seal};
use crate::commands::client::settings::Layer;
use crate::commands::client::stamp::{StampArgs, stamp};
use crate::commands::client::store::Store;
use crate::commands::client::verify::{VerifyArgs, verify};
use crate::digest::Digest;

/// The journal the tour seals into.
const JOURNAL: &str = "land-register";
/// The auditor's own check, written beside the demonstration so that its commands work anywhere.
const VERIFY_PY: &str = include_str!("../../../docs/verify.py");

/// The whole tour; the first thing that is not as it should be ends it.
pub fn walk(a: &Appliance, records: Option<&Path>, narrator: &mut Narrator) -> Result<(), DemoError> {
    stamped(a, narrator)?;
    numbered(a, narrator)?;
    sealed(a, records, narrator)?;
    tampered(a, narrator)?;
    verified_without_us(a, narrator)?;
    refused(a, narrator)
}

fn stamped(a: &Appliance, narrator: &mut Narrator) -> Result<(), DemoError> {
    let file = a.place.write("decision.txt", "Decision 17: the parcel is entered in the register.\n")?;
    let args = StampArgs { file: file.clone(), out: None, policy: None };
    let (stamped, reply) = stamp(&args, &a.registry1.settings(&a.url(), &a.place))?;
    narrator.shown(format_args!("decision.txt stamped at {}, accuracy {}", stamped.time, stamped.accuracy));
    let said = output(
        Command::new("openssl")
            .args(["ts", "-verify", "-data"])
            .arg(&file)
            .arg("-in")
            .arg(&reply)
            .arg("-CAfile")
            .arg(a.place.path("root.pem")),
    )?;
    if !said.contains("Verification: OK") {
        return Err(DemoError::Shown(format!("that openssl does not accept the timestamp: {said}")));
    }
    narrator.shown("openssl ts -verify: Verification: OK");
    Ok(())
}

fn numbered(a: &Appliance, narrator: &mut Narrator) -> Result<(), DemoError> {
    let numbers =
        identifier(&IdentifierArgs { count: 3, timeout: 60 }, &a.registry1.settings(&a.url(), &a.place))?;
    narrator.shown(format_args!("unique register numbers (Annex 3): {}", numbers.join(" ")));
    Ok(())
}

fn sealed(a: &Appliance, records: Option<&Path>, narrator: &mut Narrator) -> Result<(), DemoError> {
    let text = match records {
        Some(path) => fs::read(path).map_err(|e| DemoError::file(path, e))?,
        None => generated(USUAL).into_bytes(),
    };
    let file = a.place.write("records.jsonl", text)?;
    let args = SealArgs {
        journal: JOURNAL.into(),
        file: file.clone(),
        timeout: 60,
        in_flight: 4,
        batch: 4096,
        head_key: None,
    };
    let done = seal(&args, &a.registry1.settings(&a.url(), &a.place))?;
    narrator.shown(format_args!("{} records sealed in journal {JOURNAL}", done.records));
    let begun = Instant::now();
    let said = verify(&VerifyArgs { file, head_key: None }, trust(a))?;
    let rate = done.records as f64 / begun.elapsed().as_secs_f64();
    narrator.shown(format_args!("every receipt verified ({rate:.0} a second): {said}"));
    Ok(())
}

/// What a verifier trusts: the root certificate and the journal-head key, nothing else.
fn trust(a: &Appliance) -> Layer {
    Layer {
        ca: Some(a.place.path("root.pem")),
        head_key: Some(a.place.path("journal-head.pem")),
        ..Layer::default()
    }
}

/// A copy with one bit of one record changed must be refused with the line named.
fn tampered(a: &Appliance, narrator: &mut Narrator) -> Result<(), DemoError> {
    let file = a.place.path("tampered.jsonl");
    let mut bytes = fs::read(a.place.path("records.jsonl")).map_err(|e| DemoError::file(&file, e))?;
    let at = bytes.len() / 2;
    let near = bytes[at..].iter().position(|b| *b != b'\n').unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at + near) {
        *byte ^= 1;
    }
    a.place.write("tampered.jsonl", bytes)?;
    copy_evidence(a, &file)?;
    match verify(&VerifyArgs { file, head_key: None }, trust(a)) {
        Err(error) => narrator.shown(format_args!("one bit changed in a copy, refused: {error}")),
        Ok(_) => return Err(DemoError::Shown("that a changed record is accepted".into())),
    }
    Ok(())
}

fn copy_evidence(a: &Appliance, copy: &Path) -> Result<(), DemoError> {
    let (from, to) = (Store::beside(&a.place.path("records.jsonl")), Store::beside(copy));
    drop(to.lock()?);
    for (from, to) in [(from.plan_path(), to.plan_path()), (from.receipts_path(), to.receipts_path())] {
        fs::copy(&from, &to).map_err(|e| DemoError::file(&from, e))?;
    }
    Ok(())
}

/// The receipt of the first line, checked by `docs/verify.py`: Python and openssl, none of our code.
fn verified_without_us(a: &Appliance, narrator: &mut Narrator) -> Result<(), DemoError> {
    let (seq, _) = first_line(a)?;
    let connection = Connection::open(&a.registry1.settings(&a.url(), &a.place))?;
    let path = format!("/v1/journals/{JOURNAL}/receipts/{seq}");
    let receipt = connection.get(&path)?.success(&path)?;
    a.place.write("receipt.txt", receipt.body)?;
    a.place.write("verify.py", VERIFY_PY)?;
    let said = output(&mut verify_py(a)?)?;
    narrator.shown(format_args!("verify.py (Python and openssl alone): {}", said.trim()));
    Ok(())
}

/// Where the first line of the records stands in the journal, and its salted digest.
fn first_line(a: &Appliance) -> Result<(u64, Digest), DemoError> {
    let store = Store::beside(&a.place.path("records.jsonl"));
    let missing = || DemoError::Shown("no receipt for line 1".into());
    let plan = store.plan()?.ok_or_else(missing)?;
    let runs = store.receipts()?;
    let place = runs.iter().find_map(|stored| {
        let at = stored.indexes(plan.records.len())?.iter().position(|line| *line == 0)?;
        Some(stored.run.first + at as u64)
    });
    let digest = plan.records.first().map(|r| r.digest);
    place.zip(digest).ok_or_else(missing)
}

fn verify_py(a: &Appliance) -> Result<Command, DemoError> {
    let mut command = Command::new("python3");
    command.arg(a.place.path("verify.py")).arg(a.place.path("receipt.txt"));
    command.arg("--head-key").arg(a.place.path("journal-head.pem"));
    command.arg("--ca").arg(a.place.path("root.pem"));
    command.args(["--digest", &first_line(a)?.1.to_string()]);
    Ok(command)
}

fn refused(a: &Appliance, narrator: &mut Narrator) -> Result<(), DemoError> {
    let stranger = Connection::anonymous(&a.url(), &a.place.path("root.pem"))?;
    match stranger.get("/v1/openapi.json") {
        Err(error @ RequestError::Tls { .. }) => {
            narrator.shown(format_args!("without a client certificate: {error}"))
        }
        other => return Err(DemoError::Shown(format!("that a stranger gets {other:?}"))),
    }
    let other = Connection::open(&a.registry2.settings(&a.url(), &a.place))?;
    let path = format!("/v1/journals/{JOURNAL}/checkpoint");
    match other.get(&path)?.success(&path) {
        Err(error) => narrator.shown(format_args!("another institution's register: {}", one_line(&error))),
        Ok(_) => return Err(DemoError::Shown("that one institution reads another's journal".into())),
    }
    Ok(())
}

fn one_line(error: &RequestError) -> String {
    error.to_string().replace("\n  next:", ";")
}

/// Commands to copy and paste, each with what it prints.
pub fn commands(a: &Appliance) -> Result<String, DemoError> {
    let env = a.place.path("env");
    let root = a.place.root().display().to_string();
    Ok(format!(
        r#"  set -a; . {env}; set +a
  pechat() {{ "$PECHAT_BIN" "$@"; }}

  # stamp a file of your own and check it with openssl alone            → Verification: OK
  openssl ts -query -data /etc/hostname -sha256 -cert -out query.tsq
  curl --fail --silent --show-error --cacert $PECHAT_CA --cert $PECHAT_CERT --key $PECHAT_KEY \
       -H 'Content-Type: application/timestamp-query' --data-binary @query.tsq -o reply.tsr $PECHAT_URL/tsa
  openssl ts -verify -data /etc/hostname -in reply.tsr -CAfile $PECHAT_CA

  # seal your own JSON lines, check every receipt                       → my.jsonl: 2 records …
  printf '{{"entry":1}}\n{{"entry":2}}\n' > my.jsonl
  pechat client seal --journal $PECHAT_JOURNAL my.jsonl
  pechat client verify --head-key {root}/journal-head.pem my.jsonl

  # unique register numbers that nobody else ever gets                → 16 digits a line
  pechat client identifier --count 3

  # one byte changed in a copy: the line is named, exit status 1        → line … is not the record that was planned
  pechat client verify --head-key {root}/journal-head.pem {root}/tampered.jsonl

  # one receipt, checked by Python and openssl alone                    → PASSED: entry …
  {verify_py}

  # health, newest checkpoint, figures
  curl $PECHAT_PUBLIC_URL/readyz; curl $PECHAT_PUBLIC_URL/checkpoint; curl $PECHAT_METRICS_URL/metrics
"#,
        env = env.display(),
        verify_py = super::processes::words(&verify_py(a)?),
    ))
}

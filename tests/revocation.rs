//! Revocation lists kept beside a token, made by openssl: which of them spoil it, and which leave it in doubt.

#[path = "evidence/authority.rs"]
#[allow(dead_code)] // not all of it is used here
mod authority;

use std::process::Command;

use authority::OpensslTsa;
use pechat::digest::Digest;
use pechat::timestamp::revocation::{RevocationError, check_revocation};
use pechat::timestamp::verify_sha256;

const DAY: i64 = 86_400;

struct Case {
    tsa: OpensslTsa,
    token: Vec<u8>,
    roots: Vec<Vec<u8>>,
    /// genTime, seconds since 1970.
    stamped: i64,
}

impl Case {
    fn new() -> Case {
        let tsa = OpensslTsa::new();
        let token = tsa.stamp(b"data");
        let roots = vec![der(&tsa, "root")];
        let facts = verify_sha256(&token, &Digest::of(b"data"), &roots, None).unwrap();
        Case { token, roots, stamped: facts.gen_time_us / 1_000_000, tsa }
    }

    /// A list of `issuer` that was current when the token was made, with these lines of openssl's database.
    fn list(&self, issuer: &str, lines: &str) -> Vec<u8> {
        self.list_of(issuer, lines, self.stamped - DAY, self.stamped + DAY)
    }

    fn list_of(&self, issuer: &str, lines: &str, from: i64, to: i64) -> Vec<u8> {
        let tsa = &self.tsa;
        tsa.write("index.txt", lines.as_bytes());
        tsa.write("number", b"01\n"); // with a number openssl writes version 2
        let (database, number) = (tsa.text("index.txt"), tsa.text("number"));
        let config =
            format!("[ca]\ndefault_ca=c\n[c]\ndatabase={database}\ncrlnumber={number}\ndefault_md=sha256\n");
        tsa.write("ca.cnf", config.as_bytes());
        let mut command = Command::new("openssl");
        command
            .args(["ca", "-gencrl", "-config"])
            .arg(tsa.path("ca.cnf"))
            .arg("-out")
            .arg(tsa.path("list.pem"));
        command.arg("-cert").arg(tsa.path(&format!("{issuer}.pem")));
        command.arg("-keyfile").arg(tsa.path(&format!("{issuer}.key")));
        command.args(["-crl_lastupdate", &calendar(from), "-crl_nextupdate", &calendar(to)]);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        decoded(&tsa.path("list.pem"))
    }

    /// openssl's line for a certificate revoked `after` seconds after genTime.
    fn revoked(&self, name: &str, after: i64, reason: &str) -> String {
        let pem = self.tsa.text(&format!("{name}.pem"));
        let out = Command::new("openssl").args(["x509", "-noout", "-serial", "-in", &pem]).output().unwrap();
        let serial = String::from_utf8(out.stdout).unwrap();
        let serial = serial.trim().strip_prefix("serial=").unwrap();
        let (end, when) = (calendar(self.stamped + 300 * DAY), calendar(self.stamped + after));
        format!("R\t{end}\t{when}{reason}\t{serial}\tunknown\t/CN={name}\n")
    }

    fn check(&self, lists: &[Vec<u8>]) -> Result<i64, RevocationError> {
        check_revocation(&self.token, &self.roots, lists).map(|t| t.0 / 1_000_000)
    }
}

/// `YYMMDDHHMMSSZ`, as openssl's database and options have it.
fn calendar(seconds: i64) -> String {
    let when = pechat::clock::UtcMicros(seconds * 1_000_000).iso8601();
    let digits: String = when.chars().take(19).filter(char::is_ascii_digit).collect();
    format!("{}Z", &digits[2..])
}

fn der(tsa: &OpensslTsa, name: &str) -> Vec<u8> {
    decoded(&tsa.path(&format!("{name}.pem")))
}

fn decoded(pem: &std::path::Path) -> Vec<u8> {
    der::pem::decode_vec(&std::fs::read(pem).unwrap()).unwrap().1
}

#[test]
fn only_lists_of_both_issuers_clear_a_token() {
    let case = Case::new();
    let (root, issuing) = (case.list("root", ""), case.list("issuing", ""));
    assert_eq!(case.check(&[root.clone(), issuing.clone()]), Ok(case.stamped - DAY));
    for (lists, of) in
        [(vec![], "CN=unit"), (vec![root.clone()], "CN=unit"), (vec![issuing.clone()], "CN=issuing")]
    {
        let doubt = case.check(&lists).unwrap_err();
        assert!(matches!(&doubt, RevocationError::NoList { subject, .. } if subject.contains(of)), "{doubt}");
        assert!(!doubt.is_revoked());
    }
    let old = case.list_of("issuing", "", case.stamped - 3 * DAY, case.stamped - DAY);
    assert!(matches!(case.check(&[root.clone(), old]), Err(RevocationError::NoList { .. })));
    let mut bent = issuing.clone();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    assert!(matches!(case.check(&[root.clone(), bent]), Err(RevocationError::NoList { .. })));
    assert_eq!(case.check(&[root.clone(), issuing[1..].to_vec()]), Err(RevocationError::NotAList(2)));
    // A namesake of the issuer with another key: anybody can make that.
    let stranger = Case::new();
    let namesake = stranger.list("issuing", "");
    assert!(matches!(case.check(&[root, namesake]), Err(RevocationError::NoList { .. })));
}

#[test]
fn a_revoked_certificate_spoils_earlier_tokens_unless_its_reason_says_otherwise() {
    let case = Case::new();
    let root = case.list("root", "");
    for (after, reason, spoils) in [
        (-60, "", true),
        (-60, ",superseded", true),
        (60, "", true),
        (60, ",keyCompromise", true),
        (60, ",superseded", false),
        (60, ",cessationOfOperation", false),
        (60, ",affiliationChanged", false),
    ] {
        let list = case.list("issuing", &case.revoked("unit", after, reason));
        let outcome = case.check(&[root.clone(), list]);
        let revoked = outcome.as_ref().is_err_and(RevocationError::is_revoked);
        assert_eq!(revoked, spoils, "{after} {reason}: {outcome:?}");
        assert_eq!(outcome.is_ok(), !spoils, "{after} {reason}: {outcome:?}");
    }
    let list = case.list("root", &case.revoked("issuing", -60, ",keyCompromise"));
    let outcome = case.check(&[list, case.list("issuing", "")]).unwrap_err();
    assert!(outcome.to_string().contains("CN=issuing") && outcome.is_revoked(), "{outcome}");
    let list = case.list("issuing", &case.revoked("root", -60, ""));
    assert!(case.check(&[root, list]).is_ok(), "another certificate's serial number");
}

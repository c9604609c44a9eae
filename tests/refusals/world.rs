//! The appliance, the people who ask it, and the list of what did not hold.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::appliance::Appliance;
use crate::pki::Credential;

/// A certificate with its chain, and its key: PEM files.
#[derive(Clone)]
pub struct Who {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Who {
    /// The same for the client that sees every byte.
    pub fn credential(&self) -> Credential {
        let read = |path: &Path| std::fs::read(path).unwrap();
        Credential { chain: read(&self.cert), key: read(&self.key), fingerprint: Default::default() }
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A whole problem document of this status and `type`; its detail.
    pub fn problem(&self, status: u16, kind: &str) -> String {
        let text = self.text();
        assert_eq!((self.status, self.kind.as_str()), (status, "application/problem+json"), "{text}");
        let json = self.json();
        assert_eq!(json["type"], format!("https://pechat.example/problems/{kind}"), "{text}");
        assert_eq!(json["status"], status, "{text}");
        let said = |member: &str| json[member].as_str().unwrap_or_default().to_owned();
        for member in ["title", "detail", "action", "request_id"] {
            assert!(!said(member).trim().is_empty(), "{member} in {text}");
        }
        assert!(text.len() < 4096, "a problem of {} bytes", text.len());
        assert!(
            !["/src/", "panicked", "RUST_BACKTRACE", "sqlite", "serde"].iter().any(|w| text.contains(w)),
            "{text}"
        );
        said("detail")
    }
}

/// The one appliance of this file.
pub struct World {
    pub appliance: Appliance,
    failed: RefCell<String>,
    checks: Cell<usize>,
    made: Cell<usize>,
}

impl World {
    pub fn start() -> Self {
        Self {
            appliance: Appliance::start(),
            failed: RefCell::default(),
            checks: Cell::new(0),
            made: Cell::new(0),
        }
    }

    /// One sentence that must hold.
    pub fn check(&self, sentence: &str, holds: impl FnOnce(&Self)) {
        self.checks.set(self.checks.get() + 1);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| holds(self))) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            let _ = write!(self.failed.borrow_mut(), "\n* {sentence}\n  {}\n", text.unwrap_or_default());
        }
    }

    /// Everything held, and neither process panicked.
    pub fn end(self) {
        for log in ["demo/serve.log", "serve.log"] {
            let text = std::fs::read_to_string(self.appliance.path(log)).expect("the service's log");
            let panics: Vec<_> = text.lines().filter(|line| line.contains("panicked")).collect();
            assert!(panics.is_empty(), "{log}: {panics:?}");
            assert!(text.len() < 1 << 20, "{log} has {} bytes", text.len());
        }
        let failed = self.failed.take();
        assert!(failed.is_empty(), "of {} checks these do not hold:\n{failed}", self.checks.get());
        println!("{} checks hold", self.checks.get());
    }

    fn who(&self, prefix: &str, suffix: &str) -> Who {
        let file = |kind: &str| PathBuf::from(self.appliance.env(&format!("PECHAT_{prefix}{kind}{suffix}")));
        Who { cert: file("CERT"), key: file("KEY") }
    }

    /// The registry service of the land agency.
    pub fn registry(&self) -> Who {
        self.who("", "")
    }

    /// The registry service of another institution.
    pub fn other_registry(&self) -> Who {
        self.who("", "2")
    }

    pub fn officer(&self, number: usize) -> Who {
        self.who(&format!("OFFICER{number}_"), "")
    }

    pub fn auditor(&self) -> Who {
        self.who("AUDITOR_", "")
    }

    pub fn root(&self) -> Vec<u8> {
        std::fs::read(self.appliance.env("PECHAT_CA")).unwrap()
    }

    /// Where the mTLS listener is.
    pub fn api(&self) -> SocketAddr {
        let port = self.appliance.env("PECHAT_URL").rsplit(':').next().unwrap().parse().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Where the plain listener is.
    pub fn public(&self) -> SocketAddr {
        self.appliance.env("PECHAT_PUBLIC_URL").strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// A file of these bytes.
    pub fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.fresh("input");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A name that no file has yet.
    pub fn fresh(&self, name: &str) -> PathBuf {
        self.made.set(self.made.get() + 1);
        self.appliance.path(&format!("{name}-{}", self.made.get()))
    }

    /// `curl` as `who`, or what it said when there was no answer.
    pub fn try_curl(&self, who: Option<&Who>, arguments: &[&str]) -> Result<Answer, String> {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--max-time",
            "40",
            "--path-as-is",
            "--globoff",
            "-w",
            "\n%{http_code} %{content_type}",
        ]);
        command.args(["--cacert", self.appliance.env("PECHAT_CA")]);
        if let Some(who) = who {
            command.arg("--cert").arg(&who.cert).arg("--key").arg(&who.key);
        }
        let out = command.args(arguments).stdin(Stdio::null()).output().expect("curl");
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        let cut = out.stdout.iter().rposition(|b| *b == b'\n').expect("a status line");
        let line = String::from_utf8_lossy(&out.stdout[cut + 1..]).into_owned();
        let (status, kind) = line.split_once(' ').expect("status and type");
        let status = status.parse().expect("a status");
        Ok(Answer { status, kind: kind.to_owned(), body: out.stdout[..cut].to_vec() })
    }

    /// The answer to a request of the mTLS listener.
    pub fn ask(&self, who: &Who, path: &str, arguments: &[&str]) -> Answer {
        let url = format!("{}{path}", self.appliance.env("PECHAT_URL"));
        self.try_curl(Some(who), &[&[url.as_str()], arguments].concat())
            .unwrap_or_else(|said| panic!("no answer to {path}: {said}"))
    }

    pub fn get(&self, who: &Who, path: &str) -> Answer {
        self.ask(who, path, &[])
    }

    pub fn post(&self, who: &Who, path: &str, kind: &str, body: &[u8]) -> Answer {
        let (kind, body) = (format!("content-type: {kind}"), format!("@{}", self.file(body).display()));
        self.ask(who, path, &["-H", &kind, "--data-binary", &body])
    }

    pub fn post_json(&self, who: &Who, path: &str, body: &Value) -> Answer {
        self.post(who, path, "application/json", body.to_string().as_bytes())
    }

    pub fn plain(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.appliance.env("PECHAT_PUBLIC_URL"));
        self.try_curl(None, &[&url]).unwrap_or_else(|said| panic!("no answer to {path}: {said}"))
    }

    /// A stamp and a seal as any register makes them.
    pub fn works(&self) {
        // A busy machine may lose its time sources for a moment.
        self.appliance.wait_until_ready();
        let (registry, query) = (self.registry(), query(&["-sha256", "-digest", &"a5".repeat(32), "-cert"]));
        let reply = self.post(&registry, "/tsa", "application/timestamp-query", &query);
        assert_eq!(
            (reply.status, reply.kind.as_str()),
            (200, "application/timestamp-reply"),
            "{}",
            reply.text()
        );
        let (reply, query) = (self.file(&reply.body), self.file(&query));
        let mut verify = Command::new("openssl");
        verify.args(["ts", "-verify", "-queryfile"]).arg(query).arg("-in").arg(reply);
        crate::appliance::run(verify.arg("-CAfile").arg(self.appliance.env("PECHAT_CA")));
        let sealed = self.post_json(&registry, &self.entries(), &self.entry());
        assert_eq!(sealed.status, 201, "{}", sealed.text());
        assert_eq!(sealed.json()["receipts"][0]["count"], 1);
    }

    /// Path of the registry's own journal's entries.
    pub fn entries(&self) -> String {
        self.journal("entries")
    }

    /// A path within the registry's own journal.
    pub fn journal(&self, rest: &str) -> String {
        format!("/v1/journals/{}/{rest}", self.appliance.env("PECHAT_JOURNAL"))
    }

    /// A digest that was never sealed, with an id of its own.
    pub fn entry(&self) -> Value {
        self.made.set(self.made.get() + 1);
        let number = self.made.get();
        json!({ "request_id": format!("{number:032x}"), "digest": format!("{number:064x}") })
    }

    /// Entries of the registry's own journal.
    pub fn size(&self) -> u64 {
        self.get(&self.registry(), &format!("/v1/journals/{}", self.appliance.env("PECHAT_JOURNAL"))).json()["size"]
            .as_u64()
            .expect("a size")
    }

    /// A P-256 key and a request of it without names, PEM.
    pub fn key_and_csr(&self) -> (PathBuf, String) {
        let key = self.fresh("key");
        let path = key.to_str().unwrap();
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path]);
        let csr = openssl(&["req", "-new", "-key", path, "-subj", "/"]);
        (key, String::from_utf8(csr).unwrap())
    }

    /// A production request that awaits the officers.
    pub fn pending(&self, institution: &str, role: &str, name: &str) -> (PathBuf, Value) {
        let (key, csr) = self.key_and_csr();
        let wanted = wanted(institution, "production", role, name, &csr);
        let answer = self.post_json(&self.officer(1), "/v1/certificates", &wanted);
        assert_eq!(answer.status, 202, "{}", answer.text());
        (key, answer.json())
    }

    /// An officer's decision on a request.
    pub fn decide(&self, who: &Who, request: &Value, decision: &Value) -> Answer {
        let id = request["id"].as_str().unwrap();
        self.post_json(who, &format!("/v1/certificate-requests/{id}/decision"), decision)
    }

    /// A production identity that both officers agreed to; and its serial.
    pub fn identity(&self, institution: &str, role: &str, name: &str) -> (Who, String) {
        let (key, request) = self.pending(institution, role, name);
        for officer in [1, 2] {
            let answer = self.decide(&self.officer(officer), &request, &agree(&request));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let serial = request["serial"].as_str().unwrap().to_owned();
        let chain = self.get(&self.officer(1), &format!("/v1/certificates/{serial}?format=chain"));
        assert_eq!(chain.status, 200, "{}", chain.text());
        (Who { cert: self.file(&chain.body), key }, serial)
    }
}

/// An application for a certificate.
pub fn wanted(institution: &str, environment: &str, role: &str, name: &str, csr: &str) -> Value {
    json!({ "csr": csr, "institution": institution, "environment": environment, "role": role, "name": name })
}

/// The agreement to exactly what a request shows.
pub fn agree(request: &Value) -> Value {
    json!({ "clause": "agree", "tbs_sha256": request["tbs_sha256"], "reason": "identity checked" })
}

/// `openssl`, which must succeed; its output.
pub fn openssl(arguments: &[&str]) -> Vec<u8> {
    let out = Command::new("openssl").args(arguments).stdin(Stdio::null()).output().expect("openssl");
    assert!(out.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A TimeStampReq made by openssl.
pub fn query(arguments: &[&str]) -> Vec<u8> {
    openssl(&[&["ts", "-query"], arguments].concat())
}

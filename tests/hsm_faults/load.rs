//! Clients that seal, stamp and have certificates issued, a little all the time. Every call is answered, and
//! refusals say why.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pechat::commands::client::http::{Connection, Reply, RequestError};
use pechat::commands::client::settings::Settings;
use pechat::commands::client::{init::key_and_request, stamp};
use pechat::digest::Digest;
use serde_json::{Value, json};

use super::appliance::Appliance;

/// Between two calls of one client.
const PACE: Duration = Duration::from_millis(20);
/// An answer later than this is a hang: several of the service's own deadlines.
const HANG: Duration = Duration::from_secs(30);

/// What happened so far.
#[derive(Default)]
pub struct Tally {
    /// Entries sealed, one a call.
    pub sealed: AtomicU64,
    /// Timestamps granted, and their serial numbers.
    pub stamped: Mutex<Vec<String>>,
    /// Certificates issued, by serial number.
    pub issued: Mutex<Vec<String>>,
    /// Whether calls may meet a service that is being restarted.
    pub restarting: AtomicBool,
    /// Refusals since they were last looked at.
    pub refusals: Mutex<Vec<String>>,
    /// The longest answer, microseconds.
    pub longest: AtomicU64,
    stop: AtomicBool,
}

/// The clients.
pub struct Load {
    pub tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(appliance: &Appliance) -> Self {
        let tally = Arc::new(Tally::default());
        let settings = |cert: &str, key: &str| Settings {
            url: appliance.env("PECHAT_URL").into(),
            ca: appliance.env("PECHAT_CA").into(),
            cert: appliance.env(cert).into(),
            key: appliance.env(key).into(),
            head_key: None,
        };
        let open = |cert: &str, key: &str| Connection::open(&settings(cert, key)).expect("credentials");
        let register = open("PECHAT_CERT", "PECHAT_KEY");
        let officers = [
            open("PECHAT_OFFICER1_CERT", "PECHAT_OFFICER1_KEY"),
            open("PECHAT_OFFICER2_CERT", "PECHAT_OFFICER2_KEY"),
        ];
        let (journal, ca) =
            (appliance.env("PECHAT_JOURNAL").to_owned(), appliance.env("PECHAT_CA").to_owned());
        let (one, two, three) = (tally.clone(), tally.clone(), tally.clone());
        let stamping = register.clone();
        let threads = vec![
            std::thread::spawn(move || seal(&one, &register, &journal)),
            std::thread::spawn(move || stamps(&two, &stamping, ca.as_ref())),
            std::thread::spawn(move || issue(&three, &officers)),
        ];
        Self { tally, threads }
    }

    /// Ends all calls, each answered for good.
    pub fn finish(self) -> Arc<Tally> {
        self.tally.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client of the load");
        }
        self.tally
    }
}

impl Tally {
    fn goes_on(&self) -> bool {
        std::thread::sleep(PACE);
        !self.stop.load(Ordering::Relaxed)
    }

    /// One call: its answer, unless the service is being restarted.
    fn post(&self, to: &Connection, path: &str, kind: &str, body: &[u8]) -> Option<Reply> {
        let begin = Instant::now();
        let before = self.restarting.load(Ordering::Acquire);
        let answer = to.post(path, kind, body);
        let took = begin.elapsed();
        assert!(took < HANG, "{path} was answered after {took:?}: {answer:?}");
        self.longest.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
        match answer {
            Ok(reply) => Some(reply),
            Err(RequestError::Unreachable { reason, .. }) => {
                let restarting = before || self.restarting.load(Ordering::Acquire);
                assert!(restarting, "{path}: the service hangs up: {reason}");
                None
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn refused(&self, what: &str, reply: &Reply) {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        self.refusals.lock().expect("refusals").push(format!("{what} {}: {text}", reply.status));
    }
}

/// The same request id again until it is sealed.
fn seal(tally: &Tally, to: &Connection, journal: &str) {
    let path = format!("/v1/journals/{journal}/entries");
    let mut number = 0_u64;
    while tally.goes_on() {
        let id = &Digest::of(format!("fault {number}").as_bytes()).to_string()[..32];
        let digest = Digest::of(format!("record {number}").as_bytes()).to_string();
        let body = json!({ "entries": [{ "request_id": id, "digest": digest }] }).to_string();
        loop {
            match tally.post(to, &path, "application/json", body.as_bytes()) {
                Some(reply) if reply.status == 201 => break,
                Some(reply) => {
                    assert_eq!(reply.status, 503, "{}", String::from_utf8_lossy(&reply.body));
                    tally.refused("seal", &reply);
                }
                None => {}
            }
            std::thread::sleep(PACE);
        }
        tally.sealed.fetch_add(1, Ordering::Release);
        number += 1;
    }
}

/// Timestamps; each that is granted is verified down to the root.
fn stamps(tally: &Tally, to: &Connection, ca: &std::path::Path) {
    let mut number = 0_u64;
    while tally.goes_on() {
        number += 1;
        let digest = Digest::of(format!("document {number}").as_bytes());
        let query = stamp::query(digest, number, None).expect("a query");
        let der = rasn::der::encode(&query).expect("DER");
        let starting = tally.restarting.load(Ordering::Acquire);
        let Some(reply) = tally.post(to, "/tsa", "application/timestamp-query", &der) else { continue };
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        match stamp::check(&query, &reply.body) {
            Ok(_) => {
                let facts = stamp::proved(&reply.body, digest, ca).expect("a token that verifies");
                tally.stamped.lock().expect("tokens").push(facts.serial);
            }
            Err(stamp::ReplyError::Rejected(why)) => {
                // A service that starts watches its clock first.
                let clock = starting && why.contains("timeNotAvailable");
                assert!(clock || why.contains("systemFailure"), "{why}");
                tally.refused("stamp", &reply);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Certificates that two officers agree to. One whose signature failed is not signed again: a new one is asked for.
fn issue(tally: &Tally, officers: &[Connection; 2]) {
    let mut number = 0_u64;
    while tally.goes_on() {
        number += 1;
        std::thread::sleep(10 * PACE);
        if let Some(serial) = one_certificate(tally, officers, &format!("register-{number}")) {
            tally.issued.lock().expect("certificates").push(serial);
        }
    }
}

fn one_certificate(tally: &Tally, [first, second]: &[Connection; 2], name: &str) -> Option<String> {
    let (_key, csr) = key_and_request("").expect("a request");
    let wanted = json!({ "institution": "land-agency", "environment": "production", "role": "registry-service",
        "name": name, "csr": csr });
    let pending = json_of(tally, first, "/v1/certificates", &wanted)?;
    let path = format!("/v1/certificate-requests/{}/decision", pending["id"].as_str()?);
    let agree =
        json!({ "clause": "agree", "tbs_sha256": pending["tbs_sha256"], "reason": "identity checked" });
    json_of(tally, first, &path, &agree)?;
    let issued = json_of(tally, second, &path, &agree)?;
    let place = issued["certificate"].as_str()?;
    place.rsplit('/').next().map(str::to_owned)
}

fn json_of(tally: &Tally, to: &Connection, path: &str, body: &Value) -> Option<Value> {
    let reply = tally.post(to, path, "application/json", body.to_string().as_bytes())?;
    if reply.status < 300 {
        return serde_json::from_slice(&reply.body).ok();
    }
    assert_eq!(reply.status, 503, "{path}: {}", String::from_utf8_lossy(&reply.body));
    tally.refused("certificate", &reply);
    None
}

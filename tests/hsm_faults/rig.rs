//! The appliance with the fault module before its token, under load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::appliance::{Appliance, kill, wait_for};
use super::ledger;
use super::load::{Load, Tally};
use super::rows::Row;
use super::token_copy::TokenCopy;

/// The signer gives a call so long here.
const CALL_LIMIT_MS: u64 = 700;

pub struct Rig {
    appliance: Appliance,
    token: TokenCopy,
    load: Option<Load>,
    tally: Arc<Tally>,
    module: String,
    before: u64,
    slowest: Duration,
}

/// The shared library that cargo built beside this test.
fn fault_module() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let library = test.parent().expect("a directory").join("libfault_module.so");
    assert!(library.exists(), "{} is built with the tests", library.display());
    library
}

impl Rig {
    /// The appliance restarted with the fault module in its configuration, and clients at work.
    pub fn start() -> Self {
        let mut appliance = Appliance::start();
        appliance.kill_serve();
        let token = TokenCopy::take(&appliance.path("demo/hsm/tokens"));
        let config = std::fs::read_to_string(appliance.config()).expect("configuration");
        let module = config.lines().find_map(|l| l.strip_prefix("module = ")).expect("a module").to_owned();
        let plan = appliance.path("plan.toml");
        let changed = config
            .replacen(&module, &format!("{:?}", fault_module()), 1)
            .replacen("workers = 1", &format!("workers = 2\ncall_timeout_ms = {CALL_LIMIT_MS}"), 1)
            .replacen("[hsm.env]", &format!("[hsm.env]\nFAULT_MODULE = {plan:?}"), 1);
        std::fs::write(appliance.config(), changed).expect("configuration");
        // Another module than the pinned one would stop every key.
        std::fs::remove_file(appliance.path("demo/data/hsm-inventory.json")).expect("the pinned inventory");
        let mut rig = Self {
            load: None,
            tally: Arc::default(),
            appliance,
            token,
            module,
            before: 0,
            slowest: Duration::ZERO,
        };
        rig.apply("");
        rig.appliance.start_serve();
        rig.appliance.wait_until_ready();
        rig.before = rig.size();
        let load = Load::start(&rig.appliance);
        rig.tally = load.tally.clone();
        rig.load = Some(load);
        rig.recover();
        // Faults that stop an issuing key stop it for good: without one before them there may be none at all.
        wait_for("a certificate before the faults", || {
            !rig.tally.issued.lock().expect("certificates").is_empty()
        });
        rig
    }

    fn log(&self) -> PathBuf {
        self.appliance.path("calls.log")
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Puts faults into force; none, with an empty text.
    pub fn apply(&self, faults: &str) {
        self.tally.refusals.lock().expect("refusals").clear();
        let head = format!(
            "module = {}\nlog = {:?}\nlog_data = true\nstate = {:?}\n",
            self.module,
            self.log(),
            self.appliance.path("wrong-pins")
        );
        let new = self.appliance.path("plan.new");
        std::fs::write(&new, format!("{head}{faults}")).expect("a plan");
        std::fs::rename(&new, self.appliance.path("plan.toml")).expect("a plan");
    }

    /// The fault of the row's own name reached a call.
    pub fn wait_until_hit(&self, row: &Row) {
        let mark = format!("[{}]", row.name);
        wait_for(&format!("{mark} in the module's log"), || self.log_text().contains(&mark));
    }

    /// Seals and stamps go on.
    pub fn wait_for_successes(&self, name: &str) {
        let (sealed, stamped) = self.counts();
        wait_for(&format!("seals and stamps during {name}"), || {
            let now = self.counts();
            now.0 > sealed + 2 && now.1 > stamped + 2
        });
    }

    /// A client was told why.
    pub fn wait_for_refusal(&self, name: &str, words: &str) {
        wait_for(&format!("a refusal with {words:?} during {name}"), || {
            let refusals = self.tally.refusals.lock().expect("refusals");
            let told = refusals.iter().any(|text| text.contains(words));
            if !told && refusals.len() > 5000 {
                panic!("{name}: refusals without {words:?}, such as {}", refusals[refusals.len() - 1]);
            }
            told
        });
    }

    /// One login since the plan was read, however long one waits.
    pub fn assert_tried_once(&self, name: &str) {
        std::thread::sleep(Duration::from_secs(2));
        let mark = format!(" [{name}]");
        let text = self.log_text();
        let tries = text.lines().filter(|l| l.contains(" C_Login ") && l.contains("->") && l.contains(&mark));
        assert_eq!(tries.count(), 1, "{name}: logins");
    }

    /// The service itself says which key is not to be believed.
    pub fn wait_for_frozen(&self, name: &str) {
        wait_for(&format!("a frozen key during {name}"), || {
            self.hsm()["frozen"].as_array().is_some_and(|keys| !keys.is_empty())
        });
    }

    /// To the process that runs at the moment.
    pub fn signal_signer(&self, signal: Signal) {
        wait_for("a signer", || self.appliance.signer_pid().is_some());
        kill(self.appliance.signer_pid().expect("a signer"), signal);
    }

    fn hsm(&self) -> Value {
        let url = format!("{}/v1/hsm", self.appliance.env("PECHAT_URL"));
        let (status, body) = self.appliance.curl("PECHAT_OFFICER1_CERT", "PECHAT_OFFICER1_KEY", &[&url]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    /// What an operator does: the cause goes away, the service is started again.
    pub fn restart_healed(&mut self) {
        self.tally.restarting.store(true, Ordering::Release);
        self.apply("");
        self.appliance.kill_serve();
        self.token.heal();
        self.appliance.start_serve();
        self.appliance.wait_until_ready();
        self.tally.restarting.store(false, Ordering::Release);
    }

    /// The cause goes away; how long until both clients succeed again.
    pub fn recover(&mut self) -> Duration {
        self.apply("");
        let since = Instant::now();
        let (sealed, stamped) = self.counts();
        // The second success of each began after the cause was gone.
        wait_for("seals and stamps after the fault", || {
            self.token.heal();
            let now = self.counts();
            now.0 > sealed + 1 && now.1 > stamped + 1
        });
        let took = since.elapsed();
        self.slowest = self.slowest.max(took);
        took
    }

    fn counts(&self) -> (u64, usize) {
        (self.tally.sealed.load(Ordering::Acquire), self.tally.stamped.lock().expect("tokens").len())
    }

    fn size(&self) -> u64 {
        let url = format!(
            "{}/v1/journals/{}",
            self.appliance.env("PECHAT_URL"),
            self.appliance.env("PECHAT_JOURNAL")
        );
        let (status, body) = self.appliance.curl("PECHAT_CERT", "PECHAT_KEY", &[&url]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let info: Value = serde_json::from_slice(&body).expect("JSON");
        info["size"].as_u64().expect("a size")
    }

    /// Ends the load and checks the books: no entry lost or doubled, no serial number and no digest signed twice.
    pub fn finish(mut self) -> String {
        let tally = self.load.take().expect("a load").finish();
        let sealed = tally.sealed.load(Ordering::Acquire);
        assert_eq!(self.size(), self.before + sealed, "every acknowledged entry once, and no other");
        let stamped = tally.stamped.lock().expect("tokens").clone();
        assert_eq!(distinct(&stamped), stamped.len(), "serial numbers of tokens");
        let issued = tally.issued.lock().expect("certificates").clone();
        assert_eq!(distinct(&issued), issued.len(), "serial numbers of certificates");
        assert!(!issued.is_empty(), "certificates were issued");
        let twice = ledger::twice(&self.log(), &self.appliance.path("demo/data/keys.json"));
        assert!(twice.is_empty(), "the HSM signed twice: {twice:?}");
        let calls = ledger::signed(&self.log()).len();
        let pin = std::fs::read_to_string(self.appliance.path("demo/hsm/pin")).expect("the PIN");
        assert!(!holds(&self.log(), pin.trim()), "the module's log holds the PIN");
        format!(
            "{sealed} entries, {} timestamps, {} certificates, {calls} digests signed, none lost, none twice; \
             slowest recovery {:?}, longest answer {:?}",
            stamped.len(),
            issued.len(),
            self.slowest,
            Duration::from_micros(tally.longest.load(Ordering::Relaxed))
        )
    }
}

fn distinct(list: &[String]) -> usize {
    list.iter().collect::<std::collections::HashSet<_>>().len()
}

fn holds(file: &Path, text: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|found| found.contains(text))
}

//! The HSM is compared with its pinned inventory: what differs does not sign, and says so.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod softhsm;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pechat::keys::client::{How, SignerCommand, connect, generate};
use pechat::keys::inventory::{Differences, Inventory};
use pechat::keys::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKeys};
use softhsm::SoftHsm;

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

/// A token with the keys `tsu-1` and `canary`, the fault module before it, and nothing in its plan.
struct Bench {
    hsm: SoftHsm,
    pinned: PinnedKeys,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let hsm = SoftHsm::new();
        let wanted = [(label("tsu-1"), KeyPurpose::Timestamp), (label("canary"), KeyPurpose::Canary)];
        let pinned = generate(hsm.command(&[]), &wanted).await.unwrap();
        pinned.save(&hsm.keys()).unwrap();
        let bench = Self { hsm, pinned, dir: tempfile::tempdir().unwrap() };
        bench.plan("");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn inventory(&self) -> PathBuf {
        self.path("hsm-inventory.json")
    }

    fn plan(&self, faults: &str) {
        let new = self.path("plan.new");
        std::fs::write(&new, format!("module = {:?}\n{faults}", self.module())).unwrap();
        std::fs::rename(&new, self.path("plan.toml")).unwrap();
    }

    fn module(&self) -> String {
        let args = self.hsm.command(&[]).args;
        let at = args.iter().position(|arg| arg == "--module").unwrap();
        args[at + 1].to_str().unwrap().to_owned()
    }

    /// A signer that is looked at five times a second.
    fn command(&self) -> SignerCommand {
        let mut command = self.hsm.command(&["--keys", self.hsm.keys().to_str().unwrap()]);
        command.inventory_every = Duration::from_millis(200);
        command
    }

    fn through_the_fault_module(&self) -> SignerCommand {
        let library = std::env::current_exe().unwrap().with_file_name("libfault_module.so");
        let mut command = self.command();
        let at = command.args.iter().position(|arg| arg == "--module").unwrap();
        command.args[at + 1] = library.into();
        command.env.push(("FAULT_MODULE".into(), self.path("plan.toml").into()));
        command
    }

    async fn connect(&self, command: SignerCommand) -> Keys {
        connect(self.pinned.clone(), How::Child(command), 16, Duration::from_secs(3)).await.unwrap()
    }
}

async fn stop(keys: Keys) {
    keys.control().unwrap().stop().await;
}

/// Pins another inventory than there is.
fn rewrite(path: &Path, change: impl FnOnce(&mut Inventory)) {
    let mut pinned = Inventory::load(path).unwrap().unwrap();
    change(&mut pinned);
    pinned.save(path).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_look_is_pinned_with_module_token_and_keys() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command()).await;
    assert_eq!(keys.pin_inventory(&bench.inventory()), Ok(Differences::default()));
    let pinned = Inventory::load(&bench.inventory()).unwrap().unwrap();
    assert_eq!(pinned.module, bench.module());
    assert_eq!(pinned.module_sha256.len(), 64);
    assert_eq!((pinned.token.label.as_str(), pinned.token.model.as_str()), ("pechat-test", "SoftHSM v2"));
    assert!(pinned.mechanisms.iter().any(|m| m == "CKM_ECDSA"), "{:?}", pinned.mechanisms);
    assert_eq!(pinned.keys.keys().collect::<Vec<_>>(), ["canary", "tsu-1"]);
    let told = &pinned.keys["tsu-1"].attributes;
    for attribute in [
        "Sensitive(true)",
        "Extractable(false)",
        "Local(true)",
        "AlwaysSensitive(true)",
        "NeverExtractable(true)",
        "Sign(true)",
        "Decrypt(false)",
        "Unwrap(false)",
    ] {
        assert!(told.iter().any(|t| t == attribute), "{attribute}: {told:?}");
    }
    keys.sign(&label("tsu-1"), b"as pinned").await.unwrap();
    stop(keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_differs_is_stopped_alone_and_another_module_stops_all() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.command()).await;
    keys.pin_inventory(&bench.inventory()).unwrap();
    stop(keys).await;

    let at = bench.inventory();
    rewrite(&at, |pinned| pinned.keys.get_mut("tsu-1").unwrap().attributes.push("Wrap(true)".into()));
    let keys = bench.connect(bench.command()).await;
    assert_eq!(keys.pin_inventory(&at).unwrap().keys["tsu-1"], "-Wrap(true)");
    let stopped = KeyError::Differs { key: "tsu-1".into(), what: "-Wrap(true)".into() };
    assert_eq!(keys.sign(&label("tsu-1"), b"x").await, Err(stopped));
    assert_eq!(keys.differing(), [(label("tsu-1"), "-Wrap(true)".to_owned())]);
    keys.sign(&label("canary"), b"x").await.unwrap();
    stop(keys).await;

    rewrite(&at, |pinned| {
        pinned.keys.get_mut("tsu-1").unwrap().attributes.pop();
    });
    let keys = bench.connect(bench.through_the_fault_module()).await;
    let general = keys.pin_inventory(&at).unwrap().general;
    assert_eq!(general.len(), 2, "path and hash: {general:?}");
    for name in ["tsu-1", "canary"] {
        let error = keys.sign(&label(name), b"x").await.unwrap_err().to_string();
        assert!(
            error.contains("is stopped, since the HSM differs from its pinned inventory: the module is"),
            "{error}"
        );
    }
    stop(keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_the_service_runs_is_noticed() {
    let bench = Bench::new().await;
    let keys = bench.connect(bench.through_the_fault_module()).await;
    keys.pin_inventory(&bench.inventory()).unwrap();
    keys.sign(&label("tsu-1"), b"before").await.unwrap();
    bench.plan(
        "[[fault]]\ncall = \"C_GetAttributeValue\"\naction = \"flip-attribute\"\nattribute = \"CKA_DECRYPT\"\n",
    );
    let since = Instant::now();
    let error = loop {
        match keys.sign(&label("tsu-1"), b"again").await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
        assert!(since.elapsed() < Duration::from_secs(60), "a changed attribute is not noticed");
    };
    let what = "-Decrypt(false), +Decrypt(true)".to_owned();
    assert_eq!(error, KeyError::Differs { key: "tsu-1".into(), what });
    assert_eq!(keys.control().unwrap().restarts(), 0);
    // It does not pardon itself.
    bench.plan("");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(matches!(keys.sign(&label("tsu-1"), b"later").await, Err(KeyError::Differs { .. })));
    stop(keys).await;
}

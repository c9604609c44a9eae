//! From nothing to a running appliance with institutions, identities and journals.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::office::{Identity, Office};
use super::place::{NTP_SERVERS, Place, Ports, env_text};
use super::processes::{Started, output, signer_of};
use super::{DemoError, Narrator};
use crate::digest::unhex_into;

/// Where Debian, Fedora and others put SoftHSM's module.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
const READY_WITHIN: Duration = Duration::from_secs(45);
/// Demonstration only, and only for a token that is thrown away.
const PIN: &str = "1234-demonstration";

/// The running demonstration.
pub struct Appliance {
    /// Its directory.
    pub place: Place,
    /// Its ports.
    pub ports: Ports,
    /// Its processes.
    pub processes: Started,
    /// This program.
    pub program: PathBuf,
    /// A register of the land agency.
    pub registry1: Identity,
    /// A register of another institution.
    pub registry2: Identity,
}

impl Appliance {
    /// Origin of the mTLS listener.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.ports.api)
    }

    /// Origin of the plain listener.
    pub fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.public)
    }
}

/// Everything up to the point where a register can begin to work; writes `env`.
pub fn start(place: Place, ports: Ports, narrator: &mut Narrator) -> Result<Appliance, DemoError> {
    let module = module()?;
    let program = std::env::current_exe().map_err(|e| DemoError::file(Path::new("this program"), e))?;
    let mut processes = Started::default();
    token(&place, narrator)?;
    let ntp = time_sources(&place, &ports, &mut processes)?;
    narrator.shown(format_args!(
        "{NTP_SERVERS} chronyd -x on loopback ports {:?}: real NTP, but all serve this machine's own time",
        ports.ntp
    ));
    let config = place.write("pechat.toml", place.pechat_toml(&ports, &module))?;
    let (officer1, officer2) = initialise(&place, &program, &config)?;
    narrator.shown(
        "pechat init: keys in the HSM token, root, three issuing CAs, time-stamping unit, two officers",
    );
    let log = place.path("serve.log");
    let mut serve = Command::new(&program);
    serve.arg("serve").arg("--config").arg(&config);
    let pid = processes.start("pechat serve", &mut serve, &log)?;
    wait_until_ready(&mut processes, &format!("http://127.0.0.1:{}/readyz", ports.public), &log)?;
    narrator.shown("pechat serve and its signer are ready: a test signature and a test timestamp succeeded");
    let url = format!("https://localhost:{}", ports.api);
    let office = Office::open(&officer1.settings(&url, &place), &officer2.settings(&url, &place))?;
    let [registry1, registry2, auditor] = people(&office, &place)?;
    narrator.shown(
        "4 institutions, 3 registry services, 1 auditor, 2 journals; two officers agreed to each certificate",
    );
    let appliance = Appliance { place, ports, processes, program, registry1, registry2 };
    write_env(&appliance, pid, &ntp, &[officer1, officer2, auditor])?;
    Ok(appliance)
}

fn module() -> Result<PathBuf, DemoError> {
    let found = MODULES.iter().map(PathBuf::from).find(|m| m.exists());
    found.ok_or(DemoError::Missing { what: "SoftHSM", package: "softhsm2" })
}

/// A SoftHSM token in the directory; the user's own tokens are not seen, let alone touched.
fn token(place: &Place, narrator: &mut Narrator) -> Result<(), DemoError> {
    let conf = place.write("hsm/softhsm2.conf", place.softhsm_conf())?;
    place.write("hsm/pin", format!("{PIN}\n"))?;
    let mut init = Command::new("softhsm2-util");
    init.env("SOFTHSM2_CONF", conf).args([
        "--init-token",
        "--free",
        "--label",
        "pechat-demo",
        "--pin",
        PIN,
        "--so-pin",
        PIN,
    ]);
    output(&mut init).map_err(|e| missing(e, "softhsm2-util", "softhsm2"))?;
    narrator.shown(format_args!("an HSM token of its own (SoftHSM) in {}", place.path("hsm").display()));
    Ok(())
}

fn missing(error: DemoError, what: &'static str, package: &'static str) -> DemoError {
    match error {
        DemoError::Program { ref said, .. } if said.contains("os error 2") => {
            DemoError::Missing { what, package }
        }
        other => other,
    }
}

fn time_sources(place: &Place, ports: &Ports, processes: &mut Started) -> Result<Vec<u32>, DemoError> {
    let chronyd = if Path::new("/usr/sbin/chronyd").exists() { "/usr/sbin/chronyd" } else { "chronyd" };
    let user = output(Command::new("id").arg("-un"))?;
    let mut pids = Vec::new();
    for (server, port) in ports.ntp.iter().enumerate() {
        let conf = place.write(&format!("ntp/{server}.conf"), place.chrony_conf(server, *port))?;
        let mut command = Command::new(chronyd);
        // -x: never touches the system clock; -U: root is not needed for that.
        command.args(["-x", "-U", "-d", "-u", user.trim(), "-f"]).arg(conf);
        let pid = processes.start("chronyd", &mut command, &place.path(&format!("ntp/{server}.log")));
        pids.push(pid.map_err(|e| missing(e, "chronyd", "chrony"))?);
    }
    Ok(pids)
}

/// `pechat init` with both officers' requests; collects what clients need to trust.
fn initialise(place: &Place, program: &Path, config: &Path) -> Result<(Identity, Identity), DemoError> {
    let (first, second) = (Identity::with_key(place, "officer1")?, Identity::with_key(place, "officer2")?);
    let officer = |name: &str| format!("{name}={}", place.path(&format!("identities/{name}.csr")).display());
    let mut init = Command::new(program);
    init.args(["init", "--config"]).arg(config);
    init.args(["--officer", &officer("officer1"), "--officer", &officer("officer2"), "--host", "localhost"]);
    output(&mut init)?;
    let read = |path: &str| {
        let path = place.path(path);
        fs::read_to_string(&path).map_err(|e| DemoError::file(&path, e))
    };
    place.write("root.pem", read("data/certificates/root.pem")?)?;
    place.write("journal-head.pem", head_key_pem(&read("data/keys.json")?)?)?;
    let issuer = read("data/certificates/ca-production.pem")?;
    for name in ["officer1", "officer2"] {
        let mut pem = read(&format!("data/officers/{name}.pem"))?;
        if pem.matches("BEGIN CERTIFICATE").count() == 1 {
            pem.push_str(&issuer);
        }
        place.write(&format!("identities/{name}.pem"), pem)?;
    }
    Ok((first, second))
}

/// The pinned public key of the journal head as PEM.
fn head_key_pem(keys_json: &str) -> Result<String, DemoError> {
    let bad = || DemoError::Shown("keys.json without a journal-head key".into());
    let keys: Value = serde_json::from_str(keys_json).map_err(|_| bad())?;
    let list = keys["keys"].as_array().ok_or_else(bad)?;
    let key = list.iter().find(|k| k["label"] == "journal-head").ok_or_else(bad)?;
    let text = key["spki"].as_str().ok_or_else(bad)?;
    let mut der = vec![0; text.len() / 2];
    unhex_into(text, &mut der).ok_or_else(bad)?;
    der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, &der).map_err(|_| bad())
}

fn wait_until_ready(processes: &mut Started, url: &str, log: &Path) -> Result<(), DemoError> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)))
        .proxy(None)
        .build()
        .new_agent();
    let begun = Instant::now();
    let mut reason = String::from("nothing listens yet");
    while begun.elapsed() < READY_WITHIN {
        if let Some(name) = processes.ended() {
            reason = format!("{name} ended");
            break;
        }
        match agent.get(url).call() {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(mut answer) => reason = answer.body_mut().read_to_string().unwrap_or_default(),
            Err(error) => reason = error.to_string(),
        }
        sleep(Duration::from_millis(100));
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(12)..].join("\n");
    Err(DemoError::NotReady { reason, log: log.display().to_string(), tail })
}

fn people(office: &Office, place: &Place) -> Result<[Identity; 3], DemoError> {
    office.institution("land-agency", "Land Agency")?;
    office.institution("civil-registry", "Civil Registration Office")?;
    office.institution("court-agency", "Court Agency")?;
    office.institution("audit-office", "National Audit Office")?;
    let registry1 = office.identity(place, "land-agency", "registry-service", "land-register")?;
    let registry2 = office.identity(place, "civil-registry", "registry-service", "birth-register")?;
    office.identity(place, "court-agency", "registry-service", "conviction-register")?;
    let auditor = office.identity(place, "audit-office", "auditor", "auditor")?;
    office.journal("land-register", "land-agency")?;
    office.journal("birth-register", "civil-registry")?;
    Ok([registry1, registry2, auditor])
}

/// The names in this file are an interface: other programs source it.
fn write_env(a: &Appliance, serve: u32, ntp: &[u32], others: &[Identity; 3]) -> Result<(), DemoError> {
    let [officer1, officer2, auditor] = others;
    let path = |p: &Path| p.display().to_string();
    let pids: Vec<_> = ntp.iter().map(u32::to_string).collect();
    let text = env_text(&[
        ("PECHAT_URL", a.url()),
        ("PECHAT_PUBLIC_URL", a.public_url()),
        ("PECHAT_METRICS_URL", format!("http://127.0.0.1:{}", a.ports.metrics)),
        ("PECHAT_CA", path(&a.place.path("root.pem"))),
        ("PECHAT_CERT", path(&a.registry1.cert)),
        ("PECHAT_KEY", path(&a.registry1.key)),
        ("PECHAT_CERT2", path(&a.registry2.cert)),
        ("PECHAT_KEY2", path(&a.registry2.key)),
        ("PECHAT_OFFICER1_CERT", path(&officer1.cert)),
        ("PECHAT_OFFICER1_KEY", path(&officer1.key)),
        ("PECHAT_OFFICER2_CERT", path(&officer2.cert)),
        ("PECHAT_OFFICER2_KEY", path(&officer2.key)),
        ("PECHAT_AUDITOR_CERT", path(&auditor.cert)),
        ("PECHAT_AUDITOR_KEY", path(&auditor.key)),
        ("PECHAT_JOURNAL", "land-register".into()),
        ("PECHAT_DATA", path(&a.place.path("data"))),
        ("PECHAT_BIN", path(&a.program)),
        ("PECHAT_SERVE_PID", serve.to_string()),
        ("PECHAT_SIGNER_PID", signer_of(serve).map(|p| p.to_string()).unwrap_or_default()),
        ("PECHAT_NTP_PIDS", pids.join(" ")),
    ]);
    a.place.write("env.new", text)?;
    let (new, env) = (a.place.path("env.new"), a.place.path("env"));
    fs::rename(&new, &env).map_err(|e| DemoError::file(&env, e))
}

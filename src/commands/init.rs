//! `pechat init`: keys in the HSM, certificates, the first two officers, the data directory; once.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::layout;
use super::serve::{ServeError, during, open_issuer, open_journals};
use crate::access::{Directory, Role};
use crate::certificate::profile::Subject;
use crate::certificate::{Application, Ca, ceremony, pem, pem_chain};
use crate::clock::{ClockState, HandSet, UtcMicros, system};
use crate::config::Config;
use crate::digest::Digest;
use crate::institution::{Environment, Institution, InstitutionId};
use crate::journal::{Journals, OwnJournal};
use crate::keys::{KeyPurpose, Keys, client};

/// The institution of the first officers.
const AUTHORITY: &str = "authority";
const KEYS: [(&str, KeyPurpose); 10] = [
    ("root-ca", KeyPurpose::RootCa),
    ("ca-test", KeyPurpose::IssuingCa),
    ("ca-integration", KeyPurpose::IssuingCa),
    ("ca-production", KeyPurpose::IssuingCa),
    ("ocsp-test", KeyPurpose::OcspResponder),
    ("ocsp-integration", KeyPurpose::OcspResponder),
    ("ocsp-production", KeyPurpose::OcspResponder),
    ("tsu-1", KeyPurpose::Timestamp),
    ("journal-head", KeyPurpose::JournalHead),
    ("canary", KeyPurpose::Canary),
];

/// Arguments of `pechat init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
    /// One of the first two officers: a name and the file of a PKCS #10 request made with
    /// `pechat client init` or openssl. Exactly two; later ones are agreed to by these.
    #[arg(long = "officer", value_name = "NAME=CSR", required = true, value_parser = officer)]
    officers: Vec<(String, PathBuf)>,
    /// DNS name or address by which clients reach the appliance; may be given several times.
    #[arg(long = "host", value_name = "NAME", default_value = "localhost")]
    hosts: Vec<String>,
}

fn officer(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.into(), file.into())),
        _ => Err("give NAME=FILE, the file being the officer's certificate request".into()),
    }
}

/// Makes everything, or says what stood in the way and what is there now.
pub fn run(args: InitArgs) -> Result<(), ServeError> {
    let config = Config::load(&args.config).map_err(|e| ServeError(e.to_string()))?;
    crate::telemetry::log_to_stderr(false);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    refuse_second_run(&config)?;
    if args.officers.len() != 2 || args.officers[0].0 == args.officers[1].0 {
        return Err(ServeError(
            "two officers with different names are needed, so that nobody acts alone".into(),
        ));
    }
    let authority = authority(&config)?;
    let officers = read_requests(&args.officers, &authority)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(during("cannot start the runtime"))?;
    runtime.block_on(initialise(&config, authority, officers, &args.hosts))
}

fn refuse_second_run(config: &Config) -> Result<(), ServeError> {
    let dir = config.data_dir.display();
    if layout::unfinished(config).exists() {
        return Err(ServeError(format!(
            "an earlier `pechat init` did not finish in {dir}: remove the directory, initialise the HSM token anew, run it again"
        )));
    }
    if layout::keys(config).exists() {
        return Err(ServeError(format!(
            "{dir} is initialised already; keys are made once. Use another data_dir and HSM token for another appliance"
        )));
    }
    Ok(())
}

/// The institution of the first officers.
fn authority(config: &Config) -> Result<Institution, ServeError> {
    let id = InstitutionId::try_from(AUTHORITY.to_owned()).map_err(during("institution"))?;
    let names = config.authority.clone();
    let (country, identifier) = (names.country, names.organisation_identifier);
    Institution::new(id, names.organisation, country, identifier, config.site.clone())
        .map_err(during("institution of the first officers"))
}

/// The officers' requests, judged before any key is made: keys are made once.
fn read_requests(
    officers: &[(String, PathBuf)],
    authority: &Institution,
) -> Result<Vec<Application>, ServeError> {
    let (mut read, mut keys) = (Vec::new(), Vec::new());
    for (name, path) in officers {
        let what = format!("request of officer {name}, {}", path.display());
        let application = Application {
            csr: fs::read(path).map_err(during(&what))?,
            institution: authority.id.clone(),
            environment: Environment::Production,
            role: Role::ControlAdministrator,
            name: name.clone(),
        };
        keys.push(application.judge(authority).map_err(during(&what))?.key_hash());
        read.push(application);
    }
    keys.dedup();
    if keys.len() < officers.len() {
        return Err(ServeError(
            "both officers' requests are of the same key: each makes a key of his own".into(),
        ));
    }
    Ok(read)
}

async fn initialise(
    config: &Config,
    authority: Institution,
    officers: Vec<Application>,
    hosts: &[String],
) -> Result<(), ServeError> {
    for dir in ["", "certificates", "tls", "officers", "journal", "run"] {
        private_dir(&config.data(dir))?;
    }
    write(&layout::unfinished(config), b"")?;
    let keys = make_keys(config).await?;
    let journals = unsealed_journals(config, &keys).await?;
    let now = system::now();
    certify(config, &keys, &journals, hosts, now).await?;
    let files = admit_officers(config, &keys, &journals, authority, officers, now).await?;
    if let Some(control) = keys.control() {
        control.stop().await;
    }
    fs::remove_file(layout::unfinished(config)).map_err(during("cannot finish"))?;
    sync_dir(&config.data_dir)?;
    println!("{} is ready: start it with `pechat serve`", config.data_dir.display());
    println!("root certificate: {}", layout::certificate_file(config, "root").display());
    for file in files {
        println!("certificate of an officer: {}", file.display());
    }
    Ok(())
}

async fn make_keys(config: &Config) -> Result<Keys, ServeError> {
    let mut wanted = Vec::new();
    for (name, purpose) in KEYS {
        wanted.push((layout::label(name)?, purpose));
    }
    let pinned =
        client::generate(layout::signer_command(config)?, &wanted).await.map_err(during("making keys"))?;
    pinned.save(&layout::keys(config)).map_err(during("pinned keys"))?;
    println!("{} keys made in HSM token {:?}", pinned.keys.len(), config.hsm.token_label);
    let how = client::How::Child(layout::serving_signer(config)?);
    client::connect(pinned, how, config.hsm.queue, Duration::from_secs(10)).await.map_err(during("HSM"))
}

/// Journals that record but do not seal: nobody watches the clock yet. `pechat serve` seals these
/// entries with its first batch.
async fn unsealed_journals(config: &Config, keys: &Keys) -> Result<Journals, ServeError> {
    let (hand, clock) = HandSet::synchronised(Duration::ZERO);
    let untrusted = ClockState::Untrusted {
        reason: "startup".into(),
        detail: "pechat init does not watch the clock".into(),
    };
    hand.set(untrusted, Duration::ZERO);
    let stamp = Arc::new(|_| -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> {
        Box::pin(async { Err("nothing is stamped during pechat init".to_owned()) })
    });
    open_journals(config, keys, &clock, stamp).await
}

/// Root, issuing CAs, time-stamping unit, TLS listener; an intent and an outcome for each.
async fn certify(
    config: &Config,
    keys: &Keys,
    journals: &Journals,
    hosts: &[String],
    now: UtcMicros,
) -> Result<(), ServeError> {
    let url = &config.listen.public_url;
    let subject = |common_name: &str| Subject {
        country: config.authority.country.clone(),
        organisation: config.authority.organisation.clone(),
        organisation_identifier: config.authority.organisation_identifier.clone(),
        common_name: common_name.to_owned(),
    };
    let root_label = layout::label("root-ca")?;
    let named = subject("Pechat Root CA");
    let made = ceremony::self_signed_root(keys, &root_label, &named, now);
    let root = Ca { certificate: recorded(config, journals, "root", made).await?, label: root_label };
    for environment in Environment::ALL {
        let name = format!("ca-{}", environment.as_str());
        let (label, named) = (layout::label(&name)?, subject(&format!("Pechat {} CA", environment.as_str())));
        let made = ceremony::issuing_ca(keys, &root, &label, environment, &named, url, now);
        recorded(config, journals, &name, made).await?;
    }
    let (label, named) = (layout::label("tsu-1")?, subject("Pechat Time-Stamping Unit 1"));
    recorded(config, journals, "tsu-1", ceremony::tsu(keys, &root, &label, &named, url, now)).await?;

    let issuer = Ca {
        label: layout::label("ca-production")?,
        certificate: layout::certificate(config, "ca-production")?,
    };
    let host = hosts.first().map_or("localhost", String::as_str);
    let (key, csr) = super::client::init::key_and_request(host).map_err(during("TLS key"))?;
    write(&config.data("tls/server.key"), key.as_bytes())?;
    let named = subject(host);
    let made = ceremony::server(keys, &issuer, csr.as_bytes(), hosts, &named, url, now);
    let server = recorded(config, journals, "server", made).await?;
    write(&config.data("tls/server.pem"), pem_chain(&[&server, &issuer.certificate]).as_bytes())
}

/// Records that a certificate is about to be made, makes it, records it, writes its file.
async fn recorded<E: std::fmt::Display>(
    config: &Config,
    journals: &Journals,
    name: &str,
    made: impl Future<Output = Result<Vec<u8>, E>>,
) -> Result<Vec<u8>, ServeError> {
    note(journals, json!({"event": "ceremony-intent", "certificate": name})).await?;
    let certificate = made.await.map_err(during(&format!("certificate {name}")))?;
    let event = json!({"event": "ceremony-outcome", "certificate": name, "sha256": Digest::of(&certificate)});
    note(journals, event).await?;
    write(&layout::certificate_file(config, name), pem(&certificate).as_bytes())?;
    println!("certificate {name} made");
    Ok(certificate)
}

async fn note(journals: &Journals, event: serde_json::Value) -> Result<(), ServeError> {
    let detail = event.to_string().into_bytes();
    let recorded = journals.record(OwnJournal::Certificates, layout::fresh_id(), detail).await;
    recorded.map(|_| ()).map_err(during("journal of certificates"))
}

/// The files with their certificates.
async fn admit_officers(
    config: &Config,
    keys: &Keys,
    journals: &Journals,
    authority: Institution,
    officers: Vec<Application>,
    now: UtcMicros,
) -> Result<Vec<PathBuf>, ServeError> {
    let issuer = open_issuer(config, keys, journals, &Directory::default())?;
    for name in ["root", "ca-test", "ca-integration", "ca-production", "tsu-1", "server"] {
        let made = layout::certificate(config, name)?;
        issuer.adopt(&made, name).await.map_err(during(&format!("certificate {name}")))?;
    }
    issuer.renew_responders(now).await.map_err(during("OCSP responders"))?;
    issuer.register(authority, "init", now).await.map_err(during("institution of the first officers"))?;
    let mut files = Vec::new();
    for application in officers {
        let name = application.name.clone();
        let made =
            issuer.import_identity(application, now).await.map_err(during(&format!("officer {name}")))?;
        let chain = issuer.chain(&made);
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let file = config.data(&format!("officers/{name}.pem"));
        write(&file, pem_chain(&chain).as_bytes())?;
        files.push(file);
    }
    issuer.refresh_crls(now).await.map(|_| ()).map_err(during("revocation lists"))?;
    Ok(files)
}

fn private_dir(path: &Path) -> Result<(), ServeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(during(&path.display().to_string()))
}

/// A new file of mode 0600, durable.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ServeError> {
    let what = path.display().to_string();
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(during(&what))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(during(&what))?;
    sync_dir(path.parent().unwrap_or(Path::new("/")))
}

fn sync_dir(dir: &Path) -> Result<(), ServeError> {
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(during(&dir.display().to_string()))
}

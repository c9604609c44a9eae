//! `pechat audit export`: a journal and all that proves it, in one folder that needs nobody any more.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::addresses::{origin_and_path, published_at};
use super::archive;
use super::folder::{
    self, CHECKPOINT, CONSISTENCY, EXPORT, HEAD, HEAD_KEY, RECEIPT, ROOT, digest_of, statement_name, twin,
};
use super::manifest::{MANIFEST, Manifest, is_plain};
use super::trust::{Pins, TrustArgs};
use super::{Report, Verdict};
use crate::commands::client::http::Connection;
use crate::commands::client::settings::{self, Settings};
use crate::journal::JournalName;
use crate::journal::checkpoint::{Head, open_note};
use crate::journal::export::ExportHeader;
use crate::journal::receipt::HeadProof;
use crate::timestamp::read::token_certificates;

/// The format's description, as it was when this program was built.
const FORMAT: &str = include_str!("../../../docs/formats/journal.md");
/// The verifier in Python.
const VERIFIER: &str = include_str!("../../../docs/verify.py");
const README: &str = include_str!("README.txt");

/// Arguments of `pechat audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The journal's name
    #[arg(long)]
    journal: String,
    /// The folder to make; it must not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The journal-head public key (PEM), received another way [default: head_key of the configuration,
    /// $PECHAT_HEAD_KEY, else the one the appliance names]
    #[arg(long, value_name = "KEY.PEM")]
    head_key: Option<PathBuf>,
    /// Where CA certificates and revocation lists are [default: where the certificates say]
    #[arg(long, value_name = "http://HOST")]
    pub public_url: Option<String>,
    /// Configuration file of `pechat client` [default: $XDG_CONFIG_HOME/pechat/client.toml]; PECHAT_URL, PECHAT_CA,
    /// PECHAT_CERT and PECHAT_KEY win over it
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// What the folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An audit.
    Audit,
    /// To be kept when the appliance is gone.
    Archive,
}

/// Downloads, then verifies what was downloaded. The folder appears whole or not at all.
pub fn run(args: &ExportArgs) -> Result<Verdict, String> {
    run_for(args, Purpose::Audit)
}

/// [`run`] for this purpose.
pub fn run_for(args: &ExportArgs, purpose: Purpose) -> Result<Verdict, String> {
    let settings = settings::load(args.config.as_deref()).map_err(|e| e.to_string())?;
    let journal = JournalName::try_from(args.journal.clone()).map_err(|e| e.to_string())?;
    if args.out.exists() {
        return Err(format!("{} exists already; name a new folder", args.out.display()));
    }
    let head_key = args.head_key.clone().or_else(|| settings.head_key.clone());
    let pins = TrustArgs { ca: vec![settings.ca.clone()], head_key }.load()?;
    let mut name = args.out.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    DirBuilder::new().mode(0o700).create(&partial).map_err(|e| at(&partial, e))?;
    let public_url = args.public_url.as_deref();
    let made = Maker { dir: &partial, settings: &settings, public_url, purpose }
        .make(journal.as_str(), &pins)
        .and_then(|notes| fs::rename(&partial, &args.out).map(|()| notes).map_err(|e| at(&args.out, e)));
    let notes = made.inspect_err(|_| drop(fs::remove_dir_all(&partial)))?;
    let report: Report = folder::verify(&args.out, &pins);
    report.print(&args.out, false);
    notes.iter().for_each(|note| println!("        {note}"));
    // A head key that only the appliance named leaves the question open, not the export unfinished.
    let only_key = report.verdict() == Verdict::Indeterminate && pins.head_key.is_none();
    Ok(if only_key { Verdict::Passed } else { report.verdict() })
}

/// The answer of `/v1/journals/{journal}/twin`.
#[derive(Deserialize)]
struct TwinRoot {
    statement: String,
    receipt: String,
}

/// A control entry as the appliance answers it.
#[derive(Deserialize)]
struct Stated {
    seq: u64,
    statement: Option<String>,
}

/// Fills a folder.
pub(super) struct Maker<'a> {
    /// The folder.
    pub dir: &'a Path,
    settings: &'a Settings,
    public_url: Option<&'a str>,
    purpose: Purpose,
}

impl Maker<'_> {
    /// Everything, the MANIFEST last; gives what the reader should know beside.
    fn make(&self, journal: &str, pins: &Pins) -> Result<Vec<String>, String> {
        let api = Connection::open(self.settings).map_err(|e| e.to_string())?;
        let base = format!("/v1/journals/{journal}");
        // Before the export, so that this holds at least the entries that the root covers.
        self.twin(&api, &base)?;
        let path = self.dir.join(EXPORT);
        let mut file = File::create_new(&path).map_err(|e| at(&path, e))?;
        api.download(&format!("{base}/export"), &mut file).map_err(|e| e.to_string())?;
        file.sync_all().map_err(|e| at(&path, e))?;
        let file = File::open(&path).map_err(|e| at(&path, e))?;
        let (header, _) =
            ExportHeader::read(&mut BufReader::new(file)).map_err(|e| format!("{journal}: {e}"))?;
        let last = header.count.saturating_sub(1);
        self.write(RECEIPT, &self.get(&api, &format!("{base}/receipts/{last}"))?)?;
        self.heads(&api, &base, header.count)?;
        self.statements(&api, &base, header.count)?;
        let mut notes = self.keys(&api, pins)?;
        self.certificates(&header.proof)?;
        for (name, text) in [("FORMAT.md", FORMAT), ("verify.py", VERIFIER)] {
            self.write(name, text.as_bytes())?;
        }
        match self.purpose {
            Purpose::Audit => self.write("README.txt", README.as_bytes())?,
            Purpose::Archive => notes.extend(archive::add(self, &header)?),
        }
        self.manifest()?;
        Ok(notes)
    }

    /// The newest SHA3-256 root, if one is stated yet.
    fn twin(&self, api: &Connection, base: &str) -> Result<(), String> {
        let path = format!("{base}/twin");
        let reply = api.get(&path).map_err(|e| e.to_string())?;
        if reply.status == 404 {
            return Ok(());
        }
        let body = reply.success(&path).map_err(|e| e.to_string())?.body;
        let root: TwinRoot = serde_json::from_slice(&body).map_err(|e| format!("{path}: {e}"))?;
        self.write(twin::STATEMENT, root.statement.as_bytes())?;
        self.write(twin::RECEIPT, root.receipt.as_bytes())
    }

    /// The newest head and root checkpoint, asked for after the export so that they continue it.
    fn heads(&self, api: &Connection, base: &str, old: u64) -> Result<(), String> {
        let head = self.get(api, &format!("{base}/checkpoint"))?;
        self.write(HEAD, &head)?;
        let proof: HeadProof = serde_json::from_slice(&head).map_err(|e| format!("{HEAD}: {e}"))?;
        let new = Head::parse(&proof.head).map_err(|e| format!("{HEAD}: {e}"))?.size;
        if new > old {
            self.write(CONSISTENCY, &self.get(api, &format!("{base}/consistency?old={old}&new={new}"))?)?;
        }
        self.write(CHECKPOINT, &self.get(api, "/v1/checkpoint")?)
    }

    /// The statements of the control entries that the export has.
    fn statements(&self, api: &Connection, base: &str, count: u64) -> Result<(), String> {
        let body = self.get(api, &format!("{base}/statements"))?;
        let all: Vec<Stated> = serde_json::from_slice(&body).map_err(|e| format!("statements: {e}"))?;
        let all = all.into_iter().filter(|stated| stated.seq < count);
        all.filter_map(|stated| Some((statement_name(stated.seq), stated.statement?)))
            .try_for_each(|(name, text)| self.write(&name, text.as_bytes()))
    }

    fn keys(&self, api: &Connection, pins: &Pins) -> Result<Vec<String>, String> {
        let root = fs::read(&self.settings.ca).map_err(|e| at(&self.settings.ca, e))?;
        self.write(ROOT, &root)?;
        if let Some(spki) = &pins.head_key {
            let pem = der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, spki);
            self.write(HEAD_KEY, pem.map_err(|e| e.to_string())?.as_bytes())?;
            return Ok(Vec::new());
        }
        self.write(HEAD_KEY, &self.get(api, "/v1/keys/journal-head")?)?;
        Ok(vec![format!(
            "{HEAD_KEY} is what the appliance named; compare it with what the authority published"
        )])
    }

    /// Certificates of the token's issuers and their lists, from where the token's own certificates say.
    fn certificates(&self, proof: &HeadProof) -> Result<(), String> {
        let note = open_note(&proof.checkpoint).map_err(|e| e.to_string())?;
        let token = note.token().ok_or("the export's checkpoint holds no token")?;
        let held = token_certificates(&token.payload).map_err(|e| e.to_string())?;
        let mut addresses: Vec<_> = held.iter().flat_map(|der| published_at(der)).collect();
        addresses.sort();
        addresses.dedup();
        for address in &addresses {
            let (origin, path) = origin_and_path(address).ok_or_else(|| format!("{address} has no path"))?;
            let name = path.rsplit('/').next().unwrap_or_default();
            if !is_plain(name) || !(name.ends_with(".crl") || name.ends_with(".cer")) {
                return Err(format!("{address} does not name a list or certificate"));
            }
            let public = Connection::anonymous(self.public_url.unwrap_or(origin), &self.settings.ca);
            let body = self.get(&public.map_err(|e| e.to_string())?, path)?;
            self.write(name, &body)?;
        }
        Ok(())
    }

    fn get(&self, from: &Connection, path: &str) -> Result<Vec<u8>, String> {
        let reply = from.get(path).and_then(|reply| reply.success(path));
        reply.map(|reply| reply.body).map_err(|e| e.to_string())
    }

    /// Writes a file that is not there yet.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.dir.join(name);
        let written = File::create_new(&path).and_then(|mut file| {
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()
        });
        written.map_err(|e| at(&path, e))
    }

    fn manifest(&self) -> Result<(), String> {
        let mut manifest = Manifest::default();
        for item in fs::read_dir(self.dir).map_err(|e| at(self.dir, e))? {
            let name = item.map_err(|e| at(self.dir, e))?.file_name().to_string_lossy().into_owned();
            let digest = digest_of(&self.dir.join(&name)).map_err(|e| at(self.dir, e))?;
            manifest.0.insert(name, digest);
        }
        self.write(MANIFEST, manifest.text().as_bytes())?;
        File::open(self.dir).and_then(|dir| dir.sync_all()).map_err(|e| at(self.dir, e))
    }
}

fn at(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}

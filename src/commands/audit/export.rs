//! `pechat audit export`: a journal and all that proves it, in one folder that needs nobody any more.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::addresses::{origin_and_path, published_at};
use super::archive;
use super::folder::{
    self, CHECKPOINT, CONSISTENCY, EXPORT, HEAD, HEAD_KEY, RECEIPT, ROOT, digest_of, statement_name, twin,
};
use super::manifest::{MANIFEST, Manifest, is_plain};
use super::place::{Place, at, sync, write};
use super::progress::{Counted, Progress, Unit};
use super::span::{Bound, query};
use super::trust::{Pins, TrustArgs};
use super::{Report, Verdict, set};
use crate::commands::client::http::Connection;
use crate::commands::client::settings::{self, Settings};
use crate::journal::JournalName;
use crate::journal::checkpoint::{Head, open_note};
use crate::journal::range_export::Preamble;
use crate::journal::receipt::HeadProof;
use crate::timestamp::read::token_certificates;

/// The format's description, as it was when this program was built.
const FORMAT: &str = include_str!("../../../docs/formats/journal.md");
/// The verifier in Python.
const VERIFIER: &str = include_str!("../../../docs/verify.py");
const README: &str = include_str!("README.txt");

/// What stands below the options in the help.
pub const EXAMPLES: &str = "Examples:
  pechat audit export --journal land-register --out land
  pechat audit export --journal land-register --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --out january
  pechat audit export --all --out everything

A part holds the neighbour on either side of the time asked for, which shows that nothing else is from then. An export
that was stopped goes on when the same command is given again; until it is whole its folder is called DIR.partial.";

/// Arguments of `pechat audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The journal's name. Several give one export with a folder each, and the root log they all stand in
    #[arg(long, required_unless_present = "all")]
    journal: Vec<String>,
    /// Every journal that we may read
    #[arg(long, conflicts_with = "journal")]
    all: bool,
    /// First entry (sequence number), or the earliest time (RFC 3339)
    #[arg(long, value_name = "NUMBER|TIME")]
    from: Option<Bound>,
    /// Last entry (sequence number), or the time before which (RFC 3339)
    #[arg(long, value_name = "NUMBER|TIME")]
    to: Option<Bound>,
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

impl ExportArgs {
    /// Whether this makes a folder of folders.
    pub fn is_set(&self) -> bool {
        self.all || self.journal.len() > 1
    }

    /// Whether this takes only a part of a journal.
    pub fn is_part(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    fn plan(&self, settings: &Settings) -> Result<String, String> {
        let numbers = [self.from, self.to].iter().flatten().any(|bound| matches!(bound, Bound::Number(_)));
        if numbers && self.is_set() {
            return Err("entry numbers are those of one journal; for several name times".into());
        }
        let names = if self.all { "--all".into() } else { self.journal.join(" ") };
        Ok(format!("pechat-plan v1\n{}\n{names}\n{}\n", settings.url, query(self.from, self.to)?))
    }
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
    let plan = args.plan(&settings)?;
    for name in &args.journal {
        JournalName::try_from(name.clone()).map_err(|e| e.to_string())?;
    }
    let head_key = args.head_key.clone().or_else(|| settings.head_key.clone());
    let pins = TrustArgs { ca: vec![settings.ca.clone()], head_key }.load()?;
    let place = Place::take(&args.out, &plan)?;
    let api = match Connection::open(&settings) {
        Ok(api) => api,
        Err(error) => {
            place.drop_all();
            return Err(error.to_string());
        }
    };
    let public_url = args.public_url.as_deref();
    let query = query(args.from, args.to)?;
    let from = Source { api: &api, settings: &settings, public_url, query: &query, pins: &pins, purpose };
    let notes = if args.is_set() { from.set(args, place)? } else { from.single(&args.journal[0], place)? };
    let reports = set::verify_any(&args.out, &pins, super::pace())?;
    reports.iter().for_each(|(path, report)| report.print(path, false));
    notes.iter().for_each(|note| println!("        {note}"));
    let worst = reports.iter().map(|(_, report)| Report::verdict(report)).max();
    // A head key that only the appliance named leaves the question open, not the export unfinished.
    let only_key = worst == Some(Verdict::Indeterminate) && pins.head_key.is_none();
    Ok(if only_key { Verdict::Passed } else { worst.unwrap_or(Verdict::Indeterminate) })
}

/// Where journals come from, and how much of them.
struct Source<'a> {
    api: &'a Connection,
    settings: &'a Settings,
    public_url: Option<&'a str>,
    query: &'a str,
    pins: &'a Pins,
    purpose: Purpose,
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

impl Source<'_> {
    fn single(&self, journal: &str, place: Place) -> Result<Vec<String>, String> {
        let made = place.fresh(journal).and_then(|dir| self.folder(&dir, journal).map(|notes| (dir, notes)));
        match made {
            Ok((dir, notes)) => place.finish_from(&dir).map(|()| notes),
            Err(error) => {
                place.drop_all();
                Err(error)
            }
        }
    }

    /// A folder a journal, then the root log; what a stopped export finished is kept.
    fn set(&self, args: &ExportArgs, place: Place) -> Result<Vec<String>, String> {
        let made = self.journals(args).and_then(|names| self.fill(&place, &names));
        match made {
            Ok(notes) => place.finish().map(|()| notes),
            Err(error) => {
                let finished = fs::read_dir(&place.dir).into_iter().flatten().flatten();
                if finished.into_iter().any(|item| item.path().join(MANIFEST).exists()) {
                    let kept = place.dir.display();
                    return Err(format!(
                        "{error}\n  what was finished is kept in {kept}; the same command goes on from there"
                    ));
                }
                place.drop_all();
                Err(error)
            }
        }
    }

    fn journals(&self, args: &ExportArgs) -> Result<Vec<String>, String> {
        #[derive(Deserialize)]
        struct Journal {
            name: String,
        }
        if !args.all {
            return Ok(args.journal.clone());
        }
        let reply = self.api.get("/v1/journals").and_then(|r| r.success("/v1/journals"));
        let listed: Vec<Journal> =
            reply.and_then(|reply| reply.json("/v1/journals")).map_err(|e| e.to_string())?;
        Ok(listed.into_iter().map(|journal| journal.name).collect())
    }

    fn fill(&self, place: &Place, names: &[String]) -> Result<Vec<String>, String> {
        let mut notes = Vec::new();
        for name in names {
            let done = place.dir.join(name);
            if done.exists() {
                if folder::verify(&done, self.pins, super::pace(), &|_| false).verdict() != Verdict::Failed {
                    continue;
                }
                fs::remove_dir_all(&done).map_err(|e| at(&done, e))?;
            }
            let dir = place.fresh(&format!("{name}.partial"))?;
            notes.extend(self.folder(&dir, name)?);
            place.keep(&dir, name)?;
        }
        notes.dedup();
        let public = self.public(&place.dir, names)?;
        set::complete(&place.dir, names, self.api, &public)?;
        Ok(notes)
    }

    /// Where tiles of the root log are: where the certificates say that lists are.
    fn public(&self, dir: &Path, names: &[String]) -> Result<Connection, String> {
        let origin = match (self.public_url, names.first()) {
            (Some(url), _) => url.to_owned(),
            (None, first) => {
                let path = dir.join(first.ok_or("there is no journal that we may read")?).join(EXPORT);
                let addresses = addresses(header_of(&path)?.proof())?;
                let origin = addresses.iter().find_map(|address| origin_and_path(address));
                origin.ok_or("the certificates name no public listener; give --public-url")?.0.to_owned()
            }
        };
        Connection::anonymous(&origin, &self.settings.ca).map_err(|e| e.to_string())
    }

    fn folder(&self, dir: &Path, journal: &str) -> Result<Vec<String>, String> {
        Maker { dir, from: self }.make(journal)
    }
}

/// What stands before the entries of an export.
fn header_of(path: &Path) -> Result<Preamble, String> {
    let file = File::open(path).map_err(|e| at(path, e))?;
    let header = Preamble::read(&mut BufReader::new(file));
    header.map(|(header, _)| header).map_err(|e| format!("{}: {e}", path.display()))
}

/// Where the certificates of the checkpoint's token say that their issuers' certificates and lists are.
fn addresses(proof: &HeadProof) -> Result<Vec<String>, String> {
    let note = open_note(&proof.checkpoint).map_err(|e| e.to_string())?;
    let token = note.token().ok_or("the export's checkpoint holds no token")?;
    let held = token_certificates(&token.payload).map_err(|e| e.to_string())?;
    let mut addresses: Vec<_> = held.iter().flat_map(|der| published_at(der)).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// Fills a folder.
pub(super) struct Maker<'a> {
    /// The folder.
    pub dir: &'a Path,
    from: &'a Source<'a>,
}

impl Maker<'_> {
    /// Everything, the MANIFEST last; gives what the reader should know beside.
    fn make(&self, journal: &str) -> Result<Vec<String>, String> {
        let api = self.from.api;
        let base = format!("/v1/journals/{journal}");
        // Before the export, so that this holds at least the entries that the root covers.
        self.twin(api, &base)?;
        let path = self.dir.join(EXPORT);
        let file = File::create_new(&path).map_err(|e| at(&path, e))?;
        let progress = Progress::new(journal, Unit::Bytes, None);
        let query = Some(self.from.query).filter(|query| !query.is_empty());
        let asked = format!("{base}/export{}{}", if query.is_some() { "?" } else { "" }, self.from.query);
        let mut out = Counted(&file, &progress);
        api.download(&asked, &mut out).map_err(|e| e.to_string())?;
        file.sync_all().map_err(|e| at(&path, e))?;
        drop(progress);
        let header = header_of(&path)?;
        let (proof, end) = (header.proof(), header.first() + header.count());
        let last = end.saturating_sub(1);
        self.write(RECEIPT, &self.get(api, &format!("{base}/receipts/{last}"))?)?;
        let size = Head::parse(&proof.head).map_err(|e| format!("{EXPORT}: {e}"))?.size;
        self.heads(api, &base, size)?;
        self.statements(api, &base, header.first()..end)?;
        let mut notes = self.keys(api, self.from.pins)?;
        self.certificates(proof)?;
        for (name, text) in [("FORMAT.md", FORMAT), ("verify.py", VERIFIER)] {
            self.write(name, text.as_bytes())?;
        }
        match self.from.purpose {
            Purpose::Audit => self.write("README.txt", README.as_bytes())?,
            Purpose::Archive => notes.extend(archive::add(self, &header)?),
        }
        self.manifest()?;
        Ok(notes)
    }

    /// The newest SHA3-256 root, if one is stated yet; a part does not hold the entries to compute it from.
    fn twin(&self, api: &Connection, base: &str) -> Result<(), String> {
        if !self.from.query.is_empty() {
            return Ok(());
        }
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
    fn statements(&self, api: &Connection, base: &str, held: std::ops::Range<u64>) -> Result<(), String> {
        let body = self.get(api, &format!("{base}/statements"))?;
        let all: Vec<Stated> = serde_json::from_slice(&body).map_err(|e| format!("statements: {e}"))?;
        let all = all.into_iter().filter(|stated| held.contains(&stated.seq));
        all.filter_map(|stated| Some((statement_name(stated.seq), stated.statement?)))
            .try_for_each(|(name, text)| self.write(&name, text.as_bytes()))
    }

    fn keys(&self, api: &Connection, pins: &Pins) -> Result<Vec<String>, String> {
        let ca = &self.from.settings.ca;
        let root = fs::read(ca).map_err(|e| at(ca, e))?;
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
        for address in &addresses(proof)? {
            let (origin, path) = origin_and_path(address).ok_or_else(|| format!("{address} has no path"))?;
            let name = path.rsplit('/').next().unwrap_or_default();
            if !is_plain(name) || !(name.ends_with(".crl") || name.ends_with(".cer")) {
                return Err(format!("{address} does not name a list or certificate"));
            }
            let public =
                Connection::anonymous(self.from.public_url.unwrap_or(origin), &self.from.settings.ca);
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
        write(&self.dir.join(name), bytes)
    }

    fn manifest(&self) -> Result<(), String> {
        let mut manifest = Manifest::default();
        for item in fs::read_dir(self.dir).map_err(|e| at(self.dir, e))? {
            let name = item.map_err(|e| at(self.dir, e))?.file_name().to_string_lossy().into_owned();
            let digest = digest_of(&self.dir.join(&name)).map_err(|e| at(self.dir, e))?;
            manifest.0.insert(name, digest);
        }
        self.write(MANIFEST, manifest.text().as_bytes())?;
        sync(self.dir).map_err(|e| at(self.dir, e))
    }
}

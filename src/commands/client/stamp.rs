//! `pechat client stamp`: an RFC 3161 query for a file, the reply checked against it and kept.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use rasn::types::{Integer, ObjectIdentifier, OctetString, Oid};
use rasn_cms::tsp::{MessageImprint, PkiStatus, TST_INFO, TimeStampReq, TimeStampResp, TstInfo};
use rasn_cms::{CONTENT_SIGNED_DATA, SignedData};
use rasn_pkix::AlgorithmIdentifier;

use super::evidence::root_certificate;
use super::http::Connection;
use super::settings::Settings;
use super::store::write_durably;
use super::{ClientError, at, random};
use crate::digest::Digest;
use crate::timestamp::verify::{TokenFacts, verify_sha256};

const SHA256: &Oid = Oid::JOINT_ISO_ITU_T_COUNTRY_US_ORGANIZATION_GOV_CSOR_NIST_ALGORITHMS_HASH_SHA256;

/// Arguments of `pechat client stamp`.
#[derive(Debug, Args)]
pub struct StampArgs {
    /// The file to be stamped; only its SHA-256 leaves this machine.
    pub file: PathBuf,
    /// Where the reply goes [default: FILE.tsr; the query goes beside it as .tsq]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Ask for this policy, dotted decimal.
    #[arg(long)]
    pub policy: Option<String>,
}

/// What the reply says, after every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// `genTime`, ISO 8601.
    pub time: String,
    /// Accuracy in words.
    pub accuracy: String,
    /// Serial number, hex.
    pub serial: String,
}

/// Why a reply is no timestamp for the query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Not the DER of RFC 3161 section 2.4.2.
    #[error("the reply is not an RFC 3161 reply: {0}")]
    NotAReply(String),
    /// The authority refused.
    #[error("no timestamp: {0}")]
    Rejected(String),
    /// The token is not about our query.
    #[error("the token's {0} is not the query's")]
    Differs(&'static str),
    /// The token's signature or certificates do not hold.
    #[error("the timestamp does not hold: {0}")]
    Unproved(String),
    /// The policy is not dotted decimal.
    #[error("{0:?} is not an object identifier in dotted decimal")]
    BadPolicy(String),
}

/// Stamps a file; writes query and reply.
pub fn stamp(args: &StampArgs, settings: &Settings) -> Result<(Stamped, PathBuf), ClientError> {
    let digest = digest_of(&args.file)?;
    let mut nonce = [0; 8];
    random(&mut nonce)?;
    let query = query(digest, u64::from_be_bytes(nonce), args.policy.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| with_suffix(&args.file, ".tsr"));
    let query_der = rasn::der::encode(&query).map_err(|e| ReplyError::NotAReply(e.to_string()))?;
    let connection = Connection::open(settings)?;
    let reply = connection.post("/tsa", "application/timestamp-query", &query_der)?.success("/tsa")?;
    let mut stamped = check(&query, &reply.body)?;
    stamped.serial = proved(&reply.body, digest, &settings.ca)?.serial;
    write_durably(&query_path(&out), &query_der)?;
    write_durably(&out, &reply.body)?;
    Ok((stamped, out))
}

/// `x.tsr` → `x.tsq`, anything else gets `.tsq` appended.
pub fn query_path(reply: &Path) -> PathBuf {
    if reply.extension().is_some_and(|e| e == "tsr") {
        reply.with_extension("tsq")
    } else {
        with_suffix(reply, ".tsq")
    }
}

/// The path with a suffix after its whole name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SHA-256 of a file of any size.
pub fn digest_of(path: &Path) -> Result<Digest, ClientError> {
    let mut file = File::open(path).map_err(|e| at(path, e))?;
    let mut hasher = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(|e| at(path, e))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hasher.finish().as_ref());
    Ok(Digest::from_bytes(bytes))
}

/// RFC 3161 section 2.4.1: version 1, SHA-256, nonce, certReq.
pub fn query(digest: Digest, nonce: u64, policy: Option<&str>) -> Result<TimeStampReq, ReplyError> {
    Ok(TimeStampReq {
        version: 1,
        message_imprint: MessageImprint {
            hash_algorithm: AlgorithmIdentifier { algorithm: SHA256.into(), parameters: None },
            hashed_message: OctetString::from(digest.as_bytes().to_vec()),
        },
        req_policy: policy.map(dotted).transpose()?,
        nonce: Some(Integer::from(nonce)),
        cert_req: true,
        extensions: None,
    })
}

fn dotted(text: &str) -> Result<ObjectIdentifier, ReplyError> {
    let bad = || ReplyError::BadPolicy(text.to_owned());
    let arcs: Vec<u32> = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?;
    ObjectIdentifier::new(arcs).ok_or_else(bad)
}

/// The reply's token over `digest`: signature, certificates and purpose up to the root in `ca`.
pub fn proved(reply: &[u8], digest: Digest, ca: &Path) -> Result<TokenFacts, ClientError> {
    let not_a_reply = |e: &dyn std::fmt::Display| ReplyError::NotAReply(e.to_string());
    let response: TimeStampResp = rasn::der::decode(reply).map_err(|e| not_a_reply(&e))?;
    let token = response.time_stamp_token.ok_or_else(|| not_a_reply(&"it holds no token"))?;
    let token = rasn::der::encode(&token).map_err(|e| not_a_reply(&e))?;
    let facts = verify_sha256(&token, &digest, &[root_certificate(ca)?], None);
    Ok(facts.map_err(|e| ReplyError::Unproved(e.to_string()))?)
}

/// RFC 3161 section 2.2: status, then that the token is about this very query.
pub fn check(query: &TimeStampReq, reply: &[u8]) -> Result<Stamped, ReplyError> {
    let no_reply = |e: &dyn std::fmt::Display| ReplyError::NotAReply(e.to_string());
    let reply: TimeStampResp = rasn::der::decode(reply).map_err(|e| no_reply(&e))?;
    if !matches!(reply.status.status, PkiStatus::Granted | PkiStatus::GrantedWithMods) {
        return Err(ReplyError::Rejected(rejection(&reply)));
    }
    let token = reply.time_stamp_token.ok_or_else(|| no_reply(&"granted, but without a token"))?;
    if token.content_type != *CONTENT_SIGNED_DATA {
        return Err(no_reply(&"the token is not SignedData"));
    }
    let signed: SignedData = rasn::der::decode(token.content.as_bytes()).map_err(|e| no_reply(&e))?;
    let content = signed.encap_content_info;
    if content.content_type != *TST_INFO {
        return Err(no_reply(&"the token does not hold a TSTInfo"));
    }
    let content = content.content.ok_or_else(|| no_reply(&"the token is empty"))?;
    let info: TstInfo = rasn::der::decode(&content).map_err(|e| no_reply(&e))?;
    compare(query, &info)?;
    Ok(Stamped {
        time: info.gen_time.to_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        accuracy: accuracy(&info),
        serial: String::new(),
    })
}

fn compare(query: &TimeStampReq, info: &TstInfo) -> Result<(), ReplyError> {
    let same = [
        ("imprint", info.message_imprint == query.message_imprint),
        ("nonce", info.nonce == query.nonce),
        ("policy", query.req_policy.as_ref().is_none_or(|p| *p == info.policy)),
    ];
    same.iter().find(|s| !s.1).map_or(Ok(()), |s| Err(ReplyError::Differs(s.0)))
}

/// Names of RFC 3161 section 2.4.2 for the bits set, and the authority's own words.
fn rejection(reply: &TimeStampResp) -> String {
    const NAMES: [(usize, &str); 8] = [
        (0, "badAlg"),
        (2, "badRequest"),
        (5, "badDataFormat"),
        (14, "timeNotAvailable"),
        (15, "unacceptedPolicy"),
        (16, "unacceptedExtension"),
        (17, "addInfoNotAvailable"),
        (25, "systemFailure"),
    ];
    let bits = reply.status.fail_info.as_ref();
    let set = |bit: usize| bits.is_some_and(|b| b.get(bit).is_some_and(|b| *b));
    let names = NAMES.iter().filter(|n| set(n.0)).map(|n| n.1.to_owned());
    let words = reply.status.status_string.iter().flatten().cloned();
    let said: Vec<String> = names.chain(words).collect();
    if said.is_empty() { format!("status {:?}", reply.status.status) } else { said.join(": ") }
}

fn accuracy(info: &TstInfo) -> String {
    let Some(a) = &info.accuracy else { return "not stated".into() };
    let part = |value: &Option<Integer>, unit: &str| value.as_ref().map(|v| format!("{v} {unit}"));
    let parts = [part(&a.seconds, "s"), part(&a.millis, "ms"), part(&a.micros, "µs")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

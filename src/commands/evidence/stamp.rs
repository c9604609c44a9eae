//! Tokens for evidence: from the appliance's own unit or any other authority, checked, and completed with the
//! revocation lists of the time (RFC 4998 section 5.2).

use std::path::PathBuf;

use clap::Args;

use crate::commands::audit::addresses::{origin_and_path, published_at};
use crate::commands::client::http::Connection;
use crate::commands::client::random;
use crate::commands::client::settings::{self, Settings};
use crate::commands::verify::material::{certificates, token_of};
use crate::timestamp::read::token_certificates;
use crate::timestamp::revocation::check_revocation;
use crate::timestamp::strength::with_lists;
use crate::timestamp::{Hash, query, verify_token};

/// Where tokens come from.
#[derive(Debug, Clone, Args)]
pub struct StampArgs {
    /// Take the token from this authority instead of the appliance
    #[arg(long, value_name = "URL")]
    pub tsa: Option<String>,
    /// Root certificates (PEM) of that authority, for its tokens and its TLS
    #[arg(long, value_name = "ROOT.PEM", requires = "tsa")]
    pub tsa_ca: Option<PathBuf>,
}

/// An authority and what is needed to judge it.
pub struct Authority<'a> {
    args: &'a StampArgs,
    settings: Settings,
    public_url: Option<&'a str>,
    /// Roots that its tokens must lead to, DER.
    pub roots: Vec<Vec<u8>>,
}

impl<'a> Authority<'a> {
    /// Reads settings and roots; connects when a token is asked for.
    pub fn open(
        args: &'a StampArgs,
        config: Option<&std::path::Path>,
        public_url: Option<&'a str>,
    ) -> Result<Self, String> {
        let settings = settings::load(config).map_err(|e| e.to_string())?;
        let roots = certificates(args.tsa_ca.as_ref().unwrap_or(&settings.ca))?;
        Ok(Self { args, settings, public_url, roots })
    }

    /// A token over `imprint`, verified, with the lists that say that nothing in it was revoked.
    pub fn stamp(&self, hash: Hash, imprint: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; 8];
        random(&mut nonce).map_err(|e| e.to_string())?;
        let (connection, path) = self.connection()?;
        let query = query(hash, imprint, Some(&nonce), true);
        let reply = connection
            .post(&path, "application/timestamp-query", &query)
            .and_then(|reply| reply.success(&path))
            .map_err(|e| e.to_string())?;
        let token = token_of(&reply.body).map_err(|e| format!("the answer of {path} {e}"))?;
        let facts = verify_token(&token, hash, imprint, &self.roots, None)
            .map_err(|e| format!("no time-stamp: {e}"))?;
        let sent = nonce.iter().skip_while(|b| **b == 0);
        if !facts.nonce.iter().flatten().skip_while(|b| **b == 0).eq(sent) {
            return Err("no time-stamp: the token answers another query".into());
        }
        let lists = self.lists(&token)?;
        check_revocation(&token, &self.roots, &lists).map_err(|e| format!("no time-stamp: {e}"))?;
        with_lists(&token, &lists).map_err(|e| e.to_string())
    }

    fn connection(&self) -> Result<(Connection, String), String> {
        let Some(url) = &self.args.tsa else {
            let own = Connection::open(&self.settings).map_err(|e| e.to_string())?;
            return Ok((own, "/tsa".into()));
        };
        let authority = url.find("://").map_or(0, |scheme| scheme + 3);
        let path = url[authority..].find('/').map_or(url.len(), |slash| authority + slash);
        let (origin, path) = url.split_at(path);
        let ca = self.args.tsa_ca.as_ref().unwrap_or(&self.settings.ca);
        let foreign = Connection::anonymous(origin, ca).map_err(|e| e.to_string())?;
        Ok((foreign, if path.is_empty() { "/".into() } else { path.to_owned() }))
    }

    /// The lists that the token's certificates name.
    fn lists(&self, token: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let held = token_certificates(token).map_err(|e| e.to_string())?;
        let mut addresses: Vec<_> = held.iter().flat_map(|der| published_at(der)).collect();
        addresses.retain(|address| address.ends_with(".crl"));
        addresses.sort();
        addresses.dedup();
        let public_url = if self.args.tsa.is_some() { None } else { self.public_url };
        let mut lists = Vec::new();
        for address in &addresses {
            let (origin, path) = origin_and_path(address).ok_or_else(|| format!("{address} has no path"))?;
            let from = Connection::anonymous(public_url.unwrap_or(origin), &self.settings.ca);
            let reply = from.and_then(|from| from.get(path)).and_then(|reply| reply.success(address));
            lists.push(reply.map_err(|e| e.to_string())?.body);
        }
        Ok(lists)
    }
}

//! `pechat conformance`: the numbered checklist asked of any time-stamping authority.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::clock::system;
use crate::conformance::exchange::Known;
use crate::conformance::lines;
use crate::conformance::report::Report;
use crate::conformance::run::{Only, Prober};
use crate::conformance::wire::{Address, tls};

/// Arguments of `pechat conformance`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 every probe passed, 1 some failed, 2 nothing could be judged.\n\n\
    Example:\n  pechat conformance https://tsa.example.org/tsa --ca root.pem --cert me.pem --key me.key --only 9,13")]
pub struct ConformanceArgs {
    /// The authority: http:// or https://, with its path.
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    /// Trust anchors for https, PEM.
    #[arg(long, default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: PathBuf,
    /// Client certificate with its chain, PEM.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Only these lines (12) or single probes (09c), separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Longest wait for an answer, seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Print what would be asked, and ask nothing.
    #[arg(long)]
    list: bool,
}

/// Exit 0 when every probe passed, 1 when one failed, 2 when nothing could be judged.
pub fn run(args: ConformanceArgs) -> ExitCode {
    if args.list {
        for probe in lines::all() {
            println!("{}  {:<46}  {}", probe.id, probe.sent, probe.expected);
        }
        return ExitCode::SUCCESS;
    }
    match report(&args) {
        Ok(report) => {
            if args.json {
                println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
            } else {
                print!("{}", report.table());
            }
            if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("pechat conformance: {error}");
            ExitCode::from(2)
        }
    }
}

fn report(args: &ConformanceArgs) -> Result<Report, String> {
    let url = args.url.clone().unwrap_or_default();
    let probes = lines::all();
    let only = Only(args.only.clone());
    if let Some(word) = only.unknown(&probes) {
        return Err(format!("there is no probe {word:?}; --list prints them all"));
    }
    let (address, mut known) = target(args, &url)?;
    let patience = Duration::from_secs(args.timeout);
    let prober = Prober { dial: &address, patience, now: system::now };
    prober.learn(&mut known).map_err(|why| {
        format!(
            "{url} gave no token to an ordinary query: {why}\n  next: check the URL, --cert, --key and --ca"
        )
    })?;
    let chosen = probes.iter().filter(|probe| only.takes(probe));
    Ok(Report::new(url, chosen.map(|probe| prober.probe(&known, probe)).collect()))
}

fn target(args: &ConformanceArgs, url: &str) -> Result<(Address, Known), String> {
    let Target { secure, host, port, authority, path } = Target::read(url)?;
    let mut known = Known { host: authority, path, secure, seed: vec![0; 16], ..Known::default() };
    aws_lc_rs::rand::fill(&mut known.seed).map_err(|_| "the random generator gives nothing".to_owned())?;
    let mut config = None;
    if secure {
        let (ready, chain) = tls(&args.ca, args.cert.as_deref().zip(args.key.as_deref()))?;
        known.names = chain.first().map(|leaf| names(leaf)).unwrap_or_default();
        config = Some(ready);
    }
    Ok((Address { host, port, tls: config, patience: Duration::from_secs(args.timeout) }, known))
}

/// Common names of a certificate that are long enough to be told from chance.
fn names(der: &[u8]) -> Vec<String> {
    use der::Decode;
    let Ok(certificate) = x509_cert::Certificate::from_der(der) else { return Vec::new() };
    let subject = certificate.tbs_certificate().subject().to_string();
    let names = subject.split(',').filter_map(|part| part.strip_prefix("CN="));
    names.filter(|name| name.len() >= 4).map(str::to_owned).collect()
}

/// A URL taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    secure: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl Target {
    fn read(url: &str) -> Result<Self, String> {
        let bad = || format!("{url:?} is no http:// or https:// URL");
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(bad()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (authority, if secure { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.contains('@') || url.contains([' ', '\r', '\n']) {
            return Err(bad());
        }
        let path = if path.is_empty() { "/".into() } else { path.to_owned() };
        Ok(Self { secure, host, port, authority: authority.to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let read = |url| Target::read(url).map(|t| (t.secure, t.host, t.port, t.authority, t.path));
        let own = |s: &str| s.to_owned();
        assert_eq!(read("https://h/tsa?x"), Ok((true, own("h"), 443, own("h"), own("/tsa?x"))));
        assert_eq!(read("http://[::1]:81"), Ok((false, own("::1"), 81, own("[::1]:81"), own("/"))));
        assert_eq!(read("http://[::1]/"), Ok((false, own("::1"), 80, own("[::1]"), own("/"))));
        for bad in
            ["h/tsa", "ftp://h", "http://", "http://a@b/", "http://h:x/", "http://h/ x", "http://h:99999/"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

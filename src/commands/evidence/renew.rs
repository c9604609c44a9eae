//! `pechat evidence renew`: what holds now is covered anew, before it stops to hold.

use std::path::PathBuf;

use clap::Args;

use super::folder::{digest, read_record, recorded, write_record};
use super::renewals;
use super::stamp::{Authority, StampArgs};
use super::verify::{VerifierArgs, report};
use crate::commands::audit::Verdict;
use crate::evidence::renew::{renew_hashes, renew_timestamps};
use crate::timestamp::Hash;

/// Arguments of `pechat evidence renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    #[command(flatten)]
    stamp: StampArgs,
    #[command(flatten)]
    verifier: VerifierArgs,
    /// Renew the hash too: sha384, sha512, sha3-256, sha3-384 or sha3-512
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
    /// Where CA certificates and revocation lists are [default: where the certificates say]
    #[arg(long, value_name = "http://HOST")]
    public_url: Option<String>,
    /// Configuration file of `pechat client`
    #[arg(long)]
    config: Option<PathBuf>,
    /// The folder
    dir: PathBuf,
}

/// Verifies, stamps, writes, verifies again. Each record is the old or the new one whatever interrupts this.
pub fn run(args: &RenewArgs) -> Result<Verdict, String> {
    let hash = args.hash.as_deref().map(|name| Hash::from_name(name).ok_or(name)).transpose();
    let hash = hash.map_err(|name| format!("{name:?} is not a hash that is known here; see --help"))?;
    let before = report(&args.dir, &args.verifier)?;
    if before.verdict() != Verdict::Passed {
        before.print(&args.dir, false);
        return Err("nothing was renewed: only what holds can be carried on".into());
    }
    let authority = Authority::open(&args.stamp, args.config.as_deref(), args.public_url.as_deref())?;
    let names = recorded(&args.dir)?;
    let records = names.iter().map(|name| read_record(&args.dir, name)).collect::<Result<Vec<_>, _>>()?;
    let stamp = &mut |hash: Hash, imprint: &[u8]| authority.stamp(hash, imprint);
    let renewed = match hash {
        None => renew_timestamps(&records, &[], stamp)?,
        Some(hash) => {
            let digests = names.iter().map(|name| digest(hash, &args.dir.join(name)));
            renew_hashes(&records, hash, &digests.collect::<Result<Vec<_>, _>>()?, &[], stamp)?
        }
    };
    for (name, record) in names.iter().zip(&renewed) {
        write_record(&args.dir, name, record)?;
    }
    renewals::draft(&args.dir, &names, &records, &renewed)?;
    let reported = renewals::report_drafts(&args.dir, args.config.as_deref());
    let after = report(&args.dir, &args.verifier)?;
    after.print(&args.dir, false);
    match reported {
        Ok(_) => println!("        the renewal is an entry of the appliance's own.events"),
        Err(why) => println!(
            "        NOT RECORDED by the appliance yet: {why}; `pechat evidence record` does it later"
        ),
    }
    Ok(after.verdict())
}

//! Pechat: identities, timestamps and seals for the registers of an administration.
//!
//! Five nouns carry the product, two more decide whether they may act:
//!
//! * [`timestamp`]: RFC 3161 queries in, tokens out.
//! * [`certificate`]: requests, to-be-signed certificates, issuing, revocation lists.
//! * [`institution`]: who takes part, and who agreed to what.
//! * [`journal`]: hash-chained entries, group commit, receipts, the auditor's check.
//! * [`keys`]: named HSM keys as the rest of the service sees them.
//! * [`clock`]: trusted time, or the reason why there is none.
//! * [`evidence`]: RFC 4998 records over exports, renewed before keys and hashes age.
//! * [`identifier`]: register numbers (Annex 3), counted by the journal.
//! * [`witness`]: who remembers a log's newest head and cosigns only what continues it.
//! * [`access`]: which exact certificate is who, and what that role may ask.

pub mod access;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod digest;
pub mod evidence;
pub mod http;
pub mod identifier;
pub mod institution;
pub mod journal;
pub mod keys;
mod replace;
pub mod signer;
pub mod store;
pub mod telemetry;
pub mod timestamp;
pub mod witness;

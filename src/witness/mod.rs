//! Witnesses of logs: who remembers a log's newest head and cosigns only what continues it
//! (C2SP `tlog-witness`, `tlog-cosignature`, `tlog-checkpoint`, `signed-note`).
//!
//! Both sides are here. The witness itself: [`request`] (what it is asked), [`memory`] (what it
//! remembers, and when it cosigns). The appliance as its client: [`client`] (asks one witness),
//! [`rounds`] (asks them all, never in the way of a seal), [`cosigned`] (what they said).

pub mod cosignature;
pub mod heads;
pub mod memory;
pub mod request;
pub mod vkey;

pub use vkey::{KeyKind, VerifierKey};

//! Witnesses of logs: who remembers a log's newest head and cosigns only what continues it
//! (C2SP `tlog-witness`, `tlog-cosignature`, `tlog-checkpoint`, `signed-note`).
//!
//! Both sides are here. The witness itself: [`request`] (what it is asked), [`memory`] (when it cosigns),
//! [`heads`] (what it remembers). The appliance as its client: [`client`] (asks one witness), [`rounds`]
//! (asks them all, never in the way of a seal), [`cosigned`] (what they said), [`known`] (what they
//! remember of us, for rollback detection), [`copies`] (of our newest head, kept elsewhere).

pub mod client;
pub mod copies;
pub mod cosignature;
pub mod cosigned;
pub mod heads;
pub mod known;
pub mod memory;
pub mod request;
pub mod rounds;
pub mod vkey;

pub use client::WitnessConfig;
pub use copies::HeadSource;
pub use cosigned::{WitnessView, Witnesses};
pub use known::add_known;
pub use vkey::{KeyKind, VerifierKey};

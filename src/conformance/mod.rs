//! The numbered checklist as a black-box probe of any time-stamping authority.
//!
//! A [`Probe`] is a line of the checklist: what is asked and a pure judgement of what came back.
//! [`lines`] holds them all, [`run`] asks them one after the other over [`wire`], [`report`] prints.
//! Nothing here knows the appliance: requests are laid from parts, so that faulty ones can be said.

pub mod answer;
pub mod exchange;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forge;
mod judge;
pub mod lines;
pub mod query;
mod reply;
pub mod report;
pub mod run;
#[cfg(test)]
mod tests;
pub mod wire;

pub use exchange::{End, Known, Seen, Sent, Step};
pub use lines::{Judgement, Mark, Probe};
pub use reply::take_apart;

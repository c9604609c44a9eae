//! Evidence that outlives keys, certificates and hashes: RFC 4998 evidence records over the files of an
//! export, their renewal, and the check of all of it at any later time.
//!
//! Pure: tokens come from a function handed in, time and policy are arguments.

pub mod policy;
pub mod record;
pub mod renew;
pub mod renewal;
pub mod tree;
pub mod verify;

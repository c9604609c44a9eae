//! Unique register identifiers: the numbers of Annex 3 (requirement R5), read and handed out.

mod allotment;
mod day;
mod number;
mod office;

pub use allotment::Allotment;
pub use day::Day;
pub use number::{Number, NumberError, OwnerCode};
pub use office::{IdentifierError, IdentifierSettings, Identifiers, Issued, MOST};

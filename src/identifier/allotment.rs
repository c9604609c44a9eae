//! What `own.identifiers` holds: one entry a run of numbers.

use serde::{Deserialize, Serialize};

use super::{Day, OwnerCode};
use crate::digest::Digest;
use crate::journal::RequestId;

/// A run of numbers of one owner and day that was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allotment {
    /// The owner's four digits.
    pub code: String,
    /// Year in the national zone.
    pub year: i16,
    /// Day of that year.
    pub day: i16,
    /// Which run of that owner and day, from 0 without gaps.
    pub run: u64,
    /// Increment of the first number.
    pub first: u32,
    /// How many numbers.
    pub count: u32,
    /// `institution/name` of who asked.
    pub client: String,
}

impl Allotment {
    /// Increment after its last.
    pub fn end(&self) -> u32 {
        self.first.saturating_add(self.count)
    }
}

/// The id of a run's entry. It follows from owner, day and run, and the journal takes an id once: so
/// no two entries can ever hold the same run, whatever this program believes.
pub fn run_id(code: OwnerCode, day: Day, run: u64) -> RequestId {
    let text = format!("pechat identifiers v1\n{code} {} {} {run}\n", day.year, day.of_year);
    let mut id = [0; 16];
    id.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
    RequestId(id)
}

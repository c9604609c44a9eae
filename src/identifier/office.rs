//! Hands numbers out: the run is durable in `own.identifiers` before its numbers leave.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::allotment::run_id;
use super::{Allotment, Day, Number, NumberError, OwnerCode};
use crate::clock::Clock;
use crate::institution::InstitutionId;
use crate::journal::{JournalError, Journals, OwnJournal};

/// Numbers one request may ask for.
pub const MOST: u32 = 1000;
/// The last of a day: six digits.
const LAST: u32 = 999_999;

/// `[identifiers]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentifierSettings {
    /// IANA name of the zone whose days count.
    pub zone: String,
    /// Institution → its four digits of the budget classifier.
    pub codes: BTreeMap<InstitutionId, String>,
}

impl Default for IdentifierSettings {
    fn default() -> Self {
        Self { zone: "Europe/Sofia".into(), codes: BTreeMap::new() }
    }
}

impl IdentifierSettings {
    /// Everything that is wrong, in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self
            .codes
            .values()
            .filter_map(|c| OwnerCode::try_from(&**c).err())
            .map(|e| e.to_string())
            .collect();
        if TimeZone::get(&self.zone).is_err() {
            faults.push(format!(
                "{:?} is not a zone of this machine's time zone database; is the package tzdata installed?",
                self.zone
            ));
        }
        faults
    }
}

/// Why no number was handed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// The settings.
    #[error("{0}")]
    Settings(String),
    /// None, or more than [`MOST`].
    #[error("a request asks for 1 to {MOST} numbers, not {0}")]
    Count(u32),
    /// The institution has no code.
    #[error("institution {0:?} has no owner code in the appliance's configuration")]
    NoCode(String),
    /// No trusted time, hence no day.
    #[error("no number now: {0}")]
    NotNow(String),
    /// Fewer are left than asked for.
    #[error("{left} numbers of {code} are left today, {asked} were asked for")]
    Exhausted {
        /// Whose.
        code: String,
        /// Left.
        left: u32,
        /// Wanted.
        asked: u32,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The numbers, in order.
    pub numbers: Vec<Number>,
    /// Sequence of their entry in `own.identifiers`.
    pub seq: u64,
}

/// Next run and next increment of one owner and day.
#[derive(Debug, Clone, Copy)]
struct Next {
    run: u64,
    increment: u32,
}

/// Hands numbers out. Cheap to clone.
#[derive(Clone)]
pub struct Identifiers(Arc<Inner>);

struct Inner {
    journals: Journals,
    clock: Clock,
    zone: TimeZone,
    codes: HashMap<InstitutionId, OwnerCode>,
    /// Every owner and day asked for since start: a clock set back finds its day's count again.
    next: Mutex<HashMap<(OwnerCode, Day), Next>>,
}

impl Identifiers {
    /// Hands out what the journals do not hold yet.
    pub fn new(
        settings: &IdentifierSettings,
        journals: Journals,
        clock: Clock,
    ) -> Result<Self, IdentifierError> {
        let zone = TimeZone::get(&settings.zone).map_err(|e| IdentifierError::Settings(e.to_string()))?;
        let codes: Result<_, NumberError> =
            settings.codes.iter().map(|(id, code)| Ok((id.clone(), OwnerCode::try_from(&**code)?))).collect();
        let codes = codes.map_err(|e| IdentifierError::Settings(e.to_string()))?;
        Ok(Self(Arc::new(Inner { journals, clock, zone, codes, next: Mutex::default() })))
    }

    /// `count` consecutive numbers of the institution for the national day of the trusted clock.
    /// Numbers whose answer is lost are not handed out again.
    pub async fn issue(
        &self,
        institution: &InstitutionId,
        client: &str,
        count: u32,
    ) -> Result<Issued, IdentifierError> {
        let inner = &self.0;
        if !(1..=MOST).contains(&count) {
            return Err(IdentifierError::Count(count));
        }
        let code = inner.codes.get(institution).copied();
        let code = code.ok_or_else(|| IdentifierError::NoCode(institution.as_str().to_owned()))?;
        // 1. Prepare: one request at a time, so that runs follow each other.
        let mut known = inner.next.lock().await;
        let day = inner.today()?;
        // Taken out: if this is abandoned half-way, the journal is asked again.
        let next = match known.remove(&(code, day)) {
            Some(next) => next,
            None => inner.recovered(code, day).await?,
        };
        if count > LAST + 1 - next.increment {
            let left = LAST + 1 - next.increment;
            known.insert((code, day), next);
            return Err(IdentifierError::Exhausted { code: code.to_string(), left, asked: count });
        }
        let run = Allotment {
            code: code.to_string(),
            year: day.year,
            day: day.of_year,
            run: next.run,
            first: next.increment,
            count,
            client: client.to_owned(),
        };
        // 2. Record: durable before a number leaves.
        let detail = serde_json::to_vec(&run).map_err(|e| IdentifierError::NotNow(e.to_string()))?;
        let recorded =
            inner.journals.record(OwnJournal::Identifiers, run_id(code, day, next.run), detail).await?;
        known.insert((code, day), Next { run: next.run + 1, increment: run.end() });
        // 3. Release.
        let numbers = (run.first..run.end()).map(|increment| Number::new(code, day, increment)).collect();
        Ok(Issued { numbers, seq: recorded.seq })
    }
}

impl Inner {
    fn today(&self) -> Result<Day, IdentifierError> {
        let permit = self.clock.permit().map_err(|why| IdentifierError::NotNow(why.to_string()))?;
        let day = Day::at(permit.reading.utc, &self.zone);
        day.ok_or_else(|| IdentifierError::NotNow("the time is outside of the calendar".into()))
    }

    /// What the journal says: runs are dense, so the last one is found by doubling and halving.
    async fn recovered(&self, code: OwnerCode, day: Day) -> Result<Next, IdentifierError> {
        let at = async |run| self.journals.position(OwnJournal::Identifiers, run_id(code, day, run)).await;
        let mut last = match at(0).await? {
            Some(seq) => (0, seq),
            None => return Ok(Next { run: 0, increment: 1 }),
        };
        let mut beyond = 1;
        while let Some(seq) = at(beyond).await? {
            last = (beyond, seq);
            beyond *= 2;
        }
        while last.0 + 1 < beyond {
            let middle = last.0 + (beyond - last.0) / 2;
            match at(middle).await? {
                Some(seq) => last = (middle, seq),
                None => beyond = middle,
            }
        }
        let detail = self.journals.detail(OwnJournal::Identifiers, last.1).await?;
        let run: Allotment = serde_json::from_slice(&detail)
            .map_err(|e| JournalError::Damaged(format!("own.identifiers entry {}: {e}", last.1)))?;
        Ok(Next { run: last.0 + 1, increment: run.end() })
    }
}

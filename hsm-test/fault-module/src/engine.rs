//! Decides for every call which faults hit it; keeps the plan up to date.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::{CK_FUNCTION_LIST, CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID};

use crate::PLAN_VARIABLE;
use crate::log::Log;
use crate::plan::{Action, Fault, MAX_PLAN, Plan};

static ENGINE: OnceLock<Engine> = OnceLock::new();
/// Serialises the first two threads that ask for the function list.
static STARTING: Mutex<()> = Mutex::new(());

/// Everything this library knows.
pub(crate) struct Engine {
    path: PathBuf,
    state: Mutex<State>,
    /// The calls of the module behind.
    pub(crate) behind: CK_FUNCTION_LIST,
    /// What is known of sessions and keys.
    pub(crate) memory: Mutex<Memory>,
}

/// The plan in force.
struct State {
    plan: Arc<Plan>,
    version: Version,
    since: Instant,
    counts: Vec<Count>,
    random: u64,
    log: Log,
}

/// What tells one version of a file from another.
type Version = Option<(std::time::SystemTime, u64, u64)>;

#[derive(Clone, Copy, Default)]
struct Count {
    seen: u64,
    hit: u64,
}

/// Sessions and keys, as the calls so far showed them.
#[derive(Default)]
pub(crate) struct Memory {
    /// Open sessions and their slots.
    pub(crate) sessions: HashMap<CK_SESSION_HANDLE, CK_SLOT_ID>,
    /// The key of the signature under way in a session.
    pub(crate) signing: HashMap<CK_SESSION_HANDLE, CK_OBJECT_HANDLE>,
    /// The last right signature of a key.
    pub(crate) last: HashMap<CK_OBJECT_HANDLE, Vec<u8>>,
}

/// The faults that hit one call.
pub(crate) struct Picked {
    /// In the order of the plan.
    pub(crate) faults: Vec<Fault>,
    /// The plan that they come from.
    pub(crate) plan: Arc<Plan>,
}

/// Reads the plan and loads the module behind; once a process.
pub(crate) fn start() -> Result<(), String> {
    let _one = lock(&STARTING);
    if ENGINE.get().is_some() {
        return Ok(());
    }
    let path = std::env::var_os(PLAN_VARIABLE)
        .map(PathBuf::from)
        .ok_or(format!("{PLAN_VARIABLE} is not set: it names the plan, a TOML file"))?;
    let version = version_of(&path);
    let plan = read(&path)?;
    let behind = crate::behind::load(&plan.module)?;
    let state = State::new(plan, version);
    // Nobody else sets it: the lock is held.
    let _ = ENGINE.set(Engine { path, state: Mutex::new(state), behind, memory: Mutex::default() });
    Ok(())
}

/// The engine, once [`start`] succeeded.
pub(crate) fn engine() -> Option<&'static Engine> {
    ENGINE.get()
}

/// A lock whose earlier holder may have panicked: what it guards is whole at any moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &PathBuf) -> Result<Plan, String> {
    let failed = |e: &dyn std::fmt::Display| format!("the plan {}: {e}", path.display());
    let length = fs::metadata(path).map_err(|e| failed(&e))?.len();
    if length > MAX_PLAN as u64 {
        return Err(failed(&format!("{length} bytes are too many")));
    }
    let text = fs::read_to_string(path).map_err(|e| failed(&e))?;
    Plan::parse(&text).map_err(|e| failed(&e))
}

fn version_of(path: &PathBuf) -> Version {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

impl State {
    fn new(plan: Plan, version: Version) -> Self {
        let log = Log::open(plan.log.as_deref());
        let counts = vec![Count::default(); plan.faults.len()];
        let random = plan.seed.wrapping_mul(2).wrapping_add(1);
        Self { plan: Arc::new(plan), version, since: Instant::now(), counts, random, log }
    }

    /// Reads the plan again if its file changed. A plan that cannot be read changes nothing, and the log says so.
    fn refresh(&mut self, path: &PathBuf) {
        let version = version_of(path);
        if version == self.version {
            return;
        }
        match read(path) {
            Ok(plan) => {
                *self = Self::new(plan, version);
                self.log.line("plan read");
            }
            Err(why) => {
                self.version = version;
                self.log.line(&format!("plan refused: {}", why.replace('\n', " ")));
            }
        }
    }

    fn pick(&mut self, call: &str) -> Vec<Fault> {
        let plan = self.plan.clone();
        let age = self.since.elapsed();
        let mut picked = Vec::new();
        for (at, fault) in plan.faults.iter().enumerate() {
            if (fault.calls.is_empty() || fault.calls.iter().any(|c| c == call)) && self.hits(at, fault, age)
            {
                picked.push(fault.clone());
            }
        }
        picked
    }

    fn hits(&mut self, at: usize, fault: &Fault, age: Duration) -> bool {
        let when = &fault.when;
        if age < when.from || when.until.is_some_and(|until| age > until) {
            return false;
        }
        let Count { seen, hit } = self.counts[at];
        self.counts[at].seen += 1;
        let turn = seen >= when.skip && (seen - when.skip).is_multiple_of(when.every) && hit < when.times;
        let hits = turn && (when.chance >= 1.0 || self.dice() < when.chance);
        self.counts[at].hit += u64::from(hits);
        hits
    }

    /// 0 to 1, the same series for the same seed (xorshift64).
    fn dice(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Engine {
    /// The faults that hit this call, of the plan as it is now.
    pub(crate) fn pick(&self, call: &str) -> Picked {
        let mut state = lock(&self.state);
        state.refresh(&self.path);
        Picked { faults: state.pick(call), plan: state.plan.clone() }
    }

    /// The plan as it is now, without counting a call.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        let mut state = lock(&self.state);
        state.refresh(&self.path);
        state.plan.clone()
    }

    /// Until a plan without a hang of this name is there.
    pub(crate) fn hang(&self, name: &str) {
        let hangs = |plan: &Plan| plan.faults.iter().any(|f| f.name == name && f.action == Action::Hang);
        while hangs(&self.plan()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One line of the log.
    pub(crate) fn log(&self, text: &str) {
        lock(&self.state).log.line(text);
    }

    /// A wrong PIN more, or none any more. Kept in a file, since a token remembers across processes.
    pub(crate) fn count_wrong_pins(&self, plan: &Plan, change: impl FnOnce(u64) -> u64) -> u64 {
        let Some(path) = &plan.state else { return 0 };
        let _alone = lock(&STARTING);
        let before = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let after = change(before);
        if after != before
            && let Err(e) = fs::write(path, after.to_string())
        {
            self.log(&format!("state {}: {e}", path.display()));
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(fault: &str) -> State {
        let text =
            format!("module = \"/m.so\"\nseed = 7\n[[fault]]\ncall = \"C_Sign\"\naction = \"hang\"\n{fault}");
        State::new(Plan::parse(&text).unwrap(), None)
    }

    fn hits(state: &mut State, calls: usize) -> Vec<usize> {
        (0..calls).filter(|_| !state.pick("C_Sign").is_empty()).collect()
    }

    #[test]
    fn calls_are_skipped_spaced_and_limited() {
        let hit = |fault: &str| {
            let mut state = state(fault);
            (0..20).filter(|_| !state.pick("C_Sign").is_empty()).count()
        };
        assert_eq!(hit(""), 20);
        assert_eq!(hit("skip = 3"), 17);
        assert_eq!(hit("skip = 3\ntimes = 2"), 2);
        assert_eq!(hit("every = 5"), 4);
        assert_eq!(hit("chance = 0.0"), 0);
        assert_eq!(hit("from_ms = 60000"), 0);
        assert_eq!(hit("until_ms = 0"), 0);
        assert!(state("").pick("C_Login").is_empty());
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let (mut one, mut two) = (state("chance = 0.3"), state("chance = 0.3"));
        let first = hits(&mut one, 200);
        assert_eq!(first, hits(&mut two, 200));
        assert!((30..=90).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn a_changed_file_is_a_new_plan_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        let mut state = state("");
        fs::write(&path, "module = \"/m.so\"\n").unwrap();
        state.refresh(&path);
        assert!(state.plan.faults.is_empty());
        fs::write(&path, "module = \"/m.so\"\n[[fault]]\ncall = \"C_Sign\"\naction = \"abort\"\n").unwrap();
        state.refresh(&path);
        assert_eq!(state.pick("C_Sign").len(), 1);
        fs::write(&path, "nonsense").unwrap();
        state.refresh(&path);
        assert_eq!(state.pick("C_Sign").len(), 1);
    }
}

//! One seed, one schedule: some lives of a process on one disk, each with requests, faults and an end.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pechat::clock::system::{Machine, MachineTime};
use pechat::clock::{Clock, HandSet};
use pechat::digest::Digest;
use pechat::journal::JournalError;
use pechat::journal::checkpoint::{Checkpoint, note};
use pechat::journal::disk::Disk;
use pechat::journal::stepwise::{Pending, Stepwise, StepwiseParts};

use super::checker;
use super::disk::{Plan, SimDisk};
use super::promises::Promises;
use super::rng::Rng;

const SITE: &str = "seal.example.gov";
const ROOT: &str = "/j";
/// Small, so that a schedule crosses several.
const SEGMENT: u64 = 8 << 10;
pub const NAMES: [&str; 2] = ["land", "cars"];

/// Puts something between the journal and the disk.
pub type Between<'b> = &'b dyn Fn(SimDisk) -> Arc<dyn Disk>;

/// What happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub trace: u64,
    pub lives: u64,
    pub refused_starts: u64,
    pub acknowledged: u64,
    pub signed: u64,
    pub faults: u64,
    pub rotten: u64,
    pub second_writers: u64,
    pub snapshots: u64,
    pub resumed: u64,
}

/// Time that passes a millisecond each look.
struct Ticks(AtomicI64);

impl Machine for Ticks {
    fn read(&self) -> MachineTime {
        let now = self.0.fetch_add(1_000_000, Ordering::Relaxed);
        MachineTime { realtime: now, monotonic: now, raw: now, window: 0 }
    }
    fn asleep(&self) -> i64 {
        0
    }
    fn kernel_unsynchronised(&self) -> Option<bool> {
        Some(false)
    }
}

/// A request in flight.
pub struct Asked {
    pub pending: Pending,
    pub journal: String,
    pub entries: Vec<([u8; 16], [u8; 32])>,
    /// It must be refused: an acknowledged id with another digest, a seal over another root or in a frozen
    /// journal.
    pub forged: bool,
    /// It freezes the journal.
    pub ends: bool,
}

impl Asked {
    /// A head's seal.
    fn seal(pending: Pending, forged: bool) -> Asked {
        Asked { pending, journal: String::new(), entries: Vec::new(), forged, ends: false }
    }
}

pub struct Schedule {
    pub rng: Rng,
    pub disk: SimDisk,
    pub between: Arc<dyn Disk>,
    pub clock: Clock,
    pub _hand: HandSet,
    pub promises: Promises,
    /// Sent and not answered with success: may be there or not.
    pub unsure: Vec<(String, [u8; 16], [u8; 32])>,
    pub next_id: u64,
    /// Number of the journal that is to be frozen next.
    pub ending: u64,
    pub tokens: u64,
    /// Bytes of log between two snapshots, in every life of this schedule.
    pub snapshot_bytes: Option<u64>,
    /// A snapshot was written to its end, and the journal has not removed it since.
    pub snapshot_owed: bool,
    /// Snapshots counted in this life.
    pub snapshots_seen: u64,
    pub outcome: Outcome,
}

/// Runs the schedule of `seed`; the text says which promise was broken.
pub fn run(seed: u64, between: Between<'_>) -> Result<Outcome, String> {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new(Rng::new(rng.next()), Path::new(ROOT));
    let machine = Arc::new(Ticks(AtomicI64::new(1_764_000_000_000_000_000)));
    let (hand, clock) = HandSet::on(machine, Duration::from_millis(2));
    let mut schedule = Schedule {
        rng,
        between: between(disk.clone()),
        disk,
        clock,
        _hand: hand,
        promises: Promises::default(),
        unsure: Vec::new(),
        next_id: 0,
        ending: 0,
        tokens: 0,
        snapshot_bytes: None,
        snapshot_owed: false,
        snapshots_seen: 0,
        outcome: Outcome::default(),
    };
    schedule.snapshot_bytes = [None, Some(1), Some(4 << 10)][schedule.rng.below(3) as usize];
    schedule.run().map_err(|why| format!("seed {seed}, life {}: {why}", schedule.outcome.lives))?;
    let mut outcome = schedule.outcome;
    outcome.trace = schedule.disk.trace();
    outcome.acknowledged = schedule.promises.acknowledged.len() as u64;
    outcome.signed = schedule.promises.signed.len() as u64;
    Ok(outcome)
}

impl Schedule {
    fn run(&mut self) -> Result<(), String> {
        for _ in 0..2 + self.rng.below(4) {
            let plan = self.plan();
            let power = self.rng.one_in(2);
            self.disk.restart(power, plan);
            self.life(false)?;
        }
        // Faults stop: from here on it must converge.
        for _ in 0..2 {
            self.disk.restart(true, Plan::default());
            self.life(true)?;
        }
        Ok(())
    }

    fn plan(&mut self) -> Plan {
        let mut plan = Plan::default();
        let reach = [16, 40, 120][self.rng.below(3) as usize];
        if self.rng.below(3) > 0 {
            plan.stop_at = Some(1 + self.rng.below(reach));
        }
        if self.rng.one_in(3) {
            for _ in 0..1 + self.rng.below(2) {
                let kind = if self.rng.one_in(4) { ErrorKind::StorageFull } else { ErrorKind::Other };
                plan.errors.push((1 + self.rng.below(reach), kind));
            }
        }
        if self.rng.one_in(4) {
            plan.sync_error = Some(1 + self.rng.below(6));
        }
        plan
    }

    fn open(&mut self) -> Result<Stepwise, JournalError> {
        let mut fresh_id = [0; 16];
        fresh_id[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        let parts = StepwiseParts {
            disk: Arc::clone(&self.between),
            site: SITE.into(),
            clock: self.clock.clone(),
            segment_bytes: SEGMENT,
            fresh_id,
            snapshot_bytes: self.snapshot_bytes,
        };
        Stepwise::open(Path::new(ROOT), parts)
    }

    /// Starts, works, ends. A `calm` life has no faults and must do everything.
    fn life(&mut self, calm: bool) -> Result<(), String> {
        self.outcome.lives += 1;
        self.snapshots_seen = 0;
        let rot = if !calm && self.rng.one_in(6) { self.disk.rot() } else { None };
        self.outcome.rotten += u64::from(rot.is_some());
        let opened = self.open();
        let result = match opened {
            Err(why) => {
                self.disk.witness("refused", &why.to_string());
                self.outcome.refused_starts += 1;
                let excused = self.disk.faults() > 0 || rot.is_some();
                if excused { Ok(()) } else { Err(format!("refused to start without cause: {why}")) }
            }
            Ok(journals) => {
                // A start from a snapshot does not read the records before it, so rot there goes unseen.
                let unseen = rot.is_some() && journals.resumed();
                let taken_up = self.taken_up(&journals, rot.is_some());
                let checked = taken_up.and_then(|()| if unseen { Ok(()) } else { self.check() });
                checked.and_then(|()| self.work(journals, calm, unseen))
            }
        };
        self.outcome.faults += self.disk.faults();
        // The journal itself removes it when a file it relies on turns out unreadable.
        self.snapshot_owed &= self.disk.exists(&Path::new(ROOT).join("snapshot.bin"));
        if let Some(place) = rot {
            // Repaired from a mirror, unless the journal overwrote it with its own copy.
            self.disk.mend(place);
        }
        result
    }

    /// A snapshot that was written to its end survives whatever follows, faults at this start and rot aside.
    fn taken_up(&mut self, journals: &Stepwise, rotten: bool) -> Result<(), String> {
        self.outcome.resumed += u64::from(journals.resumed());
        if self.snapshot_owed && !journals.resumed() {
            if self.disk.faults() == 0 && !rotten {
                return Err("no snapshot was taken up, though one was written to its end".into());
            }
        }
        Ok(())
    }

    /// The independent checker over what is there now.
    fn check(&mut self) -> Result<(), String> {
        let history = checker::read(SITE, &self.disk.segments())?;
        self.promises.kept(&history)
    }

    fn work(&mut self, mut journals: Stepwise, calm: bool, unseen_rot: bool) -> Result<(), String> {
        let mut second = if self.rng.one_in(6) { self.second_writer() } else { None };
        let (mut asked, mut total) = (Vec::new(), 0);
        let rounds = if calm { 3 } else { 1 + self.rng.below(8) };
        for round in 0..rounds {
            let broken = self.disk.segment_failed();
            let writer = match &mut second {
                Some(second) if round % 2 == 1 => second,
                _ => &mut journals,
            };
            // The last round of a calm life only seals.
            if !calm || round < 2 {
                self.requests(writer, &mut asked);
            }
            if calm && round == 1 {
                let fresh = self.fresh();
                self.submit(writer, NAMES[0], vec![fresh], false, &mut asked);
            }
            if calm || self.rng.one_in(2) {
                self.sealing(writer, calm, &mut asked)?;
            }
            writer.round();
            let acknowledged = self.collect(&mut asked)?;
            if broken && acknowledged > 0 {
                return Err("acknowledged after a storage error in the same life".into());
            }
            total += acknowledged;
            self.count_snapshots(writer);
            if self.disk.stopped() {
                break;
            }
        }
        if self.disk.faults() == 0 && !unseen_rot {
            self.check()?;
        }
        if calm && (total == 0 || !asked.is_empty()) {
            return Err(format!("without any fault, {total} answers came and {} did not", asked.len()));
        }
        for left in asked {
            self.unsure.extend(left.entries.iter().map(|(id, digest)| (left.journal.clone(), *id, *digest)));
        }
        Ok(())
    }

    fn count_snapshots(&mut self, writer: &Stepwise) {
        let written = writer.snapshots();
        if written > self.snapshots_seen {
            self.outcome.snapshots += written - self.snapshots_seen;
            self.snapshot_owed = true;
        }
        self.snapshots_seen = written;
    }

    /// Another process on the same directory.
    fn second_writer(&mut self) -> Option<Stepwise> {
        self.outcome.second_writers += 1;
        self.open().ok()
    }

    /// The sealer: signs what the sequencer offers, at once; from then on the head is out.
    fn sealing(&mut self, journals: &mut Stepwise, calm: bool, asked: &mut Vec<Asked>) -> Result<(), String> {
        let (size, root, sealed) = journals.to_sign();
        if sealed >= size {
            return Ok(());
        }
        let origin = format!("{SITE}/root");
        if !calm && self.rng.one_in(12) {
            // A signature over something else, as a broken HSM or a second sealer would bring it.
            let body = Checkpoint { origin: origin.clone(), size, root: Digest::of(b"another") }.body();
            let pending = journals.seal(size, note(&body, &origin, b"key", b"signature", b"token"));
            asked.push(Asked::seal(pending, true));
            return Ok(());
        }
        self.promises.sign(size, *root.as_bytes())?;
        if !calm && self.rng.one_in(4) {
            return Ok(());
        }
        self.tokens += 1;
        let body = Checkpoint { origin: origin.clone(), size, root }.body();
        let text = note(&body, &origin, b"key", b"signature", format!("token {}", self.tokens).as_bytes());
        let pending = journals.seal(size, text);
        asked.push(Asked::seal(pending, false));
        Ok(())
    }

    /// Answers that came: what was promised, and to how many.
    fn collect(&mut self, asked: &mut Vec<Asked>) -> Result<u64, String> {
        let mut acknowledged = 0;
        for mut each in std::mem::take(asked) {
            match each.pending.answer() {
                None => asked.push(each),
                Some(Ok(at)) if each.forged && self.promises.frozen.contains_key(&each.journal) => {
                    return Err(format!("accepted after the freeze: {at:?} of {}", each.journal));
                }
                Some(Ok(_)) if each.forged => {
                    return Err("one id has two digests, or a head not of the log was sealed".into());
                }
                Some(Ok(sequences)) => {
                    acknowledged += 1;
                    if let (true, Some(seq)) = (each.ends, sequences.first()) {
                        self.promises.frozen.insert(each.journal.clone(), *seq);
                    }
                    for ((id, digest), seq) in each.entries.iter().zip(sequences) {
                        let key = (each.journal.clone(), *id);
                        let before = self.promises.acknowledged.insert(key, (seq, *digest));
                        if before.is_some_and(|before| before != (seq, *digest)) {
                            return Err(format!(
                                "asked again, entry {seq} of {} stands elsewhere",
                                each.journal
                            ));
                        }
                    }
                }
                Some(Err(why)) => {
                    self.disk.witness("error", &why.to_string());
                    if !each.forged {
                        let name = &each.journal;
                        self.unsure
                            .extend(each.entries.iter().map(|(id, digest)| (name.clone(), *id, *digest)));
                    }
                }
            }
        }
        Ok(acknowledged)
    }
}

//! Edge: the one place that reads the machine's clocks.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::UtcMicros;

/// A set of readings wider than this was interrupted and is taken again.
const TIGHT_NS: i64 = 20_000;
const ATTEMPTS: usize = 8;

/// Readings of three clocks taken together, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineTime {
    /// CLOCK_REALTIME since 1970: what tokens carry.
    pub realtime: i64,
    /// CLOCK_MONOTONIC: slews with REALTIME but never steps, so their difference shows a step.
    pub monotonic: i64,
    /// CLOCK_MONOTONIC_RAW: neither steps nor slews, so evidence is kept on it.
    pub raw: i64,
    /// All three were read within this; any difference between them is uncertain by as much.
    pub window: i64,
}

/// The machine as the trusted clock sees it; tests hand in one that steps, slews, stops or panics.
pub trait Machine: Send + Sync + 'static {
    /// The three clocks, read together.
    fn read(&self) -> MachineTime;
    /// CLOCK_BOOTTIME − CLOCK_MONOTONIC, nanoseconds: jumps when the machine slept.
    fn asleep(&self) -> i64;
    /// Whether the kernel calls its clock unsynchronised; `None` when it does not say.
    fn kernel_unsynchronised(&self) -> Option<bool>;
}

/// The real machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Machine for System {
    fn read(&self) -> MachineTime {
        let mut best = read_once();
        for _ in 1..ATTEMPTS {
            if best.window <= TIGHT_NS {
                break;
            }
            let again = read_once();
            if again.window < best.window {
                best = again;
            }
        }
        best
    }

    fn asleep(&self) -> i64 {
        let before = nanos(ClockId::Monotonic);
        nanos(ClockId::Boottime) - before
    }

    fn kernel_unsynchronised(&self) -> Option<bool> {
        let timex = kernel_timex()?;
        Some(timex.status & libc::STA_UNSYNC != 0)
    }
}

/// Wall time for records and logs; says nothing about whether it can be trusted.
pub fn now() -> UtcMicros {
    UtcMicros(nanos(ClockId::Realtime) / 1000)
}

fn read_once() -> MachineTime {
    // MONOTONIC brackets the others, so being interrupted between two reads cannot look like a step.
    let monotonic = nanos(ClockId::Monotonic);
    let realtime = nanos(ClockId::Realtime);
    let raw = nanos(ClockId::MonotonicRaw);
    let window = nanos(ClockId::Monotonic) - monotonic;
    MachineTime { realtime, monotonic, raw, window }
}

fn nanos(clock: ClockId) -> i64 {
    let at = clock_gettime(clock);
    at.tv_sec.saturating_mul(1_000_000_000).saturating_add(at.tv_nsec)
}

/// Reads the kernel's clock discipline; `modes` = 0 changes nothing and needs no privilege.
#[allow(unsafe_code)]
fn kernel_timex() -> Option<libc::timex> {
    // SAFETY: `timex` is plain integers, so all zeros is a value of it; the kernel writes within the struct.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    let code = unsafe { libc::adjtimex(&raw mut timex) };
    (code >= 0).then_some(timex)
}

/// What ended a wait of [`StepWatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The tick passed.
    Tick,
    /// Somebody set CLOCK_REALTIME.
    ClockSet,
}

/// Wakes when CLOCK_REALTIME is set (`timerfd` with cancel-on-set).
#[derive(Debug)]
pub struct StepWatch(OwnedFd);

impl StepWatch {
    /// Opens the timer.
    pub fn new() -> io::Result<StepWatch> {
        Ok(StepWatch(timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?))
    }

    /// Blocks until the clock is set or `tick` has passed.
    pub fn wait(&self, tick: Duration) -> io::Result<Wake> {
        match self.arm(tick) {
            // A set between the last read and this call is reported here and nowhere else.
            Err(rustix::io::Errno::CANCELED) => return Ok(Wake::ClockSet),
            other => other?,
        }
        let mut expirations = [0u8; 8];
        loop {
            match rustix::io::read(&self.0, &mut expirations[..]) {
                Ok(_) => return Ok(Wake::Tick),
                Err(rustix::io::Errno::CANCELED) => return Ok(Wake::ClockSet),
                Err(rustix::io::Errno::INTR) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn arm(&self, tick: Duration) -> rustix::io::Result<()> {
        // Cancel-on-set needs an absolute time; the wait is short so that it is a heartbeat as well.
        let due = nanos(ClockId::Realtime).saturating_add(i64::try_from(tick.as_nanos()).unwrap_or(i64::MAX));
        let at = Timespec { tv_sec: due / 1_000_000_000, tv_nsec: due % 1_000_000_000 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(&self.0, flags, &once).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_are_read_together_and_move_forward() {
        let first = System.read();
        let second = System.read();
        assert!(second.monotonic >= first.monotonic);
        assert!(second.raw >= first.raw);
        assert!(first.window >= 0 && second.window >= 0);
        assert!(now().0 >= second.realtime / 1000);
    }

    #[test]
    fn the_step_watch_ticks_when_nobody_sets_the_clock() {
        let watch = StepWatch::new().unwrap();
        assert_eq!(watch.wait(Duration::from_millis(5)).unwrap(), Wake::Tick);
        assert_eq!(watch.wait(Duration::from_millis(5)).unwrap(), Wake::Tick);
    }

    #[test]
    fn the_kernel_witness_can_be_read() {
        assert!(System.kernel_unsynchronised().is_some());
    }
}

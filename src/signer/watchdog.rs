//! Ends the process when a PKCS#11 call takes too long: no such call can be cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::process;
use crate::keys::wire::EXIT_CALL_LIMIT;

/// One stamp a caller: when its running call must be over.
pub(super) struct Watchdog {
    origin: Instant,
    /// Microseconds after `origin`; 0 while no call runs.
    due: Vec<AtomicU64>,
}

impl Watchdog {
    /// For `callers` threads. Starts the thread that watches them.
    pub(super) fn start(callers: usize) -> Arc<Self> {
        let due = (0..callers).map(|_| AtomicU64::new(0)).collect();
        let watchdog = Arc::new(Self { origin: Instant::now(), due });
        let watched = watchdog.clone();
        std::thread::spawn(move || watched.watch());
        watchdog
    }

    /// Runs `call`; the process ends when it takes longer than `limit`.
    pub(super) fn guard<T>(&self, caller: usize, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.due[caller].store(self.micros() + limit.as_micros() as u64, Ordering::Relaxed);
        let value = call();
        self.due[caller].store(0, Ordering::Relaxed);
        value
    }

    fn micros(&self) -> u64 {
        self.origin.elapsed().as_micros() as u64
    }

    fn watch(&self) {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.micros();
            let late = self.due.iter().position(|due| (1..now).contains(&due.load(Ordering::Relaxed)));
            if let Some(caller) = late {
                let why = format!("the PKCS#11 call of thread {caller} did not end in time; the HSM hangs");
                process::end(EXIT_CALL_LIMIT, &why);
            }
        }
    }
}

//! What the signer does to itself as a process: it gives nothing away, and it ends without ceremony.

use std::io::Write;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::SignerError;

/// No core file and no debugger of the same user: either would hold the PIN.
pub(super) fn harden() -> Result<(), SignerError> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|e| SignerError::setup("the core file limit", e))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| SignerError::setup("protection against debuggers", e))
}

/// One line on stderr. It is a pipe to the front, which may be dead: `eprintln!` would panic then, and a
/// thread that panics instead of ending the process leaves an orphan that holds the HSM token.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.replace('\n', " "));
}

/// Held while the module logs in.
static LOGIN: Mutex<()> = Mutex::new(());
/// How long an end waits for a login under way; one that hangs is not waited for.
const LOGIN_ENDS: Duration = Duration::from_millis(400);

/// Runs a login that no end of this process cuts short: SoftHSM 2.6.1 empties `token.object` and writes it again at
/// every login, and a process that ends between the two has lost the token.
pub(super) fn whole_login<T>(login: impl FnOnce() -> T) -> T {
    let _held = LOGIN.lock().unwrap_or_else(PoisonError::into_inner);
    login()
}

/// Says why on stderr and ends the process with `status`: at once, or when a login of another thread is over.
pub(super) fn end(status: i32, why: &str) -> ! {
    say(why);
    let until = Instant::now() + LOGIN_ENDS;
    // Whoever gets the lock keeps it, so that no login begins any more.
    let _held = loop {
        match LOGIN.try_lock() {
            Ok(held) => break Some(held),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => break None,
        }
    };
    leave(status)
}

/// `exit` would run the PKCS#11 module's own exit handlers while other threads are inside it: SoftHSM crashes or
/// hangs then.
#[allow(unsafe_code)]
fn leave(status: i32) -> ! {
    // SAFETY: _exit takes a plain integer, touches no memory of ours and does not return.
    unsafe { libc::_exit(status) }
}

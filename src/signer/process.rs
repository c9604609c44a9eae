//! What the signer does to itself as a process: it gives nothing away, and it ends without ceremony.

use std::io::Write;

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

/// Says why on stderr and ends the process at once, with `status`.
pub(super) fn end(status: i32, why: &str) -> ! {
    say(why);
    leave(status)
}

/// `exit` would run the PKCS#11 module's own exit handlers while other threads are inside it: SoftHSM crashes or
/// hangs then.
#[allow(unsafe_code)]
fn leave(status: i32) -> ! {
    // SAFETY: _exit takes a plain integer, touches no memory of ours and does not return.
    unsafe { libc::_exit(status) }
}

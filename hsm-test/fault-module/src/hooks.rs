//! What happens to a call: the faults of the plan, then the module behind, then the log.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::codes::name_of;
use crate::engine::{Engine, Picked, engine, lock};
use crate::plan::{Action, Fault};
use crate::tamper::{Kind, MORE, tamper};

mod objects;
mod sessions;

pub(crate) use objects::{find_objects, get_attribute_value, sign, sign_init};
pub(crate) use sessions::{
    close_all_sessions, close_session, get_mechanism_list, get_slot_list, get_token_info, login, open_session,
};

/// Runs a call that has no fault of its own.
pub(super) fn through(
    name: &'static str,
    session: Option<CK_SESSION_HANDLE>,
    forward: impl FnOnce(&CK_FUNCTION_LIST) -> CK_RV,
) -> CK_RV {
    with(name, session, |engine, _| forward(&engine.behind))
}

/// Applies the faults that any call can have, runs `work` with those that are left, writes the log.
fn with(
    name: &'static str,
    session: Option<CK_SESSION_HANDLE>,
    work: impl FnOnce(&Engine, &Picked) -> CK_RV,
) -> CK_RV {
    let Some(engine) = engine() else { return CKR_CRYPTOKI_NOT_INITIALIZED };
    let picked = engine.pick(name);
    // Written before it happens: some faults leave nobody to write.
    let names: String = picked.faults.iter().map(|fault| format!(" [{}]", fault.name)).collect();
    let of = session.map(|s| format!(" session={s}")).unwrap_or_default();
    if !names.is_empty() {
        engine.log(&format!("{name}{of} faults{names}"));
    }
    let code = before(engine, &picked, session).unwrap_or_else(|| {
        let real = work(engine, &picked);
        // The module behind did its work; the caller gets another answer.
        after(&picked).filter(|_| real == CKR_OK).unwrap_or(real)
    });
    engine.log(&format!("{name}{of} -> {}{names}", name_of(code)));
    code
}

/// Faults before the call; a code ends it.
fn before(engine: &Engine, picked: &Picked, session: Option<CK_SESSION_HANDLE>) -> Option<CK_RV> {
    for Fault { name, action, .. } in &picked.faults {
        match action {
            Action::Error { code, made: false } => return Some(*code as CK_RV),
            Action::Delay(time) => std::thread::sleep(*time),
            Action::Hang => engine.hang(name),
            Action::Abort => std::process::abort(),
            Action::Segfault => segfault(),
            // Runs the exit handlers of the module behind, as SoftHSM's own call of `exit` does.
            Action::Exit(status) => std::process::exit(*status),
            Action::CloseSession => session.into_iter().for_each(|s| sessions::close_behind(engine, s)),
            Action::DropSessions => sessions::drop_behind(engine),
            Action::Logout => session.into_iter().for_each(|s| sessions::logout_behind(engine, s)),
            _ => {}
        }
    }
    None
}

fn after(picked: &Picked) -> Option<CK_RV> {
    picked.faults.iter().find_map(|fault| match fault.action {
        Action::Error { code, made: true } => Some(code as CK_RV),
        _ => None,
    })
}

fn segfault() {
    // SAFETY: the plan asks for this process to die by SIGSEGV, whatever it did about that signal. `raise` and
    // `signal` take plain integers.
    unsafe {
        unsafe extern "C" {
            fn signal(number: i32, handler: usize) -> usize;
            fn raise(number: i32) -> i32;
        }
        const SIGSEGV: i32 = 11;
        const DEFAULT: usize = 0;
        signal(SIGSEGV, DEFAULT);
        raise(SIGSEGV);
    }
}

/// The first of the actions that `wanted` takes.
fn find<T>(picked: &Picked, wanted: impl Fn(&Action) -> Option<T>) -> Option<T> {
    picked.faults.iter().find_map(|fault| wanted(&fault.action))
}

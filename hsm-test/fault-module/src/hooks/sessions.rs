//! Slots, sessions and the login.

use super::*;

/// Closes one session of the module behind.
pub(super) fn close_behind(engine: &Engine, session: CK_SESSION_HANDLE) {
    if let Some(call) = engine.behind.C_CloseSession {
        // SAFETY: a plain number; an unknown one is an error of the module behind.
        unsafe { call(session) };
    }
}

/// Closes all sessions that were opened through us.
pub(super) fn drop_behind(engine: &Engine) {
    let mut slots: Vec<_> = lock(&engine.memory).sessions.values().copied().collect();
    slots.sort_unstable();
    slots.dedup();
    if let Some(call) = engine.behind.C_CloseAllSessions {
        for slot in slots {
            // SAFETY: a plain number that the module behind gave.
            unsafe { call(slot) };
        }
    }
}

/// Ends the login of the module behind.
pub(super) fn logout_behind(engine: &Engine, session: CK_SESSION_HANDLE) {
    if let Some(call) = engine.behind.C_Logout {
        // SAFETY: a plain number; an unknown one is an error of the module behind.
        unsafe { call(session) };
    }
}

/// Whether this call has to find nothing.
pub(super) fn is_empty_list(picked: &Picked) -> bool {
    find(picked, |action| (*action == Action::EmptyList).then_some(())).is_some()
}

/// A list of which the caller is told that it is empty.
///
/// # Safety
/// `count` is null or may be written to.
unsafe fn emptied(picked: &Picked, count: *mut CK_ULONG, code: CK_RV) -> CK_RV {
    if code == CKR_OK && is_empty_list(picked) && !count.is_null() {
        // SAFETY: not null, and the caller of the call in question gave it to be written to.
        unsafe { *count = 0 };
    }
    code
}

/// C_GetSlotList.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn get_slot_list(
    present: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    with("C_GetSlotList", None, |engine, picked| {
        let Some(call) = engine.behind.C_GetSlotList else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments.
        unsafe { emptied(picked, count, call(present, list, count)) }
    })
}

/// C_GetMechanismList.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn get_mechanism_list(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    with("C_GetMechanismList", None, |engine, picked| {
        let Some(call) = engine.behind.C_GetMechanismList else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments.
        unsafe { emptied(picked, count, call(slot, list, count)) }
    })
}

/// C_GetTokenInfo: a PIN that the plan locked shows in the flags.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn get_token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    with("C_GetTokenInfo", None, |engine, _| {
        let Some(call) = engine.behind.C_GetTokenInfo else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments.
        let code = unsafe { call(slot, info) };
        let plan = engine.plan();
        let limit = plan.faults.iter().find_map(|fault| match fault.action {
            Action::LockPin(limit) => Some(limit),
            _ => None,
        });
        if let (CKR_OK, Some(limit)) = (code, limit) {
            let tries = engine.count_wrong_pins(&plan, |tries| tries);
            let flags = match tries {
                0 => 0,
                _ if tries >= limit => CKF_USER_PIN_LOCKED,
                _ if tries + 1 == limit => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
                _ => CKF_USER_PIN_COUNT_LOW,
            };
            // SAFETY: the module behind wrote a whole structure there.
            unsafe { (*info).flags |= flags };
        }
        code
    })
}

/// C_OpenSession: counts, and refuses above the limit.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    with("C_OpenSession", None, |engine, picked| {
        let limit = find(picked, |action| match action {
            Action::LimitSessions(limit) => Some(*limit),
            _ => None,
        });
        let open = lock(&engine.memory).sessions.len() as u64;
        if limit.is_some_and(|limit| open >= limit) {
            return CKR_SESSION_COUNT;
        }
        let Some(call) = engine.behind.C_OpenSession else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments.
        let code = unsafe { call(slot, flags, application, notify, session) };
        if code == CKR_OK && !session.is_null() {
            // SAFETY: not null, and the module behind wrote the handle there.
            let handle = unsafe { *session };
            lock(&engine.memory).sessions.insert(handle, slot);
        }
        code
    })
}

/// C_CloseSession.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn close_session(session: CK_SESSION_HANDLE) -> CK_RV {
    with("C_CloseSession", Some(session), |engine, _| {
        let mut memory = lock(&engine.memory);
        memory.sessions.remove(&session);
        memory.signing.remove(&session);
        drop(memory);
        // SAFETY: a plain number; an unknown one is an error of the module behind.
        engine.behind.C_CloseSession.map_or(CKR_FUNCTION_NOT_SUPPORTED, |call| unsafe { call(session) })
    })
}

/// C_CloseAllSessions.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn close_all_sessions(slot: CK_SLOT_ID) -> CK_RV {
    with("C_CloseAllSessions", None, |engine, _| {
        lock(&engine.memory).sessions.retain(|_, of| *of != slot);
        // SAFETY: a plain number; an unknown one is an error of the module behind.
        engine.behind.C_CloseAllSessions.map_or(CKR_FUNCTION_NOT_SUPPORTED, |call| unsafe { call(slot) })
    })
}

/// C_Login: counts wrong PINs and locks.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    length: CK_ULONG,
) -> CK_RV {
    with("C_Login", Some(session), |engine, picked| {
        let limit = find(picked, |action| match action {
            Action::LockPin(limit) => Some(*limit),
            _ => None,
        });
        if limit.is_some_and(|limit| engine.count_wrong_pins(&picked.plan, |tries| tries) >= limit) {
            return CKR_PIN_LOCKED;
        }
        let Some(call) = engine.behind.C_Login else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments. The PIN is neither read nor kept here.
        let code = unsafe { call(session, user, pin, length) };
        match (limit, code) {
            (Some(_), CKR_OK) => drop(engine.count_wrong_pins(&picked.plan, |_| 0)),
            (Some(_), CKR_PIN_INCORRECT) => {
                engine.count_wrong_pins(&picked.plan, |tries| tries + 1);
            }
            _ => {}
        }
        code
    })
}

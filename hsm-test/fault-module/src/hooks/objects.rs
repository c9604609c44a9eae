//! Objects, their attributes, and signatures.

use super::*;

/// C_FindObjects.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn find_objects(
    session: CK_SESSION_HANDLE,
    list: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    with("C_FindObjects", Some(session), |engine, picked| {
        let Some(call) = engine.behind.C_FindObjects else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments.
        let code = unsafe { call(session, list, most, count) };
        if code == CKR_OK && sessions::is_empty_list(picked) && !count.is_null() {
            // SAFETY: not null, and given to be written to.
            unsafe { *count = 0 };
        }
        code
    })
}

/// C_GetAttributeValue: one attribute may be a lie.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn get_attribute_value(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    with("C_GetAttributeValue", Some(session), |engine, picked| {
        let Some(call) = engine.behind.C_GetAttributeValue else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments.
        let code = unsafe { call(session, object, template, count) };
        let flipped = find(picked, |action| match action {
            Action::FlipAttribute(attribute) => Some(*attribute as CK_ATTRIBUTE_TYPE),
            _ => None,
        });
        if let (CKR_OK, Some(flipped)) = (code, flipped) {
            for at in 0..count as usize {
                // SAFETY: the caller gave an array of `count` attributes.
                let attribute = unsafe { *template.add(at) };
                let length = attribute.ulValueLen;
                if attribute.type_ != flipped || attribute.pValue.is_null() || length == 0 {
                    continue;
                }
                // SAFETY: the module behind wrote `length` bytes there.
                unsafe { *attribute.pValue.cast::<u8>().add(length as usize - 1) ^= 1 };
            }
        }
        code
    })
}

/// C_SignInit: remembers the key, or takes another.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn sign_init(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    with("C_SignInit", Some(session), |engine, picked| {
        if picked.plan.log_data {
            let id = id_of(engine, session, key).unwrap_or_default();
            engine.log(&format!("C_SignInit session={session} key={}", hex(&id)));
        }
        let other = find(picked, |action| (*action == Action::Signature(Kind::OtherKey)).then_some(()));
        let used = other.and_then(|()| other_key(engine, session, key)).unwrap_or(key);
        let Some(call) = engine.behind.C_SignInit else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller's own arguments, but for the key, which is a plain number.
        let code = unsafe { call(session, mechanism, used) };
        if code == CKR_OK {
            lock(&engine.memory).signing.insert(session, key);
        }
        code
    })
}

/// A private key with another CKA_ID than this one has.
fn other_key(engine: &Engine, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> Option<CK_OBJECT_HANDLE> {
    let mut class = CKO_PRIVATE_KEY;
    let mut template = CK_ATTRIBUTE {
        type_: CKA_CLASS,
        pValue: (&raw mut class).cast(),
        ulValueLen: size_of::<CK_OBJECT_CLASS>() as CK_ULONG,
    };
    let (mut found, mut count) = ([0; 32], 0);
    let behind = &engine.behind;
    // SAFETY: a template of one attribute and an array with room for the number given, all of this function.
    unsafe {
        if behind.C_FindObjectsInit?(session, &raw mut template, 1) != CKR_OK {
            return None;
        }
        behind.C_FindObjects?(session, found.as_mut_ptr(), found.len() as CK_ULONG, &raw mut count);
        behind.C_FindObjectsFinal?(session);
    }
    let own = id_of(engine, session, key)?;
    found
        .iter()
        .take(count as usize)
        .copied()
        .find(|o| id_of(engine, session, *o).is_some_and(|id| id != own))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id_of(engine: &Engine, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Option<Vec<u8>> {
    let mut id = [0_u8; 64];
    let mut template =
        CK_ATTRIBUTE { type_: CKA_ID, pValue: id.as_mut_ptr().cast(), ulValueLen: id.len() as CK_ULONG };
    // SAFETY: one attribute with room for 64 bytes, as it says.
    let code = unsafe { engine.behind.C_GetAttributeValue?(session, object, &raw mut template, 1) };
    let length = usize::try_from(template.ulValueLen).ok()?;
    (code == CKR_OK).then(|| id.get(..length).map(<[u8]>::to_vec))?
}

/// C_Sign. A length query is no call in the sense of the plan.
///
/// # Safety
/// As PKCS#11 asks of callers.
pub(crate) unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    out: *mut CK_BYTE,
    out_length: *mut CK_ULONG,
) -> CK_RV {
    if out.is_null() {
        // SAFETY: the caller's own arguments.
        return unsafe { ask_length(session, data, data_length, out_length) };
    }
    with("C_Sign", Some(session), |engine, picked| {
        let kind = find(picked, |action| match action {
            Action::Signature(kind) => Some(*kind),
            _ => None,
        });
        let mut given = Vec::new();
        if !data.is_null() {
            // SAFETY: not null, and the caller gave `data_length` bytes to read.
            given.extend_from_slice(unsafe { std::slice::from_raw_parts(data, data_length as usize) });
        }
        if picked.plan.log_data && given.len() <= 64 {
            engine.log(&format!("C_Sign session={session} data={}", hex(&given)));
        }
        if let (Some(Kind::OtherData), Some(first)) = (kind, given.first_mut()) {
            *first ^= 1;
        }
        let Some(call) = engine.behind.C_Sign else { return CKR_FUNCTION_NOT_SUPPORTED };
        // SAFETY: the caller says how many bytes it has room for.
        let room = unsafe { *out_length } as usize;
        // SAFETY: our copy of the data, and the caller's own room.
        let code = unsafe { call(session, given.as_mut_ptr(), data_length, out, out_length) };
        if code != CKR_OK {
            return code;
        }
        // SAFETY: the module behind wrote that many bytes there.
        let right = unsafe { std::slice::from_raw_parts(out, *out_length as usize) }.to_vec();
        let old = remember(engine, session, &right);
        let Some(kind) = kind else { return code };
        let wrong = tamper(kind, &right, old.as_deref());
        if wrong.len() > room {
            return CKR_BUFFER_TOO_SMALL;
        }
        // SAFETY: `room` bytes may be written, and the new length is not more.
        unsafe {
            std::ptr::copy_nonoverlapping(wrong.as_ptr(), out, wrong.len());
            *out_length = wrong.len() as CK_ULONG;
        }
        code
    })
}

/// Keeps the signature as the key's last; the one before comes back.
fn remember(engine: &Engine, session: CK_SESSION_HANDLE, right: &[u8]) -> Option<Vec<u8>> {
    let mut memory = lock(&engine.memory);
    let key = memory.signing.get(&session).copied()?;
    memory.last.insert(key, right.to_vec())
}

/// Forwards a length query, and asks for more room where the plan makes signatures longer.
///
/// # Safety
/// As PKCS#11 asks of callers.
unsafe fn ask_length(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_length: CK_ULONG,
    out_length: *mut CK_ULONG,
) -> CK_RV {
    let Some(engine) = engine() else { return CKR_CRYPTOKI_NOT_INITIALIZED };
    let Some(call) = engine.behind.C_Sign else { return CKR_FUNCTION_NOT_SUPPORTED };
    // SAFETY: the caller's own arguments.
    let code = unsafe { call(session, data, data_length, std::ptr::null_mut(), out_length) };
    let longer = |fault: &Fault| matches!(fault.action, Action::Signature(kind) if kind.lengthens());
    if code == CKR_OK && !out_length.is_null() && engine.plan().faults.iter().any(longer) {
        // SAFETY: not null, and given to be written to.
        unsafe { *out_length += MORE as CK_ULONG };
    }
    code
}

//! The module behind this one.

use std::path::Path;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR, CK_FUNCTION_LIST_PTR_PTR, CK_RV, CKR_OK};

/// Loads it and takes its function list.
pub(crate) fn load(path: &Path) -> Result<CK_FUNCTION_LIST, String> {
    let failed = |e: String| format!("the module behind, {}: {e}", path.display());
    // SAFETY: loading runs the library's constructors. It is the module that the plan's author names, and would
    // be loaded by the application itself were we not there.
    let library = unsafe { libloading::Library::new(path) }.map_err(|e| failed(e.to_string()))?;
    type Entry = unsafe extern "C" fn(CK_FUNCTION_LIST_PTR_PTR) -> CK_RV;
    // SAFETY: PKCS#11 2.40 section 5.4 fixes the type of this symbol.
    let entry = unsafe { library.get::<Entry>(b"C_GetFunctionList\0") }.map_err(|e| failed(e.to_string()))?;
    let mut list: CK_FUNCTION_LIST_PTR = std::ptr::null_mut();
    // SAFETY: the argument may be written to, as the call asks.
    let code = unsafe { entry(&raw mut list) };
    if code != CKR_OK || list.is_null() {
        return Err(failed(format!("C_GetFunctionList gave {}", crate::codes::name_of(code))));
    }
    // SAFETY: not null, and by PKCS#11 a whole list that lives as long as the library, which is never unloaded.
    let list = unsafe { *list };
    std::mem::forget(library);
    Ok(list)
}

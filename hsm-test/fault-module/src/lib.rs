//! A PKCS#11 module in front of any other: it forwards every call, unless its plan says otherwise.
//!
//! The plan is a TOML file (see [`plan`] and the README) that the environment variable `FAULT_MODULE` names and
//! that is read again whenever it changes, so a test can switch faults on and off while a service runs.
//!
//! **Why this crate may use `unsafe`.** A PKCS#11 module is a C library: its entry points take raw pointers from a
//! stranger and hand them to another C library that is loaded at run time. Neither can be said in safe Rust. All
//! of it stands in `table`, `hooks` and `behind`, each block with its reason; what decides and what changes
//! signatures ([`plan`], `engine`, [`tamper`]) is safe code. Nothing of the appliance links this crate.

#![allow(
    unsafe_code,
    reason = "a C library's entry points and the loading of another one cannot be written without"
)]

mod behind;
mod codes;
mod engine;
mod hooks;
mod log;
pub mod plan;
mod table;
pub mod tamper;

use cryptoki_sys::{CK_FUNCTION_LIST_PTR_PTR, CK_RV, CKR_ARGUMENTS_BAD, CKR_OK};

/// Name of the environment variable that names the plan.
pub const PLAN_VARIABLE: &str = "FAULT_MODULE";

/// The one symbol that an application looks for (PKCS#11 2.40 section 5.4). It fails with `CKR_ARGUMENTS_BAD`,
/// and says why on standard error, when there is no plan or no module behind.
///
/// # Safety
/// `list` is null or may be written to, as PKCS#11 asks of every caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    if let Err(why) = engine::start() {
        eprintln!("fault-module: {why}");
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and the caller promised that it may be written to; the table lives as long as the library.
    unsafe { *list = std::ptr::from_ref(&table::TABLE).cast_mut() };
    CKR_OK
}

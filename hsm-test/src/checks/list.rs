//! The numbered list: what each item asks, and what of ours breaks without it.

use super::{concurrency, errors, identity, key_attributes, lifecycle, mechanisms, pins};
use crate::{Failed, Target};

/// Tries it; the text says what was seen.
pub type Promise = fn(&Target) -> Result<String, Failed>;

/// Whether a broken promise rules the HSM out.
pub enum Kind {
    /// It does.
    Block,
    /// It does not, but an operator has to know.
    Warn,
}

/// How an item is tried.
pub enum Way {
    /// Changes nothing on the token.
    Reads(Promise),
    /// Makes and destroys keys, or tries a wrong PIN: scratch tokens only.
    Writes(Promise),
    /// Not by this tool; where instead.
    Elsewhere(&'static str),
}

/// One item.
pub struct Check {
    pub number: u8,
    pub name: &'static str,
    pub kind: Kind,
    pub way: Way,
    /// What of ours does not hold without it.
    pub breaks: &'static str,
}

const fn block(number: u8, name: &'static str, way: Way, breaks: &'static str) -> Check {
    Check { number, name, kind: Kind::Block, way, breaks }
}

const fn warn(number: u8, name: &'static str, way: Way, breaks: &'static str) -> Check {
    Check { number, name, kind: Kind::Warn, way, breaks }
}

use Way::{Elsewhere, Reads, Writes};

/// In the order of the numbers.
pub const LIST: &[Check] = &[
    block(
        1,
        "module-file",
        Reads(identity::module_file),
        "whoever exchanges the module has the PIN and signs",
    ),
    block(2, "token-found-once", Reads(identity::token_found_once), "the signer does not start"),
    block(3, "versions", Reads(identity::versions), "calls that the signer makes may not exist"),
    warn(4, "token-info", Reads(identity::token_info), "the inventory has no make, model and serial number"),
    block(5, "functions", Reads(identity::functions), "the signer cannot work without these calls"),
    block(
        6,
        "initialise-once",
        Reads(identity::initialise_once),
        "two owners in one process would not notice each other",
    ),
    block(
        7,
        "finalise-and-back",
        Writes(lifecycle::comes_back),
        "a restarted signer might not find its keys",
    ),
    warn(8, "fork", Elsewhere("the signer never forks after C_Initialize"), ""),
    block(9, "finalise-in-order", Reads(lifecycle::finalises), "tools that end in order would crash"),
    warn(10, "finalise-under-load", Elsewhere("the signer never finalises: it ends its process"), ""),
    block(
        11,
        "invisible-before-login",
        Writes(pins::invisible_before_login),
        "keys could be used without the PIN",
    ),
    block(
        12,
        "one-wrong-pin",
        Writes(pins::wrong_pin),
        "a wrong PIN must be told apart, or it is tried again and the token locks",
    ),
    warn(
        13,
        "lockout-threshold",
        Elsewhere("from the vendor's manual, never by trial: pin.lockout_after in firmware-config/hsm"),
        "",
    ),
    block(
        14,
        "bad-pins-stay-here",
        Reads(pins::bad_pins_stay_here),
        "an empty PIN counts as a wrong one on some tokens",
    ),
    block(
        15,
        "login-is-shared",
        Reads(lifecycle::login_is_shared),
        "workers would have to log in one by one; a lost login would not be noticed",
    ),
    block(16, "officer-is-not-user", Elsewhere("a ceremony's duty: two PINs, two persons"), ""),
    block(
        17,
        "key-template",
        Writes(key_attributes::key_template),
        "keys would have uses or weaknesses that nobody asked for",
    ),
    block(
        18,
        "imported-is-told",
        Writes(errors::imported_is_told),
        "CKA_LOCAL proves nothing: a key known outside could be enrolled",
    ),
    block(
        19,
        "key-stays-inside",
        Writes(key_attributes::key_stays_inside),
        "whoever has the PIN takes the key away",
    ),
    block(20, "protection-stays", Elsewhere("together with 19"), ""),
    block(21, "wrap-refused", Writes(errors::wrap_refused), "the key leaves the token wrapped"),
    warn(
        22,
        "mechanisms-bound",
        Writes(errors::mechanisms_bound),
        "only the service binds a key to its mechanism",
    ),
    warn(23, "not-modifiable", Elsewhere("together with 17, as far as asked for"), ""),
    block(24, "same-label", Writes(lifecycle::same_label), "a namesake's key would sign"),
    block(25, "public-key", Elsewhere("together with 17: both encodings of the point are read"), ""),
    warn(26, "unique-names", Writes(errors::unique_names), "nothing: keys are told by CKA_ID and public key"),
    block(27, "attestation", Elsewhere("vendor tools; firmware-config/hsm says which"), ""),
    block(
        28,
        "signatures-verify",
        Writes(mechanisms::signatures_verify),
        "every wrong signature freezes a key and stops a service",
    ),
    block(29, "fixed-vectors", Elsewhere("the appliance uses P-256 alone, which is not deterministic"), ""),
    block(30, "pss-parameters", Elsewhere("the appliance uses P-256 alone"), ""),
    block(31, "eddsa-parameters", Elsewhere("the appliance uses P-256 alone"), ""),
    block(32, "nonces-differ", Elsewhere("together with 28, over a thousand signatures"), ""),
    block(33, "wrong-length", Writes(mechanisms::wrong_length), "nothing: the signer takes 32 bytes only"),
    block(34, "ml-dsa", Elsewhere("the appliance uses P-256 alone"), ""),
    block(
        35,
        "random",
        Reads(errors::random),
        "signatures by ECDSA give the key away when random numbers repeat",
    ),
    block(
        36,
        "codes",
        Writes(errors::codes),
        "a lost handle is not told from a broken device: the signer restarts instead of reopening a session",
    ),
    block(
        37,
        "session-after-error",
        Elsewhere("not relied on: the signer gives up the session after every error"),
        "",
    ),
    block(
        38,
        "frozen-device",
        Elsewhere("cargo test --test hsm_faults with the device behind the fault module"),
        "",
    ),
    block(
        39,
        "session-limit",
        Reads(lifecycle::session_limit),
        "a signer with several workers does not start, or not again",
    ),
    warn(40, "leaks", Writes(lifecycle::leaks), "the signer grows until the machine ends it"),
    block(
        41,
        "threads",
        Writes(concurrency::os_locking),
        "the signer crashes as soon as two clients come at once",
    ),
    block(42, "rate", Elsewhere("hsm-test bench"), ""),
    block(43, "soak", Elsewhere("hsm-test bench --seconds 3600"), ""),
    block(
        44,
        "two-processes",
        Writes(lifecycle::two_processes),
        "a ceremony or a monitor beside the service disturbs it",
    ),
    block(45, "generate-and-sign", Elsewhere("keys are made in ceremonies, while nothing signs"), ""),
    warn(46, "expected-rate", Elsewhere("hsm-test bench against the vendor's figures"), ""),
    block(
        47,
        "power-cut",
        Elsewhere("a kill within a key ceremony: pechat init refuses what is half made"),
        "",
    ),
    block(48, "full-token", Elsewhere("fill a scratch token by hand"), ""),
    block(49, "restore", Elsewhere("the vendor's own backup, then pechat doctor"), ""),
    block(50, "damaged-keys", Elsewhere("cargo test --test hsm_faults: 13 kinds of wrong signatures"), ""),
];

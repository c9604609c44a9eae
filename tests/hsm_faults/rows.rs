//! The named faults: what the module does, and what clients see of it.

/// A fault.
pub struct Row {
    pub name: &'static str,
    /// `[[fault]]` tables; the one whose name is the row's must hit.
    pub plan: &'static str,
    pub seen: Seen,
}

/// What clients see.
pub enum Seen {
    /// Nothing: the signer helps itself.
    Nothing,
    /// 503 or systemFailure with these words, until the cause is gone.
    Reason(&'static str),
    /// The same until an operator restarts the service: trying again would do harm.
    Operator(&'static str),
    /// A signature that was not released, and a key that is frozen until the service restarts.
    Frozen,
}

/// Ends the running signer, so that a fault of its start can hit the next one.
macro_rules! restart {
    () => {
        "[[fault]]\nname = \"end\"\ncall = \"C_SignInit\"\naction = \"error\"\ncode = \"CKR_DEVICE_ERROR\"\n"
    };
}

macro_rules! fault {
    ($name:literal, $call:literal, $rest:literal) => {
        concat!("[[fault]]\nname = \"", $name, "\"\ncall = \"", $call, "\"\n", $rest, "\n")
    };
}

/// Rows of `name, call, rest of the table`.
macro_rules! rows {
    ($to:ident, $seen:expr, [$(($name:literal, $call:literal, $rest:literal)),* $(,)?]) => {
        $to.extend([$(Row { name: $name, plan: fault!($name, $call, $rest), seen: $seen }),*]);
    };
}

/// The same, in the start of a signer.
macro_rules! start_rows {
    ($to:ident, $(($name:literal, $call:literal, $rest:literal, $seen:expr)),* $(,)?) => {
        $to.extend([$(Row { name: $name, plan: concat!(restart!(), fault!($name, $call, $rest)), seen: $seen }),*]);
    };
}

/// Faults that a signer survives without being started again.
pub fn absorbed() -> Vec<Row> {
    let mut to = Vec::new();
    rows!(
        to,
        Seen::Nothing,
        [
            (
                "session-handle-invalid",
                "C_SignInit",
                "action = \"error\"\ncode = \"CKR_SESSION_HANDLE_INVALID\"\nevery = 3"
            ),
            (
                "session-closed-code",
                "C_SignInit",
                "action = \"error\"\ncode = \"CKR_SESSION_CLOSED\"\nevery = 3"
            ),
            (
                "object-handle-invalid",
                "C_SignInit",
                "action = \"error\"\ncode = \"CKR_OBJECT_HANDLE_INVALID\"\nevery = 3"
            ),
            (
                "key-handle-invalid",
                "C_SignInit",
                "action = \"error\"\ncode = \"CKR_KEY_HANDLE_INVALID\"\nevery = 3"
            ),
            (
                "user-not-logged-in",
                "C_SignInit",
                "action = \"error\"\ncode = \"CKR_USER_NOT_LOGGED_IN\"\nevery = 3"
            ),
            ("session-really-closed", "C_SignInit", "action = \"close-session\"\nevery = 5"),
            ("all-sessions-dropped", "C_SignInit", "action = \"drop-sessions\"\nevery = 7"),
            ("logged-out", "C_SignInit", "action = \"logout\"\nevery = 7"),
            ("slow-signature", "C_Sign", "action = \"delay\"\nms = 50"),
            ("slow-everything", "*", "action = \"delay\"\nms = 5"),
        ]
    );
    to
}

/// Faults of a signature.
pub fn signing() -> Vec<Row> {
    let mut to = Vec::new();
    rows!(
        to,
        Seen::Reason("which was not repeated"),
        [
            (
                "session-lost-within-signature",
                "C_Sign",
                "action = \"error\"\ncode = \"CKR_SESSION_HANDLE_INVALID\"\nmade = true"
            ),
            ("logout-within-signature", "C_Sign", "action = \"error\"\ncode = \"CKR_USER_NOT_LOGGED_IN\""),
        ]
    );
    rows!(
        to,
        Seen::Reason("cannot sign"),
        [
            (
                "function-not-permitted",
                "C_SignInit",
                "action = \"error\"\ncode = \"CKR_KEY_FUNCTION_NOT_PERMITTED\""
            ),
            ("data-len-range", "C_Sign", "action = \"error\"\ncode = \"CKR_DATA_LEN_RANGE\""),
            ("mechanism-invalid", "C_SignInit", "action = \"error\"\ncode = \"CKR_MECHANISM_INVALID\""),
        ]
    );
    rows!(
        to,
        Seen::Reason("C_Sign"),
        [
            ("device-error", "C_Sign", "action = \"error\"\ncode = \"CKR_DEVICE_ERROR\""),
            ("device-removed", "C_Sign", "action = \"error\"\ncode = \"CKR_DEVICE_REMOVED\""),
            ("device-memory", "C_Sign", "action = \"error\"\ncode = \"CKR_DEVICE_MEMORY\""),
            ("host-memory", "C_SignInit", "action = \"error\"\ncode = \"CKR_HOST_MEMORY\""),
            ("general-error", "C_Sign", "action = \"error\"\ncode = \"CKR_GENERAL_ERROR\""),
            ("function-failed", "C_Sign", "action = \"error\"\ncode = \"CKR_FUNCTION_FAILED\""),
            ("operation-active", "C_SignInit", "action = \"error\"\ncode = \"CKR_OPERATION_ACTIVE\""),
            ("token-not-present", "C_SignInit", "action = \"error\"\ncode = \"CKR_TOKEN_NOT_PRESENT\""),
            ("not-initialised", "C_SignInit", "action = \"error\"\ncode = \"CKR_CRYPTOKI_NOT_INITIALIZED\""),
            ("answer-lost", "C_Sign", "action = \"error\"\ncode = \"CKR_DEVICE_ERROR\"\nmade = true"),
            ("buffer-too-small", "C_Sign", "action = \"error\"\ncode = \"CKR_BUFFER_TOO_SMALL\""),
        ]
    );
    rows!(
        to,
        Seen::Reason("the signer"),
        [
            ("unknown-code", "C_Sign", "action = \"error\"\ncode = 0x80001234"),
            ("hang-in-sign", "C_Sign", "action = \"hang\""),
            ("hang-in-sign-init", "C_SignInit", "action = \"hang\""),
            ("far-too-slow", "C_Sign", "action = \"delay\"\nms = 3000"),
            ("abort", "C_Sign", "action = \"abort\""),
            ("segfault", "C_Sign", "action = \"segfault\""),
            ("exit-5", "C_Sign", "action = \"exit\"\nstatus = 5"),
        ]
    );
    to
}

/// Faults of a signer's start.
pub fn starting() -> Vec<Row> {
    let mut to = Vec::new();
    start_rows!(
        to,
        (
            "initialize-fails",
            "C_Initialize",
            "action = \"error\"\ncode = \"CKR_GENERAL_ERROR\"",
            Seen::Reason("C_Initialize: GeneralError")
        ),
        (
            "token-absent",
            "C_GetSlotList",
            "action = \"empty-list\"",
            Seen::Reason("no HSM token is labelled")
        ),
        (
            "token-info-fails",
            "C_GetTokenInfo",
            "action = \"error\"\ncode = \"CKR_DEVICE_ERROR\"",
            Seen::Reason("C_GetTokenInfo: DeviceError")
        ),
        (
            "open-session-fails",
            "C_OpenSession",
            "action = \"error\"\ncode = \"CKR_DEVICE_ERROR\"",
            Seen::Reason("C_OpenSession: DeviceError")
        ),
        (
            "sessions-exhausted",
            "C_OpenSession",
            "action = \"limit-sessions\"\nlimit = 1",
            Seen::Reason("C_OpenSession: SessionCount")
        ),
        (
            "login-fails",
            "C_Login",
            "action = \"error\"\ncode = \"CKR_GENERAL_ERROR\"",
            Seen::Reason("C_Login: GeneralError")
        ),
        ("hang-in-login", "C_Login", "action = \"hang\"", Seen::Reason("did not end in time")),
        ("abort-in-initialize", "C_Initialize", "action = \"abort\"", Seen::Reason("signal: 6")),
        (
            "keys-gone",
            "C_FindObjects",
            "action = \"empty-list\"",
            Seen::Reason("0 public key objects with its id instead of 1")
        ),
        (
            "find-fails",
            "C_FindObjectsInit",
            "action = \"error\"\ncode = \"CKR_DEVICE_ERROR\"",
            Seen::Reason("C_FindObjectsInit: DeviceError")
        ),
        ("hang-in-find", "C_FindObjects", "action = \"hang\"", Seen::Reason("did not end in time")),
        (
            "key-became-extractable",
            "C_GetAttributeValue",
            "action = \"flip-attribute\"\nattribute = \"CKA_EXTRACTABLE\"",
            Seen::Reason("Extractable(true) where Extractable(false) is needed")
        ),
        (
            "key-not-local",
            "C_GetAttributeValue",
            "action = \"flip-attribute\"\nattribute = \"CKA_LOCAL\"",
            Seen::Reason("Local(false) where Local(true) is needed")
        ),
        (
            "another-public-key",
            "C_GetAttributeValue",
            "action = \"flip-attribute\"\nattribute = \"CKA_EC_POINT\"",
            Seen::Reason("is not the pinned one")
        ),
        (
            "attributes-unreadable",
            "C_GetAttributeValue",
            "action = \"error\"\ncode = \"CKR_DEVICE_ERROR\"",
            Seen::Reason("C_GetAttributeValue: DeviceError")
        ),
        (
            "copy-refused",
            "C_CopyObject",
            "action = \"error\"\ncode = \"CKR_FUNCTION_NOT_SUPPORTED\"",
            Seen::Reason("cannot be copied into a session")
        ),
    );
    to
}

/// Refused PINs: tried once, and not again by itself.
fn pins() -> Vec<Row> {
    let mut to = Vec::new();
    start_rows!(
        to,
        (
            "pin-incorrect",
            "C_Login",
            "action = \"error\"\ncode = \"CKR_PIN_INCORRECT\"",
            Seen::Operator("refused the PIN (PinIncorrect)")
        ),
        (
            "pin-locked",
            "C_Login",
            "action = \"lock-pin\"\nlimit = 0",
            Seen::Operator("refused the PIN (PinLocked)")
        ),
        (
            "pin-expired",
            "C_Login",
            "action = \"error\"\ncode = \"CKR_PIN_EXPIRED\"",
            Seen::Operator("refused the PIN (PinExpired)")
        ),
    );
    // The token forgets the login while it runs, and then refuses the PIN.
    to.push(Row {
        name: "pin-refused-at-second-login",
        plan: concat!(
            fault!("out", "C_SignInit", "action = \"logout\""),
            fault!(
                "pin-refused-at-second-login",
                "C_Login",
                "action = \"error\"\ncode = \"CKR_PIN_INCORRECT\""
            )
        ),
        seen: Seen::Operator("refused the PIN (PinIncorrect)"),
    });
    to
}

/// Signatures that are none.
fn lies() -> Vec<Row> {
    let mut to = Vec::new();
    rows!(
        to,
        Seen::Frozen,
        [
            ("signature-bit-flipped", "C_Sign", "action = \"signature\"\nkind = \"bit-flipped\""),
            ("signature-truncated", "C_Sign", "action = \"signature\"\nkind = \"truncated\""),
            ("signature-over-long", "C_Sign", "action = \"signature\"\nkind = \"over-long\""),
            ("signature-empty", "C_Sign", "action = \"signature\"\nkind = \"empty\""),
            ("signature-zero-r", "C_Sign", "action = \"signature\"\nkind = \"zero-r\""),
            ("signature-zero-s", "C_Sign", "action = \"signature\"\nkind = \"zero-s\""),
            ("signature-all-zero", "C_Sign", "action = \"signature\"\nkind = \"all-zero\""),
            ("signature-high-bits", "C_Sign", "action = \"signature\"\nkind = \"high-bits\""),
            ("signature-swapped", "C_Sign", "action = \"signature\"\nkind = \"swapped\""),
            ("signature-der", "C_Sign", "action = \"signature\"\nkind = \"der\""),
            ("signature-old", "C_Sign", "action = \"signature\"\nkind = \"old\""),
            ("signature-of-other-data", "C_Sign", "action = \"signature\"\nkind = \"other-data\""),
            ("signature-by-another-key", "C_SignInit", "action = \"signature\"\nkind = \"other-key\""),
        ]
    );
    to
}

/// All of them.
pub fn all() -> Vec<Row> {
    [absorbed(), signing(), starting(), pins(), lies()].into_iter().flatten().collect()
}

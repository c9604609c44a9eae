//! The plan: which calls go wrong, how, and when. TOML text → checked values.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::codes::{CALLS, code_of};
use crate::tamper::Kind;

/// Most bytes of a plan.
pub const MAX_PLAN: usize = 64 * 1024;
/// Most faults of a plan.
const MAX_FAULTS: usize = 256;

/// A checked plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The PKCS#11 module behind this one. Read once: a later plan cannot exchange it.
    pub module: PathBuf,
    /// Where every call is written, one line each; nowhere without it.
    pub log: Option<PathBuf>,
    /// Whether the log shows what `C_Sign` was given (up to 64 bytes, hex).
    pub log_data: bool,
    /// Where wrong PINs are counted across processes, as a token does; needed by `lock-pin`.
    pub state: Option<PathBuf>,
    /// Start value of `chance`.
    pub seed: u64,
    /// In the order in which they are asked.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What the log calls it.
    pub name: String,
    /// Calls that it hits; empty for all.
    pub calls: Vec<String>,
    /// What happens.
    pub action: Action,
    /// Which of these calls are hit.
    pub when: When,
}

/// Which matching calls are hit. Counts begin anew in each process and with each change of the plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct When {
    /// So many pass first.
    pub skip: u64,
    /// Then at most so many are hit.
    pub times: u64,
    /// Of these every n-th.
    pub every: u64,
    /// And of these each with this probability, 0 to 1.
    pub chance: f64,
    /// Not before so long after the plan was read.
    pub from: Duration,
    /// And not after.
    pub until: Option<Duration>,
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answers this code; with `made`, after the module behind did its work, whose result is lost.
    Error {
        /// CKR_ value.
        code: u64,
        /// Whether the call is forwarded first.
        made: bool,
    },
    /// Waits, then goes on.
    Delay(Duration),
    /// Never answers, or not before a plan without this fault is there.
    Hang,
    /// SIGABRT.
    Abort,
    /// SIGSEGV.
    Segfault,
    /// Ends the process with this status, as SoftHSM does when a key file is damaged.
    Exit(i32),
    /// Closes this session behind the caller's back.
    CloseSession,
    /// Closes all sessions, which also ends the login.
    DropSessions,
    /// Ends the login.
    Logout,
    /// C_OpenSession answers CKR_SESSION_COUNT while so many are open.
    LimitSessions(u64),
    /// C_Login answers CKR_PIN_LOCKED after so many wrong PINs, even to the right one.
    LockPin(u64),
    /// C_GetSlotList, C_GetMechanismList or C_FindObjects finds nothing.
    EmptyList,
    /// C_GetAttributeValue gives this attribute with its last bit turned over.
    FlipAttribute(u64),
    /// C_Sign gives something else than the signature that was asked for.
    Signature(Kind),
}

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanText {
    module: PathBuf,
    log: Option<PathBuf>,
    #[serde(default)]
    log_data: bool,
    state: Option<PathBuf>,
    #[serde(default)]
    seed: u64,
    #[serde(default, rename = "fault")]
    faults: Vec<FaultText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultText {
    name: Option<String>,
    call: Calls,
    action: String,
    code: Option<Code>,
    made: Option<bool>,
    ms: Option<u64>,
    status: Option<i32>,
    limit: Option<u64>,
    attribute: Option<String>,
    kind: Option<Kind>,
    skip: Option<u64>,
    times: Option<u64>,
    every: Option<u64>,
    chance: Option<f64>,
    from_ms: Option<u64>,
    until_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Calls {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Name(String),
    Number(u64),
}

impl Plan {
    /// Reads the text of a plan; the error names the fault and what it lacks.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        if text.len() > MAX_PLAN {
            return Err(PlanError(format!("a plan of {} bytes: at most {MAX_PLAN} are read", text.len())));
        }
        let read: PlanText = toml::from_str(text).map_err(|e| PlanError(e.to_string()))?;
        if read.faults.len() > MAX_FAULTS {
            return Err(PlanError(format!("{} faults: at most {MAX_FAULTS}", read.faults.len())));
        }
        let mut faults = Vec::with_capacity(read.faults.len());
        for (number, fault) in read.faults.into_iter().enumerate() {
            let name = fault.name.clone().unwrap_or_else(|| format!("{}-{}", fault.action, number + 1));
            let checked = fault.checked(&name, read.state.is_some());
            faults.push(checked.map_err(|why| PlanError(format!("fault {name:?}: {why}")))?);
        }
        let PlanText { module, log, log_data, state, seed, .. } = read;
        Ok(Self { module, log, log_data, state, seed, faults })
    }
}

impl FaultText {
    fn checked(self, name: &str, has_state: bool) -> Result<Fault, String> {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("its name stands in log lines: give one without blanks".into());
        }
        let calls = match &self.call {
            Calls::One(all) if all == "*" => Vec::new(),
            Calls::One(one) => vec![one.clone()],
            Calls::Several(several) if several.is_empty() => return Err("call: name at least one".into()),
            Calls::Several(several) => several.clone(),
        };
        if let Some(stranger) = calls.iter().find(|call| !CALLS.contains(&call.as_str())) {
            return Err(format!("{stranger:?} is no call of PKCS#11 2.40"));
        }
        let when = self.when()?;
        let action = self.action(has_state)?;
        if let Some(only) = action.only_for()
            && (calls.is_empty() || calls.iter().any(|call| !only.contains(&call.as_str())))
        {
            return Err(format!("{} is only for {}", self.action, only.join(", ")));
        }
        Ok(Fault { name: name.to_owned(), calls, action, when })
    }

    fn when(&self) -> Result<When, String> {
        let chance = self.chance.unwrap_or(1.0);
        let every = self.every.unwrap_or(1);
        if !(0.0..=1.0).contains(&chance) || every == 0 {
            return Err("chance is 0 to 1, every at least 1".into());
        }
        Ok(When {
            skip: self.skip.unwrap_or(0),
            times: self.times.unwrap_or(u64::MAX),
            every,
            chance,
            from: Duration::from_millis(self.from_ms.unwrap_or(0)),
            until: self.until_ms.map(Duration::from_millis),
        })
    }

    fn action(&self, has_state: bool) -> Result<Action, String> {
        let need = |value: Option<u64>, what: &str| value.ok_or(format!("{} needs {what}", self.action));
        Ok(match self.action.as_str() {
            "error" => Action::Error { code: self.code()?, made: self.made.unwrap_or(false) },
            "delay" => Action::Delay(Duration::from_millis(need(self.ms, "ms")?)),
            "hang" => Action::Hang,
            "abort" => Action::Abort,
            "segfault" => Action::Segfault,
            "exit" => Action::Exit(self.status.ok_or("exit needs status")?),
            "close-session" => Action::CloseSession,
            "drop-sessions" => Action::DropSessions,
            "logout" => Action::Logout,
            "limit-sessions" => Action::LimitSessions(need(self.limit, "limit")?),
            "lock-pin" if !has_state => return Err("lock-pin needs the plan's state".into()),
            "lock-pin" => Action::LockPin(need(self.limit, "limit")?),
            "empty-list" => Action::EmptyList,
            "flip-attribute" => Action::FlipAttribute(self.attribute()?),
            "signature" => Action::Signature(self.kind.ok_or("signature needs kind")?),
            other => return Err(format!("there is no action {other:?}")),
        })
    }

    fn code(&self) -> Result<u64, String> {
        match &self.code {
            None => Err("error needs code".into()),
            Some(Code::Number(number)) => Ok(*number),
            Some(Code::Name(name)) => code_of(name).ok_or(format!("there is no code {name:?}")),
        }
    }

    fn attribute(&self) -> Result<u64, String> {
        use cryptoki_sys as ck;
        let name = self.attribute.as_deref().ok_or("flip-attribute needs attribute")?;
        Ok(match name {
            "CKA_PRIVATE" => ck::CKA_PRIVATE,
            "CKA_TOKEN" => ck::CKA_TOKEN,
            "CKA_SENSITIVE" => ck::CKA_SENSITIVE,
            "CKA_EXTRACTABLE" => ck::CKA_EXTRACTABLE,
            "CKA_LOCAL" => ck::CKA_LOCAL,
            "CKA_ALWAYS_SENSITIVE" => ck::CKA_ALWAYS_SENSITIVE,
            "CKA_NEVER_EXTRACTABLE" => ck::CKA_NEVER_EXTRACTABLE,
            "CKA_SIGN" => ck::CKA_SIGN,
            "CKA_SIGN_RECOVER" => ck::CKA_SIGN_RECOVER,
            "CKA_DECRYPT" => ck::CKA_DECRYPT,
            "CKA_UNWRAP" => ck::CKA_UNWRAP,
            "CKA_DERIVE" => ck::CKA_DERIVE,
            "CKA_MODIFIABLE" => ck::CKA_MODIFIABLE,
            "CKA_LABEL" => ck::CKA_LABEL,
            "CKA_ID" => ck::CKA_ID,
            "CKA_EC_POINT" => ck::CKA_EC_POINT,
            other => return Err(format!("attribute {other:?} cannot be flipped")),
        })
    }
}

impl Action {
    /// The calls that an action makes sense for; `None` for all.
    fn only_for(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::LimitSessions(_) => Some(&["C_OpenSession"]),
            Self::LockPin(_) => Some(&["C_Login"]),
            Self::EmptyList => Some(&["C_GetSlotList", "C_GetMechanismList", "C_FindObjects"]),
            Self::FlipAttribute(_) => Some(&["C_GetAttributeValue"]),
            // The other key is chosen when the operation begins, everything else when it ends.
            Self::Signature(Kind::OtherKey) => Some(&["C_SignInit"]),
            Self::Signature(_) => Some(&["C_Sign"]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(fault: &str) -> Result<Plan, String> {
        Plan::parse(&format!("module = \"/m.so\"\n[[fault]]\n{fault}")).map_err(|e| e.to_string())
    }

    #[test]
    fn every_part_of_a_fault_is_read() {
        let read = plan(
            "name = \"lost\"\ncall = [\"C_Sign\", \"C_SignInit\"]\naction = \"error\"\ncode = \"CKR_DEVICE_ERROR\"\n\
             made = true\nskip = 3\ntimes = 2\nevery = 5\nchance = 0.5\nfrom_ms = 10\nuntil_ms = 20",
        );
        let when = When {
            skip: 3,
            times: 2,
            every: 5,
            chance: 0.5,
            from: Duration::from_millis(10),
            until: Some(Duration::from_millis(20)),
        };
        let calls = vec!["C_Sign".into(), "C_SignInit".into()];
        let fault =
            Fault { name: "lost".into(), calls, action: Action::Error { code: 0x30, made: true }, when };
        assert_eq!(read.unwrap().faults, [fault]);
    }

    #[test]
    fn every_action_has_its_word() {
        for (text, action) in [
            ("action = \"delay\"\nms = 5", Action::Delay(Duration::from_millis(5))),
            ("action = \"hang\"", Action::Hang),
            ("action = \"abort\"", Action::Abort),
            ("action = \"segfault\"", Action::Segfault),
            ("action = \"exit\"\nstatus = 5", Action::Exit(5)),
            ("action = \"close-session\"", Action::CloseSession),
            ("action = \"drop-sessions\"", Action::DropSessions),
            ("action = \"logout\"", Action::Logout),
            ("action = \"error\"\ncode = 0x80000001", Action::Error { code: 0x8000_0001, made: false }),
            ("action = \"signature\"\nkind = \"zero-r\"", Action::Signature(Kind::ZeroR)),
        ] {
            let read = plan(&format!("call = \"C_Sign\"\n{text}")).unwrap();
            assert_eq!(read.faults[0].action, action, "{text}");
        }
        let read = plan("call = \"C_OpenSession\"\naction = \"limit-sessions\"\nlimit = 2").unwrap();
        assert_eq!(read.faults[0].action, Action::LimitSessions(2));
        assert_eq!(read.faults[0].name, "limit-sessions-1");
        assert!(plan("call = \"*\"\naction = \"hang\"").unwrap().faults[0].calls.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_fault_and_the_reason() {
        for (text, why) in [
            ("call = \"C_Sing\"\naction = \"hang\"", "\"C_Sing\" is no call of PKCS#11 2.40"),
            ("call = []\naction = \"hang\"", "call: name at least one"),
            ("call = \"C_Sign\"\naction = \"explode\"", "there is no action \"explode\""),
            ("call = \"C_Sign\"\naction = \"error\"", "error needs code"),
            ("call = \"C_Sign\"\naction = \"error\"\ncode = \"CKR_X\"", "there is no code \"CKR_X\""),
            ("call = \"C_Sign\"\naction = \"delay\"", "delay needs ms"),
            ("call = \"C_Sign\"\naction = \"empty-list\"", "empty-list is only for C_GetSlotList"),
            ("call = \"*\"\naction = \"signature\"\nkind = \"der\"", "signature is only for C_Sign"),
            (
                "call = \"C_Sign\"\naction = \"signature\"\nkind = \"other-key\"",
                "signature is only for C_SignInit",
            ),
            ("call = \"C_Login\"\naction = \"lock-pin\"\nlimit = 3", "lock-pin needs the plan's state"),
            ("call = \"C_Sign\"\naction = \"hang\"\nchance = 2.0", "chance is 0 to 1, every at least 1"),
            ("call = \"C_Sign\"\naction = \"hang\"\nevery = 0", "chance is 0 to 1, every at least 1"),
            ("name = \"a b\"\ncall = \"C_Sign\"\naction = \"hang\"", "give one without blanks"),
            ("call = \"C_Sign\"\naction = \"hang\"\nsurprise = 1", "unknown field `surprise`"),
        ] {
            let error = plan(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

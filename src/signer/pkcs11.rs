//! The HSM token through PKCS#11, and nothing above it: the only file that names `cryptoki`.

mod inventory;
pub mod probe;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::pin::Pin;
use super::process;
use crate::keys::{ED25519_SPKI_BYTES, SPKI_BYTES, spki_of_ed25519, spki_of_point, wire};

pub use inventory::ModuleFile;

/// OID of secp256r1 as DER, the value of CKA_EC_PARAMS.
const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// OID of Ed25519 (RFC 8410) as DER.
const ED25519_OID: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];
/// The P-256 curve by name (PrintableString), as some modules give it.
const P256_NAME: &[u8] = b"\x13\x0aprime256v1";

/// What the HSM did not do.
#[derive(Debug, thiserror::Error)]
pub enum HsmError {
    /// The module is not there or not a PKCS#11 module.
    #[error("cannot load the PKCS#11 module {path}: {cause}")]
    Load {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// No token has this label (and serial number).
    #[error(
        "no HSM token is labelled {0:?}: look whether it is plugged in; if it is SoftHSM, a kill within a login may have \
         torn its token.object: restore the token directory from its backup (runbook hsm-gone)"
    )]
    TokenMissing(String),
    /// Several have.
    #[error("{count} HSM tokens are labelled {label:?}: give the serial number")]
    TokenTwice {
        /// The label looked for.
        label: String,
        /// How many have it.
        count: usize,
    },
    /// The token counted a wrong try, or is locked. Another try could lock it for good.
    #[error("the HSM token refused the PIN ({0}); it was tried once and will not be tried again")]
    PinRefused(String),
    /// An object that must be there exactly once is not.
    #[error("key {label}: {count} {class} objects with its id instead of 1")]
    KeyCount {
        /// Label of the pinned key.
        label: String,
        /// `private key` or `public key`.
        class: &'static str,
        /// How many were found.
        count: usize,
    },
    /// The token's public key is not the pinned one.
    #[error("key {0}: the public key in the HSM token is not the pinned one")]
    PublicKeyDiffers(String),
    /// The token's public key is not a P-256 point.
    #[error("key {0}: the HSM token gives no P-256 public key")]
    NotP256(String),
    /// The key is not protected as it must be.
    #[error("key {label}: {what}")]
    Attribute {
        /// Label of the key.
        label: String,
        /// Which attribute, expected and found.
        what: String,
    },
    /// The key was made without CKA_MODIFIABLE, or the device makes no copies.
    #[error("key {label} cannot be copied into a session ({cause}): set hsm.session_copies = false")]
    NoCopy {
        /// Label of the key.
        label: String,
        /// What the module said.
        cause: String,
    },
    /// A ceremony may not make a second key of one name.
    #[error("the HSM token already has a key labelled {0}")]
    LabelTaken(String),
    /// The device has no Ed25519.
    #[error(
        "the HSM token does not offer Ed25519 (CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA): set journal.ed25519 = false; \
         checkpoints then carry the ECDSA signature alone"
    )]
    NoEd25519,
    /// Whole messages are signed by Ed25519 keys only.
    #[error("only an Ed25519 key signs a whole message")]
    NotEd25519,
    /// CKR_OK and something else than 64 bytes.
    #[error("the HSM gave a signature of {0} bytes instead of 64")]
    SignatureLength(usize),
    /// The token forgot the login, and the PIN is not at hand a second time.
    #[error("the HSM token needs a new login: {0}")]
    NoPin(String),
    /// The operating system gave no random bytes for a key id.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// A PKCS#11 function failed.
    #[error("{call}: {code}")]
    Call {
        /// PKCS#11 function.
        call: String,
        /// Its return value, by name.
        code: String,
        /// What it means for what is to be done.
        class: CallClass,
    },
}

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    /// A handle died before the digest was handed over: open a session, log in if need be, find the key again,
    /// compare its public key, try once more.
    StaleHandle,
    /// A handle died within the signature, which may have been made: the session is replaced, the request fails.
    /// A second signature over the same digest could be a second certificate.
    Uncertain,
    /// CKR_OK and no signature: the key is not to be believed again.
    WrongSignature,
    /// This request is wrong for this key; nothing else is.
    Request,
    /// Anything else, known or not: the module is in an unknown state.
    Fatal,
}

impl HsmError {
    /// See [`CallClass`]; only failed calls can be anything but fatal.
    pub fn class(&self) -> CallClass {
        match self {
            Self::Call { class, .. } => *class,
            Self::SignatureLength(_) => CallClass::WrongSignature,
            Self::NoEd25519 | Self::NotEd25519 => CallClass::Request,
            _ => CallClass::Fatal,
        }
    }

    /// Exit status of a signer that ends because of this.
    pub fn exit_status(&self) -> i32 {
        match self {
            Self::PinRefused(_) => wire::EXIT_PIN_REFUSED,
            Self::TokenMissing(_) | Self::Call { .. } | Self::NoPin(_) => wire::EXIT_UNAVAILABLE,
            _ => wire::EXIT_CONFIGURATION,
        }
    }
}

impl From<Error> for HsmError {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(code, call) = error else {
            let (call, code) = ("PKCS#11".into(), error.to_string());
            return Self::Call { call, code, class: CallClass::Fatal };
        };
        let class = match code {
            RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn
                if matches!(call, Function::Sign) =>
            {
                CallClass::Uncertain
            }
            RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn => CallClass::StaleHandle,
            RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::KeyFunctionNotPermitted
            | RvError::KeyTypeInconsistent
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid => CallClass::Request,
            _ => CallClass::Fatal,
        };
        Self::Call { call: format!("C_{call:?}"), code: format!("{code:?}"), class }
    }
}

/// A loaded and initialised module. One a process: nothing ever finalises it, the process ends instead.
pub struct Module(Pkcs11);

impl Module {
    /// C_Initialize with OS_LOCKING_OK: without it SoftHSM crashes under threads.
    pub fn load(path: &Path) -> Result<Self, HsmError> {
        let module =
            Pkcs11::new(path).map_err(|e| HsmError::Load { path: path.into(), cause: e.to_string() })?;
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        Ok(Self(module))
    }

    /// Finds the one token with this label, and serial number if given; blanks and NULs around either do not count.
    /// Slot numbers change when tokens come and go, so they are never asked for.
    pub fn token(self, label: &str, serial: Option<&str>) -> Result<TokenFound, HsmError> {
        let padding = [' ', '\0'];
        let mut found = Vec::new();
        for slot in self.0.get_slots_with_token()? {
            let info = self.0.get_token_info(slot)?;
            let same = info.label().trim_matches(padding) == label
                && serial.is_none_or(|serial| info.serial_number().trim_matches(padding) == serial);
            if info.token_initialized() && same {
                found.push(slot);
            }
        }
        match found[..] {
            [slot] => Ok(TokenFound { module: self.0, slot }),
            [] => Err(HsmError::TokenMissing(label.into())),
            _ => Err(HsmError::TokenTwice { label: label.into(), count: found.len() }),
        }
    }
}

/// The token, before login.
pub struct TokenFound {
    module: Pkcs11,
    slot: Slot,
}

impl TokenFound {
    /// Logs in, once: a token counts wrong tries and locks. The session stays open for the life of the process,
    /// since the end of the last one would log everybody out.
    pub fn login(self, pin: &Pin, writable: bool) -> Result<Token, HsmError> {
        let keeper = open(&self.module, self.slot, writable)?;
        login(&keeper, pin)?;
        let refused = OnceLock::new();
        Ok(Token { module: self.module, slot: self.slot, writable, keeper: Mutex::new(keeper), refused })
    }
}

fn open(module: &Pkcs11, slot: Slot, writable: bool) -> Result<Session, HsmError> {
    Ok(if writable { module.open_rw_session(slot) } else { module.open_ro_session(slot) }?)
}

fn login(session: &Session, pin: &Pin) -> Result<(), HsmError> {
    let pin = AuthPin::new(pin.expose().into());
    process::whole_login(|| session.login(UserType::User, Some(&pin))).map_err(login_error)
}

fn login_error(error: Error) -> HsmError {
    match error {
        Error::Pkcs11(
            code @ (RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked
            | RvError::UserPinNotInitialized),
            _,
        ) => HsmError::PinRefused(format!("{code:?}")),
        other => other.into(),
    }
}

/// The token, logged in for as long as the process lives.
pub struct Token {
    module: Pkcs11,
    slot: Slot,
    writable: bool,
    keeper: Mutex<Session>,
    /// Why the PIN was refused, since when nobody here tries it again.
    refused: OnceLock<String>,
}

impl Token {
    /// A session of its own for one thread.
    pub fn session(&self) -> Result<TokenSession, HsmError> {
        open(&self.module, self.slot, self.writable).map(TokenSession)
    }

    /// Logs in again if the token forgot the login, or lost the keeper session with it: once, with the PIN that
    /// `pin` gives. Does nothing while somebody is logged in. Several threads may ask at once: whoever waited
    /// while the PIN was refused is refused too, without another try.
    pub fn login_again(&self, pin: impl FnOnce() -> Result<Pin, HsmError>) -> Result<(), HsmError> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match keeper.get_session_info() {
            Ok(info) => info.session_state(),
            Err(_) => {
                let fresh = open(&self.module, self.slot, self.writable)?;
                // Its number may be another session's by now, so it is not closed.
                std::mem::forget(std::mem::replace(&mut *keeper, fresh));
                keeper.get_session_info()?.session_state()
            }
        };
        if matches!(state, SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        if let Some(code) = self.refused.get() {
            return Err(HsmError::PinRefused(code.clone()));
        }
        login(&keeper, &pin()?).inspect_err(|error| {
            if let HsmError::PinRefused(code) = error {
                self.refused.get_or_init(|| code.clone());
            }
        })
    }

    /// Makes a P-256 key pair in the keeper session. See [`KeyMade`]. Only a `modifiable` key can be copied into
    /// a session (PKCS#11 has no finer word for it): its label can then be changed, its protection cannot.
    pub fn generate(&self, label: &str, id: [u8; 16], modifiable: bool) -> Result<KeyMade, HsmError> {
        generate(&self.keeper.lock().unwrap_or_else(PoisonError::into_inner), label, id, modifiable)
    }
}

/// CKA_LABEL of the data object that keeps the newest signed head.
const HEAD: &str = "pechat-head";

impl Token {
    /// Replaces the kept head, unless `head` is empty, and reads what is kept. In a read-write session of its own;
    /// the new object is there before the old ones go, so that an interruption leaves one of them.
    pub fn keep(&self, head: &[u8]) -> Result<Vec<Vec<u8>>, HsmError> {
        // The keeper is locked so that one such call runs at a time.
        let _one = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open(&self.module, self.slot, true)?;
        let ours = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Label(HEAD.into()),
        ];
        let old = session.find_objects(&ours)?;
        if !head.is_empty() {
            session.create_object(&[&ours[..], &[Attribute::Value(head.to_vec())]].concat())?;
            old.iter().try_for_each(|object| session.destroy_object(*object))?;
        }
        let mut kept = Vec::new();
        for object in session.find_objects(&ours)?.into_iter().take(wire::MAX_KEPT) {
            for attribute in session.get_attributes(object, &[AttributeType::Value])? {
                let Attribute::Value(mut value) = attribute else { continue };
                value.truncate(wire::MAX_MESSAGE);
                kept.push(value);
            }
        }
        Ok(kept)
    }

    /// Makes an Ed25519 key pair in the keeper session; like [`Token::generate`].
    pub fn generate_ed25519(
        &self,
        label: &str,
        id: [u8; 16],
        modifiable: bool,
    ) -> Result<EdKeyMade, HsmError> {
        let offered = self.module.get_mechanism_list(self.slot)?;
        let needed = [MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, MechanismType::EDDSA];
        if !needed.iter().all(|mechanism| offered.contains(mechanism)) {
            return Err(HsmError::NoEd25519);
        }
        let session = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let private = generate_pair(&session, label, id, modifiable, Curve::Ed25519)?;
        let public = one(&session, label, &id, "public key")?;
        let spki = spki_of_ed25519(&edwards_key(&session, label, public)?);
        Ok(EdKeyMade { handle: KeyHandle(private, Curve::Ed25519), spki })
    }
}

/// A new Ed25519 pair, as [`KeyMade`].
pub struct EdKeyMade {
    /// Handle of the private key, good in any session of this process.
    pub handle: KeyHandle,
    /// SubjectPublicKeyInfo, DER.
    pub spki: [u8; ED25519_SPKI_BYTES],
}

/// A new key pair: read back, every attribute as asked for.
pub struct KeyMade {
    /// Handle of the private key, good in any session of this process.
    pub handle: KeyHandle,
    /// SubjectPublicKeyInfo, DER.
    pub spki: [u8; SPKI_BYTES],
}

/// A private key in the token.
#[derive(Debug, Clone, Copy)]
pub struct KeyHandle(ObjectHandle, Curve);

/// What a key is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    Ed25519,
}

/// One session. It is `Send` and not `Sync`: one thread at a time, or SoftHSM frees memory twice.
pub struct TokenSession(Session);

impl TokenSession {
    /// Ends the session; one that is dead is let go without a call, since its number may be another's by now.
    pub fn close(self) {
        match self.0.get_session_info() {
            Ok(_) => drop(self.0),
            Err(_) => std::mem::forget(self.0),
        }
    }

    /// CKM_ECDSA over exactly 32 bytes, since tokens sign any length without complaint; 64 bytes `r || s`. An
    /// Ed25519 key signs the 32 bytes as a message.
    pub fn sign(&self, key: KeyHandle, digest: &[u8; 32]) -> Result<[u8; 64], HsmError> {
        match key.1 {
            Curve::P256 => self.signed(&Mechanism::Ecdsa, key, digest),
            Curve::Ed25519 => self.sign_message(key, digest),
        }
    }

    /// CKM_EDDSA over a whole message, by an Ed25519 key only.
    pub fn sign_message(&self, key: KeyHandle, message: &[u8]) -> Result<[u8; 64], HsmError> {
        if key.1 != Curve::Ed25519 {
            return Err(HsmError::NotEd25519);
        }
        let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
        self.signed(&pure, key, message)
    }

    fn signed(&self, how: &Mechanism<'_>, key: KeyHandle, data: &[u8]) -> Result<[u8; 64], HsmError> {
        let raw = self.0.sign(how, key.0, data)?;
        raw.as_slice().try_into().map_err(|_| HsmError::SignatureLength(raw.len()))
    }

    /// Finds the one private key with this CKA_ID whose one public half is `spki` (DER), made in this token and
    /// never outside it.
    ///
    /// With `copy`, the handle is of a session object copied from it (C_CopyObject, PKCS#11 3.1 section 5.7.2): as
    /// protected, and gone with this session. Modules that keep token objects in files look at those before every
    /// signature with the original.
    pub fn find(&self, label: &str, id: &[u8], spki: &[u8], copy: bool) -> Result<KeyHandle, HsmError> {
        let curve = if spki.len() == ED25519_SPKI_BYTES { Curve::Ed25519 } else { Curve::P256 };
        let public = one(&self.0, label, id, "public key")?;
        let found = match curve {
            Curve::P256 => public_key(&self.0, label, public)?.to_vec(),
            Curve::Ed25519 => spki_of_ed25519(&edwards_key(&self.0, label, public)?).to_vec(),
        };
        if found != spki {
            return Err(HsmError::PublicKeyDiffers(label.into()));
        }
        let private = one(&self.0, label, id, "private key")?;
        confirm(&self.0, label, private, &kept(curve))?;
        if !copy {
            return Ok(KeyHandle(private, curve));
        }
        let copied = self.0.copy_object(private, &[Attribute::Token(false)]);
        let copied =
            copied.map_err(|cause| HsmError::NoCopy { label: label.into(), cause: cause.to_string() })?;
        confirm(&self.0, label, copied, &protected(false, curve))?;
        Ok(KeyHandle(copied, curve))
    }
}

fn one(session: &Session, label: &str, id: &[u8], class: &'static str) -> Result<ObjectHandle, HsmError> {
    let wanted = if class == "private key" { ObjectClass::PRIVATE_KEY } else { ObjectClass::PUBLIC_KEY };
    let of_token = Attribute::Token(true);
    let found = session.find_objects(&[Attribute::Class(wanted), Attribute::Id(id.to_vec()), of_token])?;
    match found[..] {
        [handle] => Ok(handle),
        _ => Err(HsmError::KeyCount { label: label.into(), class, count: found.len() }),
    }
}

fn public_key(session: &Session, label: &str, key: ObjectHandle) -> Result<[u8; SPKI_BYTES], HsmError> {
    let not_p256 = || HsmError::NotP256(label.into());
    let found = session.get_attributes(key, &[AttributeType::EcParams, AttributeType::EcPoint])?;
    let [Attribute::EcParams(curve), Attribute::EcPoint(point)] = &found[..] else { return Err(not_p256()) };
    if curve[..] != P256_OID && curve != P256_NAME {
        return Err(not_p256());
    }
    bare_point(point).map(spki_of_point).ok_or_else(not_p256)
}

/// The 32 bytes of an Ed25519 public key.
fn edwards_key(session: &Session, label: &str, key: ObjectHandle) -> Result<[u8; 32], HsmError> {
    let found = session.get_attributes(key, &[AttributeType::KeyType, AttributeType::EcPoint])?;
    let [Attribute::KeyType(KeyType::EC_EDWARDS), Attribute::EcPoint(point)] = &found[..] else {
        return Err(HsmError::Attribute { label: label.into(), what: "it is no Ed25519 public key".into() });
    };
    // A DER OCTET STRING, or the bare key in some modules.
    let bare = point.strip_prefix(&[0x04, 0x20]).filter(|bare| bare.len() == 32).unwrap_or(point);
    bare.try_into().map_err(|_| HsmError::Attribute {
        label: label.into(),
        what: format!("its Ed25519 public key has {} bytes", bare.len()),
    })
}

/// CKA_EC_POINT is a DER OCTET STRING by the standard and the bare point in some modules.
fn bare_point(point: &[u8]) -> Option<&[u8; 65]> {
    let bare = point.strip_prefix(&[0x04, 0x41]).filter(|bare| bare.len() == 65).unwrap_or(point);
    bare.try_into().ok().filter(|bare: &&[u8; 65]| bare[0] == 4)
}

/// What every private key must still be at every start.
fn kept(curve: Curve) -> Vec<Attribute> {
    protected(true, curve)
}

/// The same of a token object or of its copy in a session.
fn protected(token: bool, curve: Curve) -> Vec<Attribute> {
    vec![
        Attribute::KeyType(if curve == Curve::P256 { KeyType::EC } else { KeyType::EC_EDWARDS }),
        Attribute::Token(token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Local(true),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Sign(true),
    ]
}

/// Every usage is spelt out: left unsaid, SoftHSM allows decryption, unwrapping and recovery.
fn private_template(label: &str, id: [u8; 16], modifiable: bool, curve: Curve) -> Vec<Attribute> {
    let how = if curve == Curve::P256 { MechanismType::ECDSA } else { MechanismType::EDDSA };
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::SignRecover(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(modifiable),
        Attribute::AllowedMechanisms(vec![how]),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.into()),
    ]
}

fn public_template(label: &str, id: [u8; 16], curve: Curve) -> Vec<Attribute> {
    let parameters = if curve == Curve::P256 { &P256_OID[..] } else { &ED25519_OID };
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::VerifyRecover(false),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
        Attribute::Modifiable(false),
        Attribute::EcParams(parameters.to_vec()),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.into()),
    ]
}

fn generate(session: &Session, label: &str, id: [u8; 16], modifiable: bool) -> Result<KeyMade, HsmError> {
    let private = generate_pair(session, label, id, modifiable, Curve::P256)?;
    let public = one(session, label, &id, "public key")?;
    let spki = public_key(session, label, public)?;
    Ok(KeyMade { handle: KeyHandle(private, Curve::P256), spki })
}

/// The new private key, after every attribute of both halves was read back.
fn generate_pair(
    session: &Session,
    label: &str,
    id: [u8; 16],
    modifiable: bool,
    curve: Curve,
) -> Result<ObjectHandle, HsmError> {
    for same in [Attribute::Label(label.into()), Attribute::Id(id.to_vec())] {
        if !session.find_objects(&[same])?.is_empty() {
            return Err(HsmError::LabelTaken(label.into()));
        }
    }
    let (for_public, for_private) =
        (public_template(label, id, curve), private_template(label, id, modifiable, curve));
    let how = if curve == Curve::P256 { Mechanism::EccKeyPairGen } else { Mechanism::EccEdwardsKeyPairGen };
    let (public, private) = session.generate_key_pair(&how, &for_public, &for_private)?;
    confirm(session, label, public, &for_public)?;
    confirm(session, label, private, &for_private)?;
    confirm(session, label, private, &kept(curve))?;
    // Handles could be right by chance: the pair must also be found by its id alone.
    one(session, label, &id, "public key")?;
    one(session, label, &id, "private key")?;
    Ok(private)
}

/// Reads attributes back and compares each. One the token leaves out counts as different: `get_attributes` says
/// nothing about those.
fn confirm(
    session: &Session,
    label: &str,
    key: ObjectHandle,
    expected: &[Attribute],
) -> Result<(), HsmError> {
    let types: Vec<_> = expected.iter().map(Attribute::attribute_type).collect();
    let found = session.get_attributes(key, &types)?;
    let wrong = expected.iter().find_map(|wanted| {
        let at = found.iter().find(|f| f.attribute_type() == wanted.attribute_type());
        match at {
            Some(value) if value == wanted => None,
            Some(value) => Some(format!("{value:?} where {wanted:?} is needed")),
            None => Some(format!("the HSM token does not tell whether {wanted:?} holds")),
        }
    });
    match wrong {
        None => Ok(()),
        Some(what) => Err(HsmError::Attribute { label: label.into(), what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_wrapped_and_bare() {
        let mut bare = [9; 65];
        bare[0] = 4;
        let wrapped = [&[0x04, 0x41][..], &bare].concat();
        assert_eq!(bare_point(&bare), Some(&bare));
        assert_eq!(bare_point(&wrapped), Some(&bare));
        // A bare point that happens to start like a wrapped one.
        bare[1] = 0x41;
        assert_eq!(bare_point(&bare), Some(&bare));
        for bad in [&bare[1..], &wrapped[..66], &[2; 65], &[]] {
            assert_eq!(bare_point(bad), None);
        }
    }

    #[test]
    fn only_dead_handles_are_retried_and_unknown_codes_are_fatal() {
        let class = |code| HsmError::from(Error::Pkcs11(code, Function::SignInit)).class();
        assert_eq!(class(RvError::SessionHandleInvalid), CallClass::StaleHandle);
        assert_eq!(class(RvError::KeyHandleInvalid), CallClass::StaleHandle);
        assert_eq!(class(RvError::KeyFunctionNotPermitted), CallClass::Request);
        assert_eq!(class(RvError::UserNotLoggedIn), CallClass::StaleHandle);
        for fatal in [RvError::GeneralError, RvError::DeviceRemoved, RvError::OperationActive] {
            assert_eq!(class(fatal), CallClass::Fatal);
        }
        assert_eq!(HsmError::from(Error::NotSupported).class(), CallClass::Fatal);
    }

    #[test]
    fn a_handle_that_dies_within_a_signature_is_not_tried_again() {
        let class = |code| HsmError::from(Error::Pkcs11(code, Function::Sign)).class();
        for code in [RvError::SessionHandleInvalid, RvError::ObjectHandleInvalid, RvError::UserNotLoggedIn] {
            assert_eq!(class(code), CallClass::Uncertain);
        }
        assert_eq!(HsmError::SignatureLength(63).class(), CallClass::WrongSignature);
    }

    #[test]
    fn a_refused_pin_is_told_from_an_absent_token() {
        let refused = |code| login_error(Error::Pkcs11(code, Function::Login)).exit_status();
        assert_eq!(refused(RvError::PinIncorrect), wire::EXIT_PIN_REFUSED);
        assert_eq!(refused(RvError::PinLocked), wire::EXIT_PIN_REFUSED);
        assert_eq!(refused(RvError::GeneralError), wire::EXIT_UNAVAILABLE);
    }
}

//! A key that is made for a test and destroyed after it.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use pechat::digest::hex;
use pechat::keys::PublicKey;
use pechat::signer::pin::{OpenPin, Pin, PinSource};
use pechat::signer::pkcs11::{KeyHandle, Module, Token};

use crate::{Failed, Target};

/// Reads the PIN as the signer does.
pub fn pin(path: &Path) -> Result<Pin, Failed> {
    Ok(PinSource::File(path.into()).open().and_then(OpenPin::read)?)
}

/// Loads the module and logs in, as the signer does in a ceremony.
pub fn open(target: &Target) -> Result<Token, Failed> {
    let pin = pin(&target.pin_file)?;
    Ok(Module::load(&target.module)?.token(&target.token, None)?.login(&pin, true)?)
}

/// A P-256 key pair made with the product's template.
pub struct ScratchKey {
    pub handle: KeyHandle,
    pub public: PublicKey,
    pub label: String,
    pub id: [u8; 16],
}

impl ScratchKey {
    /// Makes one under a label of its own.
    pub fn generate(token: &Token) -> Result<Self, Failed> {
        let mut id = [0; 16];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut id)?;
        let label = format!("hsm-test-{}", hex(&id[..4]));
        let made = token.generate(&label, id, false)?;
        let public = PublicKey::from_spki(&made.spki).ok_or("the new public key is no point on P-256")?;
        Ok(Self { handle: made.handle, public, label, id })
    }
}

/// The module alone, initialised as the signer does it.
pub fn initialised(target: &Target) -> Result<Pkcs11, Failed> {
    let module = Pkcs11::new(&target.module)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    Ok(module)
}

/// The slot of the token with the label.
pub fn slot_of(module: &Pkcs11, target: &Target) -> Result<Slot, Failed> {
    let labelled =
        |slot| module.get_token_info(slot).is_ok_and(|t| t.label().trim_matches([' ', '\0']) == target.token);
    let slot = module.get_slots_with_token()?.into_iter().find(|slot| labelled(*slot));
    slot.ok_or_else(|| format!("no token is labelled {:?}", target.token).into())
}

/// A plain session beside the product's, in a process that is already logged in: for what the product itself never
/// does, such as destroying keys.
pub fn plain_session(target: &Target) -> Result<Session, Failed> {
    let module = Pkcs11::new(&target.module)?;
    Ok(module.open_rw_session(slot_of(&module, target)?)?)
}

/// Both halves of a key.
pub fn objects(session: &Session, id: &[u8]) -> Result<Vec<ObjectHandle>, Failed> {
    Ok(session.find_objects(&[Attribute::Id(id.to_vec())])?)
}

/// Destroys both halves.
pub fn destroy(target: &Target, id: &[u8]) -> Result<(), Failed> {
    let session = plain_session(target)?;
    for object in objects(&session, id)? {
        session.destroy_object(object)?;
    }
    Ok(())
}

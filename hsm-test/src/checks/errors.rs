//! Codes, random numbers, forbidden ways out of the token (items 18, 21, 22, 26, 35, 36, 37).

use cryptoki::error::Error;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};

use crate::scratch::{ScratchKey, destroy, initialised, objects, open, plain_session, slot_of};
use crate::{Failed, Target};

/// Bytes of the random test.
const RANDOM: usize = 1 << 20;

/// An imported key does not pass for one that was made inside.
pub fn imported_is_told(target: &Target) -> Result<String, Failed> {
    let _logged_in = open(target)?;
    let session = plain_session(target)?;
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::EcParams(vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
        Attribute::Value(vec![0x11; 32]),
    ];
    let Ok(key) = session.create_object(&template) else {
        return Ok("the token takes no imported key at all".into());
    };
    let lies = [Attribute::Local(true), Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true)];
    let types: Vec<_> = lies.iter().map(Attribute::attribute_type).collect();
    let told = session.get_attributes(key, &types)?;
    session.destroy_object(key)?;
    let found: Vec<_> = told.iter().filter(|value| lies.contains(value)).collect();
    if found.is_empty() {
        Ok("an imported key is told from one made inside".into())
    } else {
        Err(format!("an imported key claims {found:?}").into())
    }
}

/// No mechanism wraps a key that must not leave.
pub fn wrap_refused(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let tried = wraps(target, &key);
    destroy(target, &key.id)?;
    let (tried, wrapped) = tried?;
    if wrapped.is_empty() {
        Ok(format!("{tried} ways to wrap are refused"))
    } else {
        Err(format!("the key was wrapped by {}", wrapped.join(", ")).into())
    }
}

fn wraps(target: &Target, key: &ScratchKey) -> Result<(usize, Vec<String>), Failed> {
    let session = plain_session(target)?;
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.id.to_vec())];
    let private = *session.find_objects(&private)?.first().ok_or("the new private key is not found")?;
    let kek = [Attribute::Token(false), Attribute::Wrap(true), Attribute::ValueLen(32.into())];
    let Ok(kek) = session.generate_key(&Mechanism::AesKeyGen, &kek) else { return Ok((0, Vec::new())) };
    let ways = [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16])];
    let wrapped = ways.iter().filter(|way| session.wrap_key(way, kek, private).is_ok());
    let wrapped = wrapped.map(|way| way.mechanism_type().to_string()).collect();
    session.destroy_object(kek)?;
    Ok((ways.len(), wrapped))
}

/// CKA_ALLOWED_MECHANISMS binds the key. The service binds it too: key → mechanism at enrolment.
pub fn mechanisms_bound(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let session = plain_session(target)?;
    let work = || -> Result<bool, Failed> {
        let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.id.to_vec())];
        let private = *session.find_objects(&private)?.first().ok_or("the new private key is not found")?;
        Ok(session.sign(&Mechanism::EcdsaSha256, private, b"message").is_err())
    };
    let bound = work();
    destroy(target, &key.id)?;
    if bound? {
        Ok(format!("a key for {} does not sign with another mechanism", MechanismType::ECDSA))
    } else {
        Err("CKA_ALLOWED_MECHANISMS is not obeyed".into())
    }
}

/// Helps to tell objects apart.
pub fn unique_names(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let session = plain_session(target)?;
    let object = objects(&session, &key.id)?.first().copied().ok_or("the new key is not found")?;
    let told = session.get_attributes(object, &[AttributeType::UniqueId, AttributeType::PublicKeyInfo]);
    destroy(target, &key.id)?;
    match told.map(|told| told.len()) {
        Ok(2) => Ok("CKA_UNIQUE_ID and CKA_PUBLIC_KEY_INFO are told".into()),
        Ok(told) => Err(format!("{told} of CKA_UNIQUE_ID and CKA_PUBLIC_KEY_INFO are told").into()),
        Err(error) => Err(format!("CKA_UNIQUE_ID and CKA_PUBLIC_KEY_INFO: {error}").into()),
    }
}

/// 1 MiB: no 32 bytes twice, as many ones as zeros within six standard deviations.
pub fn random(target: &Target) -> Result<String, Failed> {
    let module = initialised(target)?;
    let session = module.open_ro_session(slot_of(&module, target)?)?;
    let mut bytes = vec![0; RANDOM];
    for chunk in bytes.chunks_mut(4096) {
        session.generate_random_slice(chunk)?;
    }
    let blocks: std::collections::HashSet<_> = bytes.chunks(32).collect();
    if blocks.len() != RANDOM / 32 {
        return Err("C_GenerateRandom repeats itself".into());
    }
    let ones: i64 = bytes.iter().map(|byte| i64::from(byte.count_ones())).sum();
    let off = (ones - RANDOM as i64 * 4).abs();
    if off > 8_689 {
        Err(format!("C_GenerateRandom is biased: {off} ones too many or too few").into())
    } else {
        Ok(format!("1 MiB without repeats, {off} ones off the middle"))
    }
}

/// What a dead handle is called, and that the session is of use afterwards.
pub fn codes(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let work = || -> Result<String, Failed> {
        let session = plain_session(target)?;
        let public = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(key.id.to_vec())];
        let public = *session.find_objects(&public)?.first().ok_or("the new public key is not found")?;
        let code = |outcome: Result<Vec<u8>, Error>| match outcome {
            Err(Error::Pkcs11(code, _)) => Ok(code),
            Err(other) => Err(other.to_string()),
            Ok(_) => Err("a signature".to_owned()),
        };
        let of_public = code(session.sign(&Mechanism::Ecdsa, public, &[1; 32]))?;
        for object in objects(&session, &key.id)? {
            session.destroy_object(object)?;
        }
        let signing = token.session()?;
        let gone =
            signing.sign(key.handle, &[1; 32]).err().map(|error| error.to_string()).unwrap_or_default();
        let retried = ["ObjectHandleInvalid", "KeyHandleInvalid"].iter().any(|name| gone.contains(name));
        if !retried {
            return Err(format!(
                "a key that is gone is told by {gone:?}: the signer ends instead of looking again"
            )
            .into());
        }
        Ok(format!("a public key: {of_public:?}; a key that is gone: {gone}"))
    };
    let done = work();
    destroy(target, &key.id)?;
    done
}

//! The PIN (items 11, 12, 14).

use std::os::unix::fs::OpenOptionsExt;

use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::scratch::{ScratchKey, destroy, initialised, open, pin, plain_session, slot_of};
use crate::{Failed, Target};

/// Without a login private keys are not there.
pub fn invisible_before_login(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let session = plain_session(target)?;
    session.logout()?;
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.id.to_vec())];
    let seen = session.find_objects(&private)?.len();
    session.login(UserType::User, Some(&AuthPin::new(pin(&target.pin_file)?.expose().into())))?;
    destroy(target, &key.id)?;
    if seen == 0 {
        Ok("private keys are invisible before the login".into())
    } else {
        Err("a private key is seen without a login".into())
    }
}

/// Exactly one wrong PIN; then the right one, which resets the counter.
pub fn wrong_pin(target: &Target) -> Result<String, Failed> {
    let module = initialised(target)?;
    let slot = slot_of(&module, target)?;
    let session = module.open_ro_session(slot)?;
    let right = pin(&target.pin_file)?;
    let wrong: String = right.expose().chars().rev().chain("x".chars()).collect();
    let code = match session.login(UserType::User, Some(&AuthPin::new(wrong.into()))) {
        Err(Error::Pkcs11(code @ (RvError::PinIncorrect | RvError::PinLocked | RvError::PinLenRange), _)) => {
            code
        }
        other => return Err(format!("a wrong PIN gave {other:?} instead of CKR_PIN_INCORRECT").into()),
    };
    let low = module.get_token_info(slot)?.user_pin_count_low();
    session.login(UserType::User, Some(&AuthPin::new(right.expose().into())))?;
    let reset = !module.get_token_info(slot)?.user_pin_count_low();
    if !reset {
        return Err("the right PIN does not reset the counter of wrong ones".into());
    }
    Ok(format!(
        "one wrong PIN gave {code:?}, the counter {}; the right one resets it",
        if low { "shows it" } else { "does not show it" }
    ))
}

/// Ours, not the module's: an empty and an over-long PIN never reach it.
pub fn bad_pins_stay_here(_: &Target) -> Result<String, Failed> {
    let path = std::env::temp_dir().join(format!("hsm-test-pin-{}", std::process::id()));
    for text in [String::new(), "\n".into(), "1".repeat(256)] {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        let taken = pin(&path).is_ok();
        std::fs::remove_file(&path)?;
        if taken {
            return Err(format!("a PIN of {} bytes would be tried", text.len()).into());
        }
    }
    Ok("empty and over-long PINs are refused before any call".into())
}

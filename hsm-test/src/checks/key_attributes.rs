//! What the token says about a new key, and whether it can be talked out of it.

use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use crate::scratch::{ScratchKey, destroy, open, plain_session};
use crate::{Failed, Target};

/// The product's template is obeyed: every attribute reads back as asked for, and the key is found by its id.
pub fn key_template(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let found =
        token.session().and_then(|session| session.find(&key.label, &key.id, key.public.spki(), false));
    destroy(target, &key.id)?;
    found?;
    Ok("a key made with the full template has every attribute asked for".into())
}

/// The private value is unreadable, and no attribute that protects it can be changed, also not in a copy.
pub fn key_stays_inside(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let tried = leaks(target, &key);
    destroy(target, &key.id)?;
    let leaks = tried?;
    if leaks.is_empty() {
        Ok("the private value is unreadable and its protection cannot be changed".into())
    } else {
        Err(format!("the HSM token allowed: {}", leaks.join(", ")).into())
    }
}

fn leaks(target: &Target, key: &ScratchKey) -> Result<Vec<String>, Failed> {
    let session = plain_session(target)?;
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.id.to_vec())];
    let private = *session.find_objects(&private)?.first().ok_or("the new private key is not found")?;
    let mut leaks = Vec::new();
    if !session.get_attributes(private, &[AttributeType::Value])?.is_empty() {
        leaks.push("reading CKA_VALUE".to_owned());
    }
    let weaker = [
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Private(false),
        Attribute::Decrypt(true),
    ];
    for change in weaker {
        if session.update_attributes(private, std::slice::from_ref(&change)).is_ok() {
            leaks.push(format!("setting {change:?}"));
        }
        if let Ok(copy) = session.copy_object(private, &[change.clone(), Attribute::Token(false)]) {
            leaks.push(format!("a copy with {change:?}"));
            session.destroy_object(copy)?;
        }
    }
    Ok(leaks)
}

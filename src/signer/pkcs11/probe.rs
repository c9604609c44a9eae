//! A look at a module that nobody configured yet: which slots, which tokens, what they can do.

use super::inventory::{token_facts, trimmed};
use super::*;
use crate::keys::PublicKey;
use crate::keys::inventory::TokenFacts;

/// A slot with a token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotSeen {
    /// Number at this moment; it changes when tokens come and go.
    pub slot: u64,
    /// Whether the token has a label and a user PIN.
    pub initialised: bool,
    /// Label, make, model, serial number, versions.
    pub token: TokenFacts,
    /// Most sessions at once, as the token says it.
    pub sessions: String,
    /// Shortest and longest PIN, bytes.
    pub pin_bytes: (usize, usize),
    /// What its flags say of the user PIN, if anything is wrong.
    pub pin_warning: Option<&'static str>,
    /// By name, sorted.
    pub mechanisms: Vec<String>,
}

impl Module {
    /// Manufacturer, description and version.
    pub fn library(&self) -> Result<String, HsmError> {
        let info = self.0.get_library_info()?;
        let (maker, what) = (trimmed(info.manufacturer_id()), trimmed(info.library_description()));
        Ok(format!("{maker} {what} {}, PKCS#11 {}", info.library_version(), info.cryptoki_version()))
    }

    /// Every slot with a token.
    pub fn slots(&self) -> Result<Vec<SlotSeen>, HsmError> {
        self.0.get_slots_with_token()?.into_iter().map(|slot| self.slot(slot)).collect()
    }

    fn slot(&self, slot: Slot) -> Result<SlotSeen, HsmError> {
        let info = self.0.get_token_info(slot)?;
        let mut mechanisms: Vec<_> =
            self.0.get_mechanism_list(slot)?.iter().map(ToString::to_string).collect();
        mechanisms.sort();
        let pin_warning = match () {
            () if info.user_pin_locked() => Some("the user PIN is locked"),
            () if info.user_pin_final_try() => Some("one more wrong PIN locks the token"),
            () if info.user_pin_count_low() => Some("wrong PINs were tried since the last login"),
            () if !info.user_pin_initialized() => Some("no user PIN is set"),
            () => None,
        };
        Ok(SlotSeen {
            slot: slot.id(),
            initialised: info.token_initialized(),
            token: token_facts(&self.0, slot)?,
            sessions: format!("{:?}", info.max_session_count()),
            pin_bytes: (info.min_pin_length(), info.max_pin_length()),
            pin_warning,
            mechanisms,
        })
    }
}

impl Token {
    /// Makes a key pair that dies with its session, and signs with it `signatures` times. How many of the
    /// signatures verify.
    pub fn try_throw_away_key(&self, signatures: u8) -> Result<u8, HsmError> {
        let session = open(&self.module, self.slot, self.writable)?;
        let label = "pechat-probe";
        let for_session = |mut template: Vec<Attribute>| {
            template.retain(|attribute| attribute.attribute_type() != AttributeType::Token);
            template.push(Attribute::Token(false));
            template
        };
        let (for_public, for_private) = (
            for_session(public_template(label, [0; 16], Curve::P256)),
            for_session(private_template(label, [0; 16], false, Curve::P256)),
        );
        let (public, private) =
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &for_public, &for_private)?;
        confirm(&session, label, private, &protected(false, Curve::P256))?;
        let spki = public_key(&session, label, public)?;
        let known = PublicKey::from_spki(&spki).ok_or(HsmError::NotP256(label.into()))?;
        let session = TokenSession(session);
        let mut right = 0;
        for number in 0..signatures {
            let digest = [number; 32];
            let raw = session.sign(KeyHandle(private, Curve::P256), &digest)?;
            right += u8::from(known.verifies(&digest, &raw));
        }
        Ok(right)
    }
}

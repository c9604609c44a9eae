//! Finalise, initialise, sessions, two processes (items 7, 9, 15, 39, 40, 44).

use std::process::{Command, Stdio};

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{SessionState, UserType};
use cryptoki::types::AuthPin;

use crate::scratch::{ScratchKey, destroy, initialised, objects, open, pin, plain_session, slot_of};
use crate::{Failed, Target};

/// Rounds of initialise and finalise.
const ROUNDS: usize = 100;
/// Sessions opened at once: four times the most workers that a profile asks for.
const SESSIONS: usize = 64;
/// Open, sign, close.
const LEAK_ROUNDS: usize = 2_000;

/// After C_Finalize and C_Initialize the same key signs.
pub fn comes_back(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    // Held, since the library is unloaded with its last user, and its state with it.
    let module = Pkcs11::new(&target.module)?;
    drop(token);
    module.finalize()?;
    let token = open(target)?;
    let session = token.session()?;
    let found = session.find(&key.label, &key.id, key.public.spki(), false);
    let signed = found.and_then(|handle| session.sign(handle, &[7; 32]));
    destroy(target, &key.id)?;
    if key.public.verifies(&[7; 32], &signed?) {
        Ok("the same key signs after C_Finalize and C_Initialize".into())
    } else {
        Err("after C_Finalize and C_Initialize the signature is wrong".into())
    }
}

/// Nothing crashes when the order is kept.
pub fn finalises(target: &Target) -> Result<String, Failed> {
    for _ in 0..ROUNDS {
        let module = initialised(target)?;
        let session = module.open_ro_session(slot_of(&module, target)?)?;
        session.close()?;
        module.finalize()?;
    }
    Ok(format!("{ROUNDS} rounds of C_Initialize, session, C_Finalize"))
}

/// The login is the application's: all sessions see it, one logout ends it, and so does the last close.
pub fn login_is_shared(target: &Target) -> Result<String, Failed> {
    let module = initialised(target)?;
    let slot = slot_of(&module, target)?;
    let user = AuthPin::new(pin(&target.pin_file)?.expose().into());
    let (one, two) = (module.open_ro_session(slot)?, module.open_ro_session(slot)?);
    let state =
        |session: &cryptoki::session::Session| Ok::<_, Failed>(session.get_session_info()?.session_state());
    one.login(UserType::User, Some(&user))?;
    if state(&two)? != SessionState::RoUser {
        return Err("the login of one session is not seen by another".into());
    }
    two.logout()?;
    if state(&one)? != SessionState::RoPublic {
        return Err("a logout in one session leaves another logged in".into());
    }
    one.login(UserType::User, Some(&user))?;
    one.close()?;
    two.close()?;
    let fresh = module.open_ro_session(slot)?;
    if state(&fresh)? == SessionState::RoPublic {
        Ok("seen by all sessions, ended by one logout and by the last close".into())
    } else {
        Err("the close of the last session does not end the login".into())
    }
}

/// Many sessions, or a clean refusal; and room again after some are closed.
pub fn session_limit(target: &Target) -> Result<String, Failed> {
    use cryptoki::error::{Error, RvError};
    let module = initialised(target)?;
    let slot = slot_of(&module, target)?;
    let mut open = Vec::new();
    while open.len() < SESSIONS {
        match module.open_ro_session(slot) {
            Ok(session) => open.push(session),
            Err(Error::Pkcs11(RvError::SessionCount, _)) => break,
            Err(other) => {
                return Err(format!("session {}: {other} instead of CKR_SESSION_COUNT", open.len()).into());
            }
        }
    }
    let most = open.len();
    if most < 4 {
        return Err(format!("only {most} sessions: two workers need four").into());
    }
    drop(open);
    module.open_ro_session(slot).map_err(|e| format!("no session after {most} were closed: {e}"))?;
    Ok(if most < SESSIONS {
        format!("{most} sessions, then a clean refusal")
    } else {
        format!("at least {most} sessions")
    })
}

/// Descriptors and memory stay as they are.
pub fn leaks(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let round = || -> Result<(), Failed> {
        token.session()?.sign(key.handle, &[1; 32])?;
        Ok(())
    };
    let work = || -> Result<(i64, i64), Failed> {
        (0..100).try_for_each(|_| round())?;
        let before = (descriptors()?, resident()?);
        (0..LEAK_ROUNDS).try_for_each(|_| round())?;
        Ok((descriptors()? - before.0, resident()? - before.1))
    };
    let grown = work();
    destroy(target, &key.id)?;
    let (descriptors, kib) = grown?;
    if descriptors > 0 || kib > 4096 {
        return Err(format!("{LEAK_ROUNDS} rounds leave {descriptors} descriptors and {kib} KiB").into());
    }
    Ok(format!("{LEAK_ROUNDS} rounds of open, sign, close: {descriptors} descriptors, {kib} KiB more"))
}

fn descriptors() -> Result<i64, Failed> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count() as i64)
}

fn resident() -> Result<i64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// Another process on the same token at the same time.
pub fn two_processes(target: &Target) -> Result<String, Failed> {
    let start = || {
        Command::new(std::env::current_exe()?)
            .args(["one", "28", "--token", &target.token, "--module"])
            .arg(&target.module)
            .arg("--pin-file")
            .arg(&target.pin_file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    let both = [start()?, start()?];
    for child in both {
        let out = child.wait_with_output()?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            return Err(format!("signing in two processes at once: {} {}", out.status, said.trim()).into());
        }
    }
    Ok("two processes sign at once, and every signature verifies".into())
}

/// A second pair with the same label is there: the lookup by id does not take it.
pub fn same_label(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let other = ScratchKey::generate(&token)?;
    let work = || -> Result<(), Failed> {
        let session = plain_session(target)?;
        for object in objects(&session, &other.id)? {
            // Keys are made unmodifiable: then the second label is out of reach, which is as good.
            let _ = session.update_attributes(object, &[Attribute::Label(key.label.clone().into_bytes())]);
        }
        let of_id = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.id.to_vec())];
        let found = session.find_objects(&of_id)?.len();
        if found != 1 {
            return Err(format!("{found} private keys have one id").into());
        }
        let signing = token.session()?;
        let handle = signing.find(&key.label, &key.id, key.public.spki(), false)?;
        let raw = signing.sign(handle, &[3; 32])?;
        if key.public.verifies(&[3; 32], &raw) { Ok(()) } else { Err("another key signed".into()) }
    };
    let done = work();
    destroy(target, &key.id)?;
    destroy(target, &other.id)?;
    done.map(|()| "one private and one public key an id; a namesake is not taken".into())
}

//! Which module and which token this is (items 1 to 5).

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use pechat::signer::pkcs11::ModuleFile;

use crate::scratch::{initialised, open, slot_of};
use crate::{Failed, Target};

/// The module's file cannot be exchanged by just anybody.
pub fn module_file(target: &Target) -> Result<String, Failed> {
    let meta = std::fs::metadata(&target.module)?;
    let mode = meta.permissions().mode() & 0o777;
    let ours = std::fs::metadata("/proc/self")?.uid();
    if mode & 0o002 != 0 || (meta.uid() != 0 && meta.uid() != ours) {
        return Err(format!("mode {mode:03o}, owner {}: others can exchange the module", meta.uid()).into());
    }
    let hash = ModuleFile::of(&target.module)?.sha256;
    Ok(format!("SHA-256 {hash}, owner {}, mode {mode:03o}", meta.uid()))
}

/// Label, found once; the login succeeds.
pub fn token_found_once(target: &Target) -> Result<String, Failed> {
    let _logged_in = open(target)?;
    Ok(format!("one token is labelled {:?}, and its PIN is right", target.token))
}

/// PKCS#11 2.40 or later.
pub fn versions(target: &Target) -> Result<String, Failed> {
    let module = initialised(target)?;
    let info = module.get_library_info()?;
    let version = info.cryptoki_version();
    if (version.major(), version.minor()) < (2, 40) {
        return Err(format!("PKCS#11 {version}: 2.40 or later is needed").into());
    }
    let token = module.get_token_info(slot_of(&module, target)?)?;
    let (library, firmware) = (info.library_version(), token.firmware_version());
    Ok(format!("PKCS#11 {version}, library {library}, firmware {firmware}"))
}

/// C_GetTokenInfo gives something that can be read, clock included.
pub fn token_info(target: &Target) -> Result<String, Failed> {
    let module = initialised(target)?;
    let info = module.get_token_info(slot_of(&module, target)?)?;
    Ok(format!("{} {}, clock: {:?}", info.manufacturer_id(), info.model(), info.utc_time()))
}

/// The calls that the service makes.
pub fn functions(target: &Target) -> Result<String, Failed> {
    let module = Pkcs11::new(&target.module)?;
    let needed = [
        Function::GetSlotList,
        Function::GetTokenInfo,
        Function::GetMechanismList,
        Function::OpenSession,
        Function::CloseSession,
        Function::GetSessionInfo,
        Function::Login,
        Function::FindObjectsInit,
        Function::FindObjects,
        Function::FindObjectsFinal,
        Function::GetAttributeValue,
        Function::GenerateKeyPair,
        Function::SignInit,
        Function::Sign,
    ];
    let lacking: Vec<_> = needed.into_iter().filter(|call| !module.is_fn_supported(*call)).collect();
    if lacking.is_empty() {
        Ok(format!("{} functions are there", needed.len()))
    } else {
        Err(format!("missing: {lacking:?}").into())
    }
}

/// A second C_Initialize is noticed: otherwise two owners in one process would share a state unknowingly.
pub fn initialise_once(target: &Target) -> Result<String, Failed> {
    use cryptoki::error::{Error, RvError};
    let _first = initialised(target)?;
    let second = Pkcs11::new(&target.module)?;
    match second.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
            Ok("a second C_Initialize is refused".into())
        }
        other => Err(format!("a second C_Initialize gave {other:?}").into()),
    }
}

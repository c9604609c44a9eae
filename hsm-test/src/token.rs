//! `hsm-test token`: a SoftHSM token for development. Its PINs never stand on a command line.

use std::path::{Path, PathBuf};

use clap::Args;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::Failed;
use crate::scratch::pin;

/// Where systems put SoftHSM.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Directory for the configuration and the token; made if it is not there
    #[arg(long, value_name = "PATH")]
    dir: PathBuf,
    /// Label of the new token: 1 to 32 bytes
    #[arg(long, value_name = "LABEL")]
    label: String,
    /// File with the user PIN, mode 600
    #[arg(long, value_name = "PATH")]
    pin_file: PathBuf,
    /// File with the security officer's PIN, mode 600; without it the user PIN serves, which is for tests only
    #[arg(long, value_name = "PATH")]
    so_pin_file: Option<PathBuf>,
    /// SoftHSM module, where it is in an unusual place
    #[arg(long, value_name = "PATH")]
    module: Option<PathBuf>,
}

/// Makes the token and prints the environment line under which the module finds it.
pub fn run(args: &TokenArgs) -> Result<(), Failed> {
    if !(1..=32).contains(&args.label.len()) {
        return Err("a token label has 1 to 32 bytes".into());
    }
    let module =
        args.module.clone().or_else(softhsm).ok_or("SoftHSM is not installed; name it with --module")?;
    let conf = configure(&args.dir)?;
    // The module reads its place from the environment, which only a new process can be given: this one starts
    // itself again with it.
    if std::env::var_os("SOFTHSM2_CONF").is_none_or(|set| Path::new(&set) != conf) {
        let again = std::process::Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env("SOFTHSM2_CONF", &conf)
            .status()?;
        return if again.success() { Ok(()) } else { Err("the token was not made".into()) };
    }
    let user = AuthPin::new(pin(&args.pin_file)?.expose().into());
    let officer = match &args.so_pin_file {
        Some(path) => AuthPin::new(pin(path)?.expose().into()),
        None => user.clone(),
    };
    make(&module, &args.label, &officer, &user)?;
    println!("SOFTHSM2_CONF={}", conf.display());
    Ok(())
}

fn softhsm() -> Option<PathBuf> {
    MODULES.iter().map(PathBuf::from).find(|path| path.exists())
}

fn configure(dir: &Path) -> Result<PathBuf, Failed> {
    use std::os::unix::fs::DirBuilderExt;
    let tokens = std::path::absolute(dir)?.join("tokens");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&tokens)?;
    let conf = tokens.with_file_name("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    std::fs::write(&conf, text)?;
    Ok(conf)
}

fn make(path: &Path, label: &str, officer: &AuthPin, user: &AuthPin) -> Result<(), Failed> {
    let module = Pkcs11::new(path)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let mut free = None;
    for slot in module.get_slots_with_token()? {
        let info = module.get_token_info(slot)?;
        if info.token_initialized() && info.label() == label {
            return Err(format!("there is already a token labelled {label:?}").into());
        }
        if !info.token_initialized() {
            free = Some(slot);
        }
    }
    let slot = free.ok_or("there is no free slot")?;
    module.init_token(slot, officer, label)?;
    let session = module.open_rw_session(slot)?;
    session.login(UserType::So, Some(officer))?;
    session.init_pin(user)?;
    Ok(session.logout()?)
}

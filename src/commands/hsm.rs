//! `pechat hsm`: a look at an HSM before anything is configured.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};

use super::serve::{ServeError, during};
use crate::signer::pin::{OpenPin, PinSource};
use crate::signer::pkcs11::Module;
use crate::signer::pkcs11::probe::SlotSeen;

/// Signatures with the throw-away key.
const SIGNATURES: u8 = 100;
/// The mechanisms that the appliance needs.
const NEEDED: [&str; 2] = ["CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA"];

/// Arguments of `pechat hsm`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  pechat hsm probe --module /usr/lib/softhsm/libsofthsm2.so --token-label dev --pin-file pin"
)]
pub struct HsmArgs {
    #[command(subcommand)]
    command: HsmCommand,
}

#[derive(Debug, Subcommand)]
enum HsmCommand {
    /// Show slots, tokens, mechanisms and limits of a module; with a PIN, try a throw-away key and print the
    /// configuration.
    #[command(
        after_help = "Example:\n  pechat hsm probe --module /usr/lib/softhsm/libsofthsm2.so --token-label dev --pin-file pin\n\n\
        Without --token-label nothing is logged in to. The PIN is tried once."
    )]
    Probe(ProbeArgs),
}

#[derive(Debug, Args)]
struct ProbeArgs {
    /// PKCS#11 module (shared library) of the HSM
    #[arg(long, value_name = "PATH")]
    module: PathBuf,
    /// Log in to this token and try a key that dies with its session
    #[arg(long, value_name = "LABEL", requires = "pin_file")]
    token_label: Option<String>,
    /// Serial number of the token, where several have the same label
    #[arg(long, value_name = "SERIAL")]
    token_serial: Option<String>,
    /// File with the user PIN: of this user, mode 600
    #[arg(long, value_name = "PATH", requires = "token_label")]
    pin_file: Option<PathBuf>,
}

/// Runs the subcommand.
pub fn run(args: HsmArgs) -> Result<(), ServeError> {
    let HsmCommand::Probe(args) = args.command;
    let module = Module::load(&args.module).map_err(during("module"))?;
    println!("module  {}", args.module.display());
    println!("        {}", module.library().map_err(during("module"))?);
    let slots = module.slots().map_err(during("slots"))?;
    if slots.is_empty() {
        println!("no slot has a token: is the device plugged in, and does its own configuration name it?");
    }
    for slot in &slots {
        print!("{}", text_of(slot));
    }
    match (&args.token_label, &args.pin_file) {
        (Some(label), Some(pin)) => try_token(module, &args, label, pin),
        _ => {
            println!(
                "\nnext: pechat hsm probe --module {} --token-label LABEL --pin-file FILE",
                args.module.display()
            );
            Ok(())
        }
    }
}

fn text_of(seen: &SlotSeen) -> String {
    let token = &seen.token;
    let state = if seen.initialised { format!("token {:?}", token.label) } else { "not initialised".into() };
    let lacks: Vec<_> = NEEDED.into_iter().filter(|m| !seen.mechanisms.iter().any(|has| has == m)).collect();
    let verdict =
        if lacks.is_empty() { "has what pechat needs".into() } else { format!("LACKS {}", lacks.join(", ")) };
    let warning = seen.pin_warning.map(|text| format!("; {text}")).unwrap_or_default();
    let (shortest, longest) = seen.pin_bytes;
    format!(
        "slot {}  {state}: {} {}, serial {}, hardware {}, firmware {}\n        sessions {}; PIN {shortest} to {longest} \
         bytes{warning}\n        {} mechanisms: {verdict}\n        {}\n",
        seen.slot,
        token.manufacturer,
        token.model,
        token.serial,
        token.hardware,
        token.firmware,
        seen.sessions,
        seen.mechanisms.len(),
        seen.mechanisms.join(" ")
    )
}

fn try_token(module: Module, args: &ProbeArgs, label: &str, pin_file: &Path) -> Result<(), ServeError> {
    let pin =
        PinSource::File(pin_file.to_path_buf()).open().and_then(OpenPin::read).map_err(during("PIN"))?;
    let found = module.token(label, args.token_serial.as_deref()).map_err(during("token"))?;
    let token = found.login(&pin, false).map_err(during("login"))?;
    println!("\nlogin   right");
    let begin = Instant::now();
    let right = token.try_throw_away_key(SIGNATURES).map_err(during("throw-away key"))?;
    if right != SIGNATURES {
        let wrong = SIGNATURES - right;
        return Err(ServeError(format!(
            "{wrong} of {SIGNATURES} signatures of the throw-away key do not verify: this HSM must not be used"
        )));
    }
    let rate = f64::from(SIGNATURES) / begin.elapsed().as_secs_f64();
    println!(
        "key     made, {SIGNATURES} signatures verify, about {rate:.0} a second with one session; gone again"
    );
    println!("\n# for the configuration (deploy/examples/pechat.toml explains each key)\n[hsm]");
    let text = |value: &str| toml::Value::from(value).to_string();
    println!("module = {}", text(&args.module.display().to_string()));
    println!("token_label = {}", text(label));
    println!("pin_file = {}", text(&pin_file.display().to_string()));
    println!("workers = 2            # `hsm-test bench --threads N` says how many pay off");
    println!("session_copies = false # true only where the vendor's profile in firmware-config/hsm says so");
    println!("\nnext: hsm-test check, on a scratch token of the same device (docs/hsm.md)");
    Ok(())
}

//! `hsm-test check`: the promises, one child process each, each with a deadline.

mod concurrency;
mod key_attributes;
mod mechanisms;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::scratch::open;
use crate::{Failed, Target};

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    target: Target,
    /// Longest time for one promise
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    deadline: u64,
}

#[derive(Debug, Args)]
pub struct OneArgs {
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Does it; the text says what was seen.
type Promise = fn(&Target) -> Result<String, Failed>;

/// Names are what an operator reads; the first words of the result say what was found.
const PROMISES: [(&str, Promise); 7] = [
    ("token-found-once", token_found_once),
    ("initialise-once", concurrency::initialise_once),
    ("os-locking", concurrency::os_locking),
    ("key-template", key_attributes::key_template),
    ("key-stays-inside", key_attributes::key_stays_inside),
    ("signatures-verify", mechanisms::signatures_verify),
    ("wrong-length", mechanisms::wrong_length),
];

/// Whether all promises are kept.
pub fn run(args: &CheckArgs) -> Result<bool, Failed> {
    let mut kept = true;
    for (name, _) in PROMISES {
        let (good, text) = in_a_child(name, args)?;
        println!("{} {name}: {text}", if good { "ok  " } else { "FAIL" });
        kept &= good;
    }
    Ok(kept)
}

fn in_a_child(name: &str, args: &CheckArgs) -> Result<(bool, String), Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["one", name, "--token", &args.target.token, "--module"])
        .arg(&args.target.module)
        .arg("--pin-file")
        .arg(&args.target.pin_file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let until = Instant::now() + Duration::from_secs(args.deadline);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Ok((false, format!("no result after {} s: killed", args.deadline)));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut text)?;
    }
    let text = text.trim().replace('\n', "; ");
    let text = if text.is_empty() { format!("the process ended with {status}") } else { text };
    Ok((status.success(), text))
}

/// One promise, in this process.
pub fn run_one(args: &OneArgs) -> Result<(), Failed> {
    let promise = PROMISES.iter().find(|(name, _)| *name == args.name).ok_or("no such promise")?;
    println!("{}", promise.1(&args.target)?);
    Ok(())
}

fn token_found_once(target: &Target) -> Result<String, Failed> {
    let _logged_in = open(target)?;
    Ok(format!("one token is labelled {:?}, and its PIN is right", target.token))
}

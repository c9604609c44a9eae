//! `hsm-test check`: the numbered list of promises, one child process each, each with a deadline.

mod concurrency;
mod errors;
mod identity;
mod key_attributes;
mod lifecycle;
mod list;
mod mechanisms;
mod pins;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::{Failed, Target};
use list::{Check, Kind, LIST, Way};

/// Only tokens whose label starts so are written to.
const SCRATCH: &str = "scratch";

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hsm-test check --module /usr/lib/softhsm/libsofthsm2.so --token scratch-1 --pin-file pin\n\n\
    Checks that make keys or try a wrong PIN run only on a token whose label starts with \"scratch\"."
)]
pub struct CheckArgs {
    #[command(flatten)]
    target: Target,
    /// Longest time for one promise
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    deadline: u64,
    /// Only these numbers of the list
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    only: Vec<u8>,
}

#[derive(Debug, Args)]
pub struct OneArgs {
    number: u8,
    #[command(flatten)]
    target: Target,
}

/// How many of each.
#[derive(Default)]
struct Count {
    pass: usize,
    warn: usize,
    fail: usize,
    skip: usize,
}

/// Whether no promise that blocks was broken.
pub fn run(args: &CheckArgs) -> Result<bool, Failed> {
    let scratch = args.target.token.starts_with(SCRATCH);
    let mut count = Count::default();
    for check in LIST.iter().filter(|check| args.only.is_empty() || args.only.contains(&check.number)) {
        let (word, text) = match check.way {
            Way::Elsewhere(how) => ("skip", format!("not tried here: {how}")),
            Way::Writes(_) if !scratch => {
                ("skip", format!("writes to the token, whose label does not start with {SCRATCH:?}"))
            }
            Way::Reads(_) | Way::Writes(_) => judge(check, in_a_child(check.number, args)?),
        };
        match word {
            "pass" => count.pass += 1,
            "warn" => count.warn += 1,
            "skip" => count.skip += 1,
            _ => count.fail += 1,
        }
        println!("{:2} {word} {}: {text}", check.number, check.name);
        if word == "fail" || word == "warn" {
            println!("        breaks: {}", check.breaks);
        }
    }
    let Count { pass, warn, fail, skip } = count;
    println!("{pass} pass, {warn} warn, {fail} fail, {skip} skip");
    if fail > 0 {
        println!("this HSM must not be used until what fails is understood: docs/hsm.md");
    } else if !scratch {
        println!("not qualified: the checks that write need a scratch token of the same device");
    }
    Ok(fail == 0)
}

fn judge(check: &Check, (good, text): (bool, String)) -> (&'static str, String) {
    match (good, &check.kind) {
        (true, _) => ("pass", text),
        (false, Kind::Warn) => ("warn", text),
        (false, Kind::Block) => ("fail", text),
    }
}

fn in_a_child(number: u8, args: &CheckArgs) -> Result<(bool, String), Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["one", &number.to_string(), "--token", &args.target.token, "--module"])
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
    let check = LIST.iter().find(|check| check.number == args.number).ok_or("no such number")?;
    match check.way {
        Way::Reads(promise) | Way::Writes(promise) => println!("{}", promise(&args.target)?),
        Way::Elsewhere(how) => return Err(how.into()),
    }
    Ok(())
}

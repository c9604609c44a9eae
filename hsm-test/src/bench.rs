//! `hsm-test bench`: how many P-256 signatures a second, by the module alone or through a signer process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::Args;
use pechat::keys::client::{How, SignerCommand, connect, generate};
use pechat::keys::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKeys};

use crate::scratch::{ScratchKey, destroy, open};
use crate::{Failed, Target};

#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    target: Target,
    /// Threads, each with a session of its own
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    threads: usize,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    seconds: u64,
    /// Measure through a signer process of this pechat program, every signature verified
    #[arg(long, value_name = "PATH")]
    through: Option<PathBuf>,
    /// Callers at once, with --through
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    callers: usize,
}

/// Prints one line.
pub fn run(args: &BenchArgs) -> Result<(), Failed> {
    let time = Duration::from_secs(args.seconds.max(1));
    let (what, latencies) = match &args.through {
        None => ("bare", bare(args, time)?),
        Some(program) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            ("through the signer", runtime.block_on(through(args, program, time))?)
        }
    };
    println!("{what}: {}", summary(args.threads, time, latencies));
    Ok(())
}

fn summary(threads: usize, time: Duration, mut latencies: Vec<u32>) -> String {
    latencies.sort_unstable();
    let part = |of: usize| latencies.get(latencies.len() * of / 1000).copied().unwrap_or(0);
    let rate = latencies.len() as f64 / time.as_secs_f64();
    format!(
        "{threads} threads, {} signatures in {} s, {rate:.0}/s, p50 {} us, p99 {} us, p99.9 {} us",
        latencies.len(),
        time.as_secs(),
        part(500),
        part(990),
        part(999)
    )
}

/// C_Sign and nothing else. Latencies in microseconds.
fn bare(args: &BenchArgs, time: Duration) -> Result<Vec<u32>, Failed> {
    let token = open(&args.target)?;
    let key = ScratchKey::generate(&token)?;
    let sessions = (0..args.threads).map(|_| token.session()).collect::<Result<Vec<_>, _>>()?;
    let start = Barrier::new(args.threads);
    let measured: Result<Vec<_>, _> = std::thread::scope(|scope| {
        let running: Vec<_> = sessions
            .into_iter()
            .map(|session| {
                let (start, key) = (&start, &key);
                scope.spawn(move || {
                    let mut latencies = Vec::with_capacity(1 << 16);
                    start.wait();
                    let begun = Instant::now();
                    while begun.elapsed() < time {
                        let digest = [latencies.len() as u8; 32];
                        let one = Instant::now();
                        session.sign(key.handle, &digest)?;
                        latencies.push(one.elapsed().as_micros() as u32);
                    }
                    Ok::<_, pechat::signer::pkcs11::HsmError>(latencies)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")).collect()
    });
    destroy(&args.target, &key.id)?;
    let per_thread = measured?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(per_thread.concat())
}

/// As the service signs: queue, socket, signer process, HSM, verification.
async fn through(args: &BenchArgs, program: &Path, time: Duration) -> Result<Vec<u32>, Failed> {
    let dir = std::env::temp_dir().join(format!("hsm-test-{}", std::process::id()));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&dir)?;
    let measured = through_in(args, program, time, &dir).await;
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn through_in(
    args: &BenchArgs,
    program: &Path,
    time: Duration,
    dir: &Path,
) -> Result<Vec<u32>, Failed> {
    let label = KeyLabel::new(&format!("hsm-test-{}", std::process::id()))?;
    let command = |more: &[OsString]| {
        let mut arguments: Vec<OsString> = vec!["signer".into(), "--module".into()];
        arguments.push(args.target.module.clone().into());
        arguments.extend(["--token-label".into(), args.target.token.clone().into(), "--pin-file".into()]);
        arguments.push(args.target.pin_file.clone().into());
        arguments.extend(["--workers".into(), args.threads.to_string().into()]);
        arguments.extend_from_slice(more);
        SignerCommand::new(program, arguments, dir.join("signer.sock"))
    };
    let pinned = generate(command(&[]), &[(label.clone(), KeyPurpose::Canary)]).await?;
    let list = dir.join("keys.json");
    pinned.save(&list)?;
    let how = How::Child(command(&["--keys".into(), list.into()]));
    let measured = load(pinned.clone(), how, &label, args.callers, time).await;
    let _logged_in = open(&args.target)?;
    for key in &pinned.keys {
        destroy(&args.target, &key.id_bytes()?)?;
    }
    Ok(measured?)
}

async fn load(
    pinned: PinnedKeys,
    how: How,
    label: &KeyLabel,
    callers: usize,
    time: Duration,
) -> Result<Vec<u32>, KeyError> {
    let keys = connect(pinned, how, callers, Duration::from_secs(10)).await?;
    let begun = Instant::now();
    let running: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(call(keys.clone(), label.clone(), caller, begun, time)))
        .collect();
    let mut latencies = Vec::new();
    for caller in running {
        let one = caller.await.map_err(|e| KeyError::Down(e.to_string()))?;
        latencies.extend(one?);
    }
    if let Some(control) = keys.control() {
        control.stop().await;
    }
    Ok(latencies)
}

async fn call(
    keys: Keys,
    label: KeyLabel,
    caller: usize,
    begun: Instant,
    time: Duration,
) -> Result<Vec<u32>, KeyError> {
    let mut latencies = Vec::new();
    while begun.elapsed() < time {
        let message = (caller as u64 * 1_000_000_007 + latencies.len() as u64).to_be_bytes();
        let one = Instant::now();
        keys.sign(&label, &message).await?;
        latencies.push(one.elapsed().as_micros() as u32);
    }
    Ok(latencies)
}

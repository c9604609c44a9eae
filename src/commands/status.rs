//! `pechat status`: how a running appliance is, in one screen.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::Config;
use crate::http::overview::Overview;

/// Arguments of `pechat status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Exit 0 when all is well, 1 when something needs attention, 2 when nothing answers.
pub fn run(args: StatusArgs) -> ExitCode {
    let overview = match Config::load(&args.config).map_err(|e| e.to_string()).and_then(|c| fetch(&c)) {
        Ok(overview) => overview,
        Err(error) => {
            eprintln!("pechat status: {error}");
            return ExitCode::from(2);
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&overview).unwrap_or_default());
    } else {
        for line in &overview.lines {
            println!("{}  {:<15} {}", if line.ok { "ok  " } else { "LOOK" }, line.code, line.text);
            if !line.ok {
                println!("      {:<15} do: {}", "", line.action);
            }
        }
    }
    if overview.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks the running service over its loopback listener.
pub fn fetch(config: &Config) -> Result<Overview, String> {
    let url = format!("http://{}/status", config.listen.metrics);
    let agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().new_agent();
    let mut answer = agent.get(&url).call().map_err(|e| format!("nothing answers on {url}: {e}"))?;
    let text = answer.body_mut().read_to_string().map_err(|e| format!("{url}: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("{url} answered what is not a status: {e}"))
}

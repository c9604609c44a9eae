//! placeholder
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {}
pub fn run(_args: VerifyArgs) -> std::process::ExitCode { std::process::ExitCode::FAILURE }

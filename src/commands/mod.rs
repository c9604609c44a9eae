//! One file a command; `serve` is the only one that knows the whole.

/// Where the configuration is looked for unless the command line says otherwise.
pub const CONFIG_PATH: &str = "/etc/pechat/pechat.toml";

pub mod audit;
pub mod check_config;
pub mod client;
pub mod conformance;
pub mod demo;
pub mod doctor;
pub mod evidence;
mod heads;
pub mod hsm;
pub mod init;
pub mod journal;
mod layout;
mod second_key;
pub mod serve;
pub mod signer;
pub mod status;
mod validation;
pub mod verify;
pub mod witness;

//! Who is asking (exact certificate → identity) and what that role may ask.

pub mod identity;
pub mod role;

pub use identity::{Directory, Identity};
pub use role::{Action, Role};

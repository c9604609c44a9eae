//! The process that owns the HSM token.

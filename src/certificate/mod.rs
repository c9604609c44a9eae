//! Certificates: requests judged, to-be-signed bytes frozen, issued, revoked, listed.

use std::sync::Arc;

/// Issues and revokes; holds the store, the HSM keys and the journal. Cheap to clone.
#[derive(Clone)]
pub struct Issuer(#[allow(dead_code)] Arc<Inner>);
struct Inner {}

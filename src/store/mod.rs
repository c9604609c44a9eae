//! The store of institutions, identities, requests and certificates.

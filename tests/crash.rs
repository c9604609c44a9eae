//! `kill -9` of either process at any moment while a register seals: the client finishes, no record
//! is sealed twice, none is lost, the chain verifies.

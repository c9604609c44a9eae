//! Old state is never taken for the newest: a known head that the log lacks stops all writing.

#[path = "journal_rollback/detection.rs"]
mod detection;
#[path = "journal/fixture.rs"]
#[allow(dead_code)]
mod fixture;
#[path = "journal_rollback/gap.rs"]
mod gap;
#[path = "journal_rollback/resurrection.rs"]
mod resurrection;

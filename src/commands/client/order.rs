//! `pechat client freeze` and `hand-over`: an officer's agreement to an order about a journal.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ClientError;
use super::http::Connection;
use super::settings::Settings;

/// Arguments of `pechat client freeze`.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// The journal.
    #[arg(long)]
    pub journal: String,
    /// The order behind it; both officers give exactly the same text.
    #[arg(long, value_name = "TEXT")]
    pub description: String,
}

/// Arguments of `pechat client hand-over`.
#[derive(Debug, Args)]
pub struct HandOverArgs {
    /// The journal.
    #[arg(long)]
    pub journal: String,
    /// Id of the institution whose journal it shall be.
    #[arg(long, value_name = "INSTITUTION")]
    pub to: String,
    /// The order behind it; both officers give exactly the same text.
    #[arg(long, value_name = "TEXT")]
    pub description: String,
}

#[derive(Deserialize)]
struct Answer {
    sha256: String,
    seq: Option<u64>,
}

/// Agrees to freeze; what came of it, in words.
pub fn freeze(args: &FreezeArgs, settings: &Settings) -> Result<String, ClientError> {
    let body = json!({ "description": args.description });
    let answer = order(settings, &args.journal, "freeze", &body)?;
    Ok(said(&args.journal, &answer, |seq| format!("frozen: entry {seq} is its final record")))
}

/// Agrees to hand over; what came of it, in words.
pub fn hand_over(args: &HandOverArgs, settings: &Settings) -> Result<String, ClientError> {
    let body = json!({ "to": args.to, "description": args.description });
    let answer = order(settings, &args.journal, "hand-over", &body)?;
    Ok(said(&args.journal, &answer, |seq| format!("handed over: from entry {seq} on it is {}'s", args.to)))
}

fn order(settings: &Settings, journal: &str, act: &str, body: &Value) -> Result<Answer, ClientError> {
    let connection = Connection::open(settings)?;
    Ok(connection.post_json(&format!("/v1/journals/{journal}/{act}"), body)?)
}

fn said(journal: &str, answer: &Answer, done: impl Fn(u64) -> String) -> String {
    match answer.seq {
        Some(seq) => format!("{journal} is {}", done(seq)),
        None => format!(
            "{journal}: agreed to, and awaiting another officer's agreement to the same text (order {})",
            answer.sha256
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_officer_is_told_whether_another_one_is_needed() {
        let done = |seq| format!("frozen: entry {seq} is its final record");
        let first = said("land", &Answer { sha256: "ab".into(), seq: None }, done);
        assert!(first.contains("awaiting another officer") && first.contains("ab"), "{first}");
        let second = said("land", &Answer { sha256: "ab".into(), seq: Some(9) }, done);
        assert_eq!(second, "land is frozen: entry 9 is its final record");
    }
}

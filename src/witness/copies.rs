//! Where a copy of the newest signed head is kept: a file, or an address that another machine answers.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::client::{agent, with_roots};
use crate::journal::checkpoint::MAX_NOTE;
use crate::journal::known::Known;

/// A source must have answered after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// One entry of `journal.known_heads`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum HeadSource {
    /// An absolute path.
    File(PathBuf),
    /// `http://…` or `https://…`; what it answers is signed, so how it travels does not matter.
    Url(String),
}

impl From<String> for HeadSource {
    fn from(text: String) -> Self {
        let url = text.starts_with("http://") || text.starts_with("https://");
        if url { Self::Url(text) } else { Self::File(text.into()) }
    }
}

impl HeadSource {
    /// Whether it means the same wherever the service is started.
    pub fn is_absolute(&self) -> bool {
        match self {
            Self::File(path) => path.is_absolute(),
            Self::Url(_) => true,
        }
    }

    /// Adds the head that the source holds. Blocks for at most five seconds.
    ///
    /// A file that is there and does not verify is a contradiction. An address that answers something else is
    /// only silent: whoever sits on the way could have kept it from answering as well.
    pub fn read(&self, known: &mut Known, site: &str, head_key_spki: &[u8]) {
        match self {
            Self::File(path) => {
                if !known.read(path, site, head_key_spki) {
                    let path = path.display();
                    tracing::warn!(%path, "no known head here: a lost tail cannot be told by this file");
                }
            }
            Self::Url(url) => {
                let mut found = Known::default();
                let said = fetch(url).map(|text| found.add(url, Ok(text), site, head_key_spki));
                let why = said.err().or_else(|| found.doubts.first().map(ToString::to_string));
                if let Some(why) = why {
                    tracing::warn!(
                        url,
                        why,
                        "no known head here: a lost tail cannot be told by this address"
                    );
                }
                known.heads.append(&mut found.heads);
            }
        }
    }
}

fn fetch(url: &str) -> Result<String, String> {
    let agent =
        if url.starts_with("https://") { with_roots(agent(PATIENCE), None)? } else { agent(PATIENCE) };
    let mut answer = agent.build().new_agent().get(url).call().map_err(|e| e.to_string())?;
    if answer.status().as_u16() != 200 {
        return Err(format!("it answered {}", answer.status()));
    }
    answer.body_mut().with_config().limit(MAX_NOTE as u64).read_to_string().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for (text, url) in [("http://a/head", true), ("https://a/head", true), ("/srv/http://a", false)] {
            assert_eq!(matches!(HeadSource::from(text.to_owned()), HeadSource::Url(_)), url, "{text}");
        }
    }
}

//! MANIFEST: a line `SHA-256  NAME` a file, sorted by name, as `sha256sum --check` reads it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::digest::Digest;

/// The file's name.
pub const MANIFEST: &str = "MANIFEST";

/// Files of a folder and what they must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest(pub BTreeMap<String, Digest>);

impl Manifest {
    /// The lines.
    pub fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (name, digest)| {
            let _ = writeln!(text, "{digest}  {name}");
            text
        })
    }

    /// Reads exactly what [`Manifest::text`] writes; the error says on which line it does not.
    pub fn parse(text: &str) -> Result<Manifest, String> {
        let mut files = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let pair = line.split_once("  ").and_then(|(digest, name)| Some((name, digest.parse().ok()?)));
            let bad = || format!("line {} is not a SHA-256, two spaces and a file's name", index + 1);
            let (name, digest) = pair.filter(|(name, _)| is_plain(name)).ok_or_else(bad)?;
            files.insert(name.to_owned(), digest);
        }
        let manifest = Manifest(files);
        if manifest.text() == text {
            Ok(manifest)
        } else {
            Err("its lines are not in their one order and form".into())
        }
    }
}

/// A file of the folder itself: no way leads out of it.
pub fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && !name.starts_with('.') && name != MANIFEST && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let files = ["root.pem", "journal.export", "FORMAT.md"];
        Manifest(files.map(|name| (name.to_owned(), Digest::of(name.as_bytes()))).into())
    }

    #[test]
    fn a_manifest_survives_its_text() {
        assert_eq!(Manifest::parse(&manifest().text()), Ok(manifest()));
        assert!(manifest().text().ends_with("  root.pem\n"));
    }

    #[test]
    fn a_manifest_with_anything_changed_is_refused_or_says_something_else() {
        let text = manifest().text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert_ne!(Manifest::parse(&changed), Ok(manifest()), "byte {at}");
        }
        let lines: Vec<_> = text.lines().collect();
        let swapped = format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]);
        for bad in [swapped, text.to_uppercase(), text.trim_end().to_owned(), format!("{text}\n")] {
            assert!(Manifest::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["../root.pem", "/etc/passwd", "a/b", "..", ".hidden", "", "MANIFEST", "a b", "é"] {
            let line = format!("{}  {name}\n", Digest::of(b"x"));
            assert!(Manifest::parse(&line).is_err(), "{name}");
        }
    }
}

//! The text of a signed note, shared by every receipt under it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A signed note (C2SP `signed-note`): text whose JSON form is made once, since all receipts of one seal carry
/// the same some 3 KB, and escaping them again for each was a twentieth of a seal's processor time. Cheap to clone.
#[derive(Clone)]
pub struct Note(Arc<Inner>);

struct Inner {
    text: String,
    json: OnceLock<Box<RawValue>>,
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self(Arc::new(Inner { text, json: OnceLock::new() }))
    }
}

impl From<&str> for Note {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Deref for Note {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq for Note {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Note {}

/// As a JSON string; only [`serde_json`] understands what is handed to the serializer.
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.json.get() {
            Some(json) => json.serialize(serializer),
            None => {
                let json = to_raw_value(&**self).map_err(serde::ser::Error::custom)?;
                self.0.json.get_or_init(|| json).serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_the_same_json_string_each_time_and_reads_back() {
        let note = Note::from("a.b/root\n7\n\"\\\u{1}é\n\n— a.b/root AAAA\n");
        let plain = serde_json::to_string(&*note).unwrap();
        for _ in 0..2 {
            assert_eq!(serde_json::to_string(&note).unwrap(), plain);
        }
        assert_eq!(serde_json::from_str::<Note>(&plain).unwrap(), note);
    }
}

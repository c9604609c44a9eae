//! Names of tiles and entry bundles, C2SP `tlog-tiles`: `tile/<L>/<N>[.p/<W>]` and
//! `tile/entries/<N>[.p/<W>]`. Pure; whatever is read is written as the same text.

use std::fmt;

/// Hashes, or entries, of a full tile.
pub const WIDTH: u16 = 256;
/// Highest level whose tiles 2^64 leaves can fill in part.
pub const MAX_LEVEL: u8 = 7;
/// Longest text: six further groups of an index and a width.
const MAX_TEXT: usize = 64;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// Hashes of complete subtrees of 256^level leaves.
    Hashes {
        /// 0 to 7.
        level: u8,
    },
    /// The leaves' texts or bytes, each after its length (u16).
    Entries,
}

/// The name of one tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TileName {
    /// What it holds.
    pub content: Content,
    /// Its number within the level, from 0.
    pub index: u64,
    /// 1 to 255, or 256 when it is full.
    pub width: u16,
}

impl TileName {
    /// Reads the one form a name has, from `tile/` on. `None` for any other: empty or surplus parts, `..`,
    /// percent signs, groups of more or less than three digits, leading zero groups, `.p/0`, `.p/256`.
    pub fn parse(text: &str) -> Option<TileName> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
        let content = match kind {
            "entries" => Content::Entries,
            level => Content::Hashes { level: small(level, u16::from(MAX_LEVEL))? as u8 },
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, small(width, WIDTH - 1).filter(|width| *width > 0)?),
            None => (rest, WIDTH),
        };
        let name = TileName { content, index: index(number)?, width };
        Some(name).filter(|name| name.to_string() == text)
    }

    /// Leaves of one hash or entry of the tile.
    fn span(&self) -> u64 {
        match self.content {
            Content::Hashes { level } => 1 << (8 * level.min(MAX_LEVEL)),
            Content::Entries => 1,
        }
    }

    /// Leaves a tree must have for this tile to be there; `None` if no tree has so many.
    pub fn needs(&self) -> Option<u64> {
        let hashes = self.index.checked_mul(u64::from(WIDTH))?.checked_add(u64::from(self.width))?;
        hashes.checked_mul(self.span())
    }

    /// Whether a tree of `size` leaves has this very tile: full, or of the width its right edge has.
    pub fn is_of(&self, size: u64) -> bool {
        let hashes = size / self.span();
        let wide = u64::from(WIDTH);
        match self.width {
            WIDTH => hashes / wide > self.index,
            width => hashes / wide == self.index && hashes % wide == u64::from(width),
        }
    }
}

impl fmt::Display for TileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Hashes { level } => write!(f, "tile/{level}/{}", groups(self.index))?,
            Content::Entries => write!(f, "tile/entries/{}", groups(self.index))?,
        }
        if self.width < WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// The index in groups of three digits, all but the last with an `x`.
pub fn groups(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// An entry bundle: each item after its length (u16, big-endian). Entries have 152 bytes, heads at most 1,024.
pub fn bundle(items: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend_from_slice(&(item.as_ref().len() as u16).to_be_bytes());
        bytes.extend_from_slice(item.as_ref());
    }
    bytes
}

fn index(text: &str) -> Option<u64> {
    let last = text.rsplit('/').next()?;
    let before = text.strip_suffix(last)?;
    let further = before.split_terminator('/').map(|group| group.strip_prefix('x'));
    further.chain([Some(last)]).try_fold(0_u64, |sum, group| {
        let group = group.filter(|g| g.len() == 3 && g.bytes().all(|b| b.is_ascii_digit()))?;
        sum.checked_mul(1000)?.checked_add(group.parse().ok()?)
    })
}

/// A decimal number without leading zeros or sign, at most `most`.
fn small(text: &str, most: u16) -> Option<u16> {
    let digits = text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| plain && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(level: u8, index: u64, width: u16) -> TileName {
        TileName { content: Content::Hashes { level }, index, width }
    }

    #[test]
    fn names_are_those_of_the_c2sp_text_and_survive_their_writing() {
        let bundle = TileName { content: Content::Entries, index: 67, width: 3 };
        for (text, name) in [
            ("tile/0/067", hashes(0, 67, 256)),
            ("tile/3/x001/x234/067", hashes(3, 1_234_067, 256)),
            ("tile/1/x001/000.p/17", hashes(1, 1000, 17)),
            ("tile/7/000.p/255", hashes(7, 0, 255)),
            ("tile/entries/067.p/3", bundle),
            ("tile/0/x018/x446/x744/x073/x709/x551/615", hashes(0, u64::MAX, 256)),
        ] {
            assert_eq!(TileName::parse(text), Some(name), "{text}");
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn any_other_spelling_is_refused() {
        for text in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile//000",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/data/000",
            "tile/Entries/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/X001/002",
            "tile/0/x01/002",
            "tile/0/../000",
            "tile/0/x001/../002",
            "tile/0/x001%2f002",
            "tile/0/%30%30%30",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/1/2",
            "tile/0/000.p/1.p/1",
            "tile/0/000?",
            "tile/0/000 ",
            "tile/0/٠٠٠",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
        ] {
            assert_eq!(TileName::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_tree_of_70000_has_exactly_the_tiles_of_the_c2sp_text() {
        let of = |level, index, width| hashes(level, index, width).is_of(70_000);
        assert!(of(0, 0, 256) && of(0, 272, 256) && !of(0, 273, 256));
        assert!(of(1, 0, 256) && !of(1, 1, 256) && !of(2, 0, 256));
        let partial: Vec<_> = (0..=MAX_LEVEL)
            .flat_map(|level| {
                (0..274).flat_map(move |index| (1..256).map(move |width| (level, index, width)))
            })
            .filter(|(level, index, width)| of(*level, *index, *width))
            .collect();
        assert_eq!(partial, [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
    }

    #[test]
    fn a_bundle_has_each_item_after_its_length() {
        assert_eq!(bundle([&b"ab"[..], &[7; 300]].into_iter())[..6], [0, 2, b'a', b'b', 1, 44]);
    }

    #[test]
    fn a_tile_needs_all_its_leaves_and_no_tree_has_more_than_2_to_the_64() {
        assert_eq!(hashes(1, 1, 17).needs(), Some((256 + 17) * 256));
        assert_eq!(hashes(7, 0, 255).needs(), Some(255 << 56));
        assert_eq!((hashes(7, 0, 256).needs(), hashes(0, u64::MAX, 1).needs()), (None, None));
    }
}

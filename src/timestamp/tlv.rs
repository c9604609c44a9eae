//! The DER shapes RFC 3161 needs, read strictly and laid by hand (X.690 sections 8 and 10).
//!
//! A general decoder would accept more than DER here and there, and a general encoder costs more
//! than everything else a token needs outside the HSM; `rasn-cms` reads every token again in the tests.

/// Identifier octets, X.690 section 8.1.2.
pub(crate) mod tag {
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const NULL: u8 = 0x05;
    pub const OID: u8 = 0x06;
    pub const UTF8_STRING: u8 = 0x0C;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    pub const PRIMITIVE_0: u8 = 0x80;
    pub const PRIMITIVE_1: u8 = 0x81;
    pub const CONTEXT_0: u8 = 0xA0;
    pub const CONTEXT_1: u8 = 0xA1;
    pub const CONTEXT_2: u8 = 0xA2;
    /// Bit 6 of the identifier.
    pub const CONSTRUCTED: u8 = 0x20;
}

/// Input that is not DER of the expected shape; the text names what was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not DER: {0}")]
pub struct NotDer(pub &'static str);

/// One element: identifier, contents, and both with the length between them.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
}

/// Walks the elements of one level.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever its tag. Definite, shortest lengths below 2^24 only (section 10.1).
    pub fn any(&mut self) -> Result<Element<'a>, NotDer> {
        let input = self.0;
        let (&tag, after_tag) = input.split_first().ok_or(NotDer("an element is missing"))?;
        if tag & 0x1F == 0x1F {
            return Err(NotDer("a tag number above 30"));
        }
        let (length, after_length) = length(after_tag)?;
        let content = after_length.get(..length).ok_or(NotDer("an element is cut off"))?;
        let total = input.len() - after_length.len() + length;
        let (whole, rest) = input.split_at(total);
        self.0 = rest;
        Ok(Element { tag, content, whole })
    }

    /// The next element, which must carry `tag`.
    pub fn element(&mut self, tag: u8) -> Result<Element<'a>, NotDer> {
        match self.peek() {
            Some(found) if found == tag => self.any(),
            Some(_) => Err(NotDer("an element of another type than expected")),
            None => Err(NotDer("an element is missing")),
        }
    }

    /// Contents of the next element, which must carry `tag`.
    pub fn take(&mut self, tag: u8) -> Result<&'a [u8], NotDer> {
        self.element(tag).map(|e| e.content)
    }

    /// Contents of the next element if it carries `tag`.
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, NotDer> {
        if self.peek() == Some(tag) { self.take(tag).map(Some) } else { Ok(None) }
    }

    /// A reader over the contents of the next element.
    pub fn enter(&mut self, tag: u8) -> Result<Reader<'a>, NotDer> {
        self.take(tag).map(Reader)
    }

    /// Contents of an INTEGER in its shortest form (section 8.3.2).
    pub fn integer(&mut self) -> Result<&'a [u8], NotDer> {
        let content = self.take(tag::INTEGER)?;
        match content {
            [] => Err(NotDer("an INTEGER without contents")),
            [0, next, ..] if *next < 0x80 => Err(NotDer("an INTEGER that is not minimal")),
            [0xFF, next, ..] if *next >= 0x80 => Err(NotDer("an INTEGER that is not minimal")),
            _ => Ok(content),
        }
    }

    /// Contents of an OBJECT IDENTIFIER with complete, shortest arcs (section 8.19.2).
    pub fn oid(&mut self) -> Result<&'a [u8], NotDer> {
        let content = self.take(tag::OID)?;
        let mut starts_arc = true;
        for &byte in content {
            if starts_arc && byte == 0x80 {
                return Err(NotDer("an OBJECT IDENTIFIER that is not minimal"));
            }
            starts_arc = byte < 0x80;
        }
        if content.is_empty() || !starts_arc {
            return Err(NotDer("an OBJECT IDENTIFIER that is cut off"));
        }
        Ok(content)
    }

    /// `BOOLEAN DEFAULT FALSE`: absent is false, only `FF` is true (section 11.1), FALSE is never encoded (11.5).
    pub fn flag(&mut self) -> Result<bool, NotDer> {
        match self.optional(tag::BOOLEAN)? {
            None => Ok(false),
            Some([0xFF]) => Ok(true),
            Some([0x00]) => Err(NotDer("a default value that is encoded")),
            Some(_) => Err(NotDer("a BOOLEAN that is neither 00 nor FF")),
        }
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), NotDer> {
        if self.0.is_empty() { Ok(()) } else { Err(NotDer("bytes after the last element")) }
    }
}

fn length(input: &[u8]) -> Result<(usize, &[u8]), NotDer> {
    let short = |bytes: &[u8]| bytes.iter().fold(0, |n, b| (n << 8) | usize::from(*b));
    match input {
        [n, rest @ ..] if *n < 0x80 => Ok((usize::from(*n), rest)),
        [0x81, n, rest @ ..] if *n >= 0x80 => Ok((usize::from(*n), rest)),
        [0x82, a, b, rest @ ..] if *a > 0 => Ok((short(&[*a, *b]), rest)),
        [0x83, a, b, c, rest @ ..] if *a > 0 => Ok((short(&[*a, *b, *c]), rest)),
        [0x80, ..] => Err(NotDer("an indefinite length")),
        [0x81..=0x83, ..] => Err(NotDer("a length that is not minimal or cut off")),
        [] => Err(NotDer("a length is missing")),
        _ => Err(NotDer("a length of 2^24 or more")),
    }
}

/// Whether `bytes` are well-formed elements nested no deeper than `depth`: asked before anything
/// else looks at bytes from outside.
pub(crate) fn well_formed(bytes: &[u8], depth: usize) -> Result<(), NotDer> {
    let mut level = Reader::new(bytes);
    while level.peek().is_some() {
        let element = level.any()?;
        if element.tag & tag::CONSTRUCTED != 0 {
            let below = depth.checked_sub(1).ok_or(NotDer("nested too deeply"))?;
            well_formed(element.content, below)?;
        }
    }
    Ok(())
}

/// An element with the concatenation of `parts` as its contents; contents stay below 2^24 bytes.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(length + 5);
    out.push(tag);
    let bytes = (length as u32).to_be_bytes();
    match length {
        0..0x80 => out.push(bytes[3]),
        0x80..0x100 => out.extend([0x81, bytes[3]]),
        0x100..0x1_0000 => out.extend([0x82, bytes[2], bytes[3]]),
        _ => out.extend([0x83, bytes[1], bytes[2], bytes[3]]),
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// INTEGER of an unsigned big-endian number.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    match &bytes[first..] {
        [] => element(tag::INTEGER, &[&[0]]),
        rest @ [high, ..] if *high >= 0x80 => element(tag::INTEGER, &[&[0], rest]),
        rest => element(tag::INTEGER, &[rest]),
    }
}

/// SET OF in DER order (section 11.6) under `tag`.
pub(crate) fn set_of(tag: u8, mut members: Vec<Vec<u8>>) -> Vec<u8> {
    members.sort();
    let parts: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
    element(tag, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_form_is_written_shortest_and_read_back() {
        for n in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let whole = element(tag::OCTET_STRING, &[&vec![7; n]]);
            let mut reader = Reader::new(&whole);
            assert_eq!(reader.take(tag::OCTET_STRING).unwrap().len(), n);
            reader.finish().unwrap();
        }
    }

    #[test]
    fn lengths_that_are_not_der_are_refused() {
        for (bad, why) in [
            (&[0x04, 0x80, 0, 0][..], "an indefinite length"),
            (&[0x04, 0x81, 0x01, 0], "a length that is not minimal or cut off"),
            (&[0x04, 0x82, 0x00, 0x80], "a length that is not minimal or cut off"),
            (&[0x04, 0x84, 0, 0, 0, 1, 0], "a length of 2^24 or more"),
            (&[0x04, 0x02, 0], "an element is cut off"),
            (&[0x04], "a length is missing"),
            (&[0x1F, 0x01, 0], "a tag number above 30"),
        ] {
            assert_eq!(Reader::new(bad).any().err(), Some(NotDer(why)), "{bad:02x?}");
        }
    }

    #[test]
    fn numbers_and_names_have_one_form() {
        for good in [&[0][..], &[0x7F], &[0, 0x80], &[0xFF], &[0xFF, 0x7F], &[0x80]] {
            let whole = element(tag::INTEGER, &[good]);
            assert_eq!(Reader::new(&whole).integer(), Ok(good));
        }
        for bad in [&[][..], &[0, 0], &[0, 0x7F], &[0xFF, 0xFF], &[0xFF, 0x80]] {
            assert!(Reader::new(&element(tag::INTEGER, &[bad])).integer().is_err(), "{bad:02x?}");
        }
        for bad in [&[][..], &[0x2A, 0x80], &[0x80, 0x01], &[0x2A, 0x80, 0x01], &[0x86]] {
            assert!(Reader::new(&element(tag::OID, &[bad])).oid().is_err(), "{bad:02x?}");
        }
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0x7F]), [2, 1, 0x7F]);
    }

    #[test]
    fn depth_is_bounded_before_anything_is_decoded() {
        let mut nested = element(tag::NULL, &[]);
        for _ in 0..4 {
            nested = element(tag::SEQUENCE, &[&nested]);
        }
        assert_eq!(well_formed(&nested, 4), Ok(()));
        assert_eq!(well_formed(&nested, 3), Err(NotDer("nested too deeply")));
    }

    #[test]
    fn sets_are_sorted_by_their_encodings() {
        let set = set_of(tag::SET, vec![vec![4, 2, 1, 1], vec![4, 1, 9], vec![2, 1, 5]]);
        assert_eq!(set, [0x31, 10, 2, 1, 5, 4, 1, 9, 4, 2, 1, 1]);
    }
}

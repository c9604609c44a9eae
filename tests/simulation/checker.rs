//! Reads the segments as `docs/formats/journal.md` describes them and recomputes everything. Shares
//! no code with the journal but SHA-256.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

pub type Hash = [u8; 32];

/// An entry as the checker read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub id: [u8; 16],
    pub digest: Hash,
    /// Its 152 bytes.
    pub bytes: Vec<u8>,
}

/// What the segments say.
#[derive(Default)]
pub struct History {
    /// Entries by journal name.
    pub journals: BTreeMap<String, Vec<Fact>>,
    /// Root of the root log at every size.
    pub roots: Vec<Hash>,
    /// Sizes covered by seals, in order.
    pub seals: Vec<u64>,
    pub records: u64,
}

pub fn sha(parts: &[&[u8]]) -> Hash {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

/// RFC 6962 tree, grown leaf by leaf: complete subtrees, largest first.
#[derive(Default)]
struct Forest(Vec<(u32, Hash)>);

impl Forest {
    fn add(&mut self, leaf: Hash) {
        let mut top = (0, leaf);
        while self.0.last().is_some_and(|(height, _)| *height == top.0) {
            let (height, left) = self.0.pop().unwrap();
            top = (height + 1, sha(&[&[1], &left, &top.1]));
        }
        self.0.push(top);
    }

    fn root(&self) -> Hash {
        let mut hashes = self.0.iter().rev().map(|(_, hash)| *hash);
        let Some(last) = hashes.next() else { return sha(&[]) };
        hashes.fold(last, |right, left| sha(&[&[1], &left, &right]))
    }
}

struct Line {
    name: String,
    origin: String,
    own: bool,
    prev: Hash,
    time: i64,
    tree: Forest,
    owner: String,
    frozen: bool,
    ids: BTreeMap<[u8; 16], usize>,
}

impl Line {
    /// A freeze or a hand-over: alone, with a statement about this very entry whose hash is the digest.
    fn control(&mut self, kind: u64, seq: u64, slots: &[u8], details: &[u8]) -> Result<(), String> {
        let wrong = |what: &str| format!("{}: the control entry {seq}: {what}", self.origin);
        let mut reader = Reader { bytes: details };
        let length = reader.number(4)? as usize;
        let text = reader.text(length)?;
        if slots.len() != 48 || !reader.bytes.is_empty() || sha(&[text.as_bytes()]) != slots[16..] {
            return Err(wrong("its statement is not that of its digest"));
        }
        let said: serde_json::Value = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
        let event = if kind == 9 { "journal-frozen" } else { "journal-handed-over" };
        if said["event"] != event || said["origin"] != *self.origin || said["seq"] != seq {
            return Err(wrong("its statement is about another"));
        }
        if said["institution"] != *self.owner {
            return Err(wrong("it was ordered of another owner"));
        }
        self.frozen = kind == 9;
        if let Some(to) = said["to"].as_str() {
            self.owner = to.to_owned();
        }
        Ok(())
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        if count > self.bytes.len() {
            return Err(format!("{count} bytes wanted, {} left", self.bytes.len()));
        }
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self, count: usize) -> Result<u64, String> {
        Ok(self.take(count)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn text(&mut self, count: usize) -> Result<&'b str, String> {
        std::str::from_utf8(self.take(count)?).map_err(|e| e.to_string())
    }
}

/// The whole log of `site`.
pub fn read(site: &str, segments: &[(String, Vec<u8>)]) -> Result<History, String> {
    let mut checker = Checker::new(site);
    let mut ended = false;
    for (number, (name, bytes)) in segments.iter().enumerate() {
        if *name != format!("{number:020}.seg") {
            return Err(format!("segment {number} is missing: {name}"));
        }
        let mut offset = 0;
        while bytes.get(offset..offset + 4) == Some(b"PWAL") {
            if ended {
                return Err(format!("{name}: a record after the end of the log"));
            }
            let place = |why: String| format!("{name} at {offset}: {why}");
            offset += checker.record(&bytes[offset..]).map_err(place)?;
        }
        if bytes[offset..].iter().any(|byte| *byte != 0) {
            return Err(format!("{name}: something that is no record after offset {offset}"));
        }
        ended |= offset == 0;
    }
    Ok(checker.history)
}

struct Checker {
    site: String,
    log: Option<Vec<u8>>,
    epoch: u64,
    previous: Hash,
    lines: Vec<Line>,
    root: Forest,
    after: Hash,
    history: History,
}

impl Checker {
    fn new(site: &str) -> Checker {
        let history = History { roots: vec![sha(&[])], ..History::default() };
        let (previous, after) = ([0; 32], [0; 32]);
        let (lines, root) = (Vec::new(), Forest::default());
        Checker { site: site.into(), log: None, epoch: 0, previous, lines, root, after, history }
    }

    /// One record; how many bytes it has.
    fn record(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let header = bytes.get(..88).ok_or("a header cut off")?;
        if sha(&[&header[..80]])[..8] != header[80..] {
            return Err("wrong header check".into());
        }
        let mut reader = Reader { bytes: &header[4..80] };
        let (version, kind, log) = (reader.number(2)?, reader.number(2)?, reader.take(16)?);
        let (epoch, number, payload) = (reader.number(8)?, reader.number(8)?, reader.number(4)? as usize);
        let (zero, previous) = (reader.number(4)?, reader.take(32)?);
        if (version, kind, zero) != (1, 1, 0) {
            return Err("unknown version or kind".into());
        }
        if number != self.history.records {
            return Err(format!("record number {number}, expected {}", self.history.records));
        }
        if previous != self.previous {
            return Err(format!("record {number} does not name its predecessor"));
        }
        if epoch < self.epoch || self.log.as_deref().is_some_and(|id| id != log) {
            return Err(format!("record {number} is of another log or an older epoch"));
        }
        let total = (88 + payload + 32).div_ceil(512) * 512;
        let whole = bytes.get(..total).ok_or("a record cut off")?;
        if sha(&[&whole[..total - 32]]) != whole[total - 32..] {
            return Err(format!("record {number} does not match its hash"));
        }
        (self.log, self.epoch) = (Some(log.to_vec()), epoch);
        self.previous = whole[total - 32..].try_into().unwrap();
        self.history.records += 1;
        self.sections(&whole[88..88 + payload])?;
        Ok(total)
    }

    fn sections(&mut self, payload: &[u8]) -> Result<(), String> {
        let mut reader = Reader { bytes: payload };
        while !reader.bytes.is_empty() {
            let (tag, length) = (reader.number(1)?, reader.number(4)? as usize);
            let body = Reader { bytes: reader.take(length)? };
            match tag {
                1 => self.seal(body)?,
                2 => self.opened(body)?,
                3 => self.group(body)?,
                _ => return Err(format!("section {tag}")),
            }
        }
        Ok(())
    }

    fn seal(&mut self, mut body: Reader<'_>) -> Result<(), String> {
        let size = body.number(8)?;
        let text = body.text(body.bytes.len())?;
        let root = *self.history.roots.get(size as usize).ok_or(format!("a seal over {size} leaves"))?;
        if !text.starts_with(&format!("{}/root\n{size}\n{}\n\n", self.site, base64(&root))) {
            return Err(format!("the seal of size {size} is not that of the leaves"));
        }
        if self.history.seals.last().is_some_and(|last| *last >= size) {
            return Err(format!("size {size} is sealed twice, or sizes shrink"));
        }
        self.history.seals.push(size);
        let token = text.lines().last().and_then(|line| line.rsplit(' ').next()).ok_or("no token")?;
        self.after = sha(&[&unbase64(token)[4..]]);
        Ok(())
    }

    fn opened(&mut self, mut body: Reader<'_>) -> Result<(), String> {
        let number = body.number(4)? as usize;
        let length = body.number(1)? as usize;
        let name = body.text(length)?.to_owned();
        let length = body.number(1)? as usize;
        let owner = body.text(length)?.to_owned();
        let own = owner.is_empty();
        if number != self.lines.len() || self.history.journals.contains_key(&name) {
            return Err(format!("journal {name} opened as {number}"));
        }
        let origin = format!("{}/j/{name}", self.site);
        self.history.journals.insert(name.clone(), Vec::new());
        let (prev, tree) = (sha(&[body.bytes]), Forest::default());
        let (time, frozen, ids) = (i64::MIN, false, BTreeMap::new());
        self.lines.push(Line { name, origin, own, prev, time, tree, owner, frozen, ids });
        Ok(())
    }

    fn group(&mut self, mut body: Reader<'_>) -> Result<(), String> {
        let (journal, kind, first) = (body.number(4)? as usize, body.number(2)?, body.number(8)?);
        let (time, bound) = (body.number(8)? as i64, body.number(4)? as u32);
        let (count, head) = (body.number(4)? as usize, body.number(2)? as usize);
        let (head, slots) = (body.text(head)?, body.take(48 * count)?);
        let line = self.lines.get_mut(journal).ok_or(format!("journal {journal} was never opened"))?;
        let facts = self.history.journals.get_mut(&line.name).unwrap();
        let wanted = match (first, line.own) {
            (0, _) => 1,
            (_, true) => 3,
            (_, false) if kind == 9 || kind == 10 => kind,
            (_, false) => 2,
        };
        if line.frozen {
            return Err(format!("{}: entry {first} after the freeze", line.origin));
        }
        if kind == 9 || kind == 10 {
            line.control(kind, first, slots, body.bytes)?;
        }
        if first != facts.len() as u64 || time < line.time || kind != wanted {
            return Err(format!("{}: a gap, a time or a kind at {first}", line.origin));
        }
        line.time = time;
        for slot in slots.chunks(48) {
            let (id, digest): ([u8; 16], Hash) =
                (slot[..16].try_into().unwrap(), slot[16..].try_into().unwrap());
            let mut bytes = b"pechat/entry/v1\n".to_vec();
            bytes.extend(sha(&[line.origin.as_bytes()]));
            bytes.extend((facts.len() as u64).to_be_bytes());
            bytes.extend(line.prev);
            bytes.extend(time.to_be_bytes());
            bytes.extend(bound.to_be_bytes());
            bytes.extend((kind as u16).to_be_bytes());
            bytes.extend(id);
            bytes.extend(1_u16.to_be_bytes());
            bytes.extend(digest);
            line.prev = sha(&[&[0], &bytes]);
            line.tree.add(line.prev);
            if let Some(earlier) = line.ids.insert(id, facts.len()) {
                return Err(format!("{}: one id at {earlier} and {}", line.origin, facts.len()));
            }
            facts.push(Fact { id, digest, bytes });
        }
        let (size, root) = (facts.len(), base64(&line.tree.root()));
        let after: String = self.after.iter().map(|byte| format!("{byte:02x}")).collect();
        if head != format!("{}\n{size}\n{root}\nafter {after}\n", line.origin) {
            return Err(format!("{}: the head of size {size} is not that of the entries", line.origin));
        }
        self.root.add(sha(&[&[0], head.as_bytes()]));
        self.history.roots.push(self.root.root());
        Ok(())
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let block = (0..3).fold(0, |sum, i| sum << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        for place in 0..4 {
            let letter = ALPHABET[(block >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for value in text.bytes().filter_map(|byte| ALPHABET.iter().position(|letter| *letter == byte)) {
        (bits, count) = (bits << 6 | value as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

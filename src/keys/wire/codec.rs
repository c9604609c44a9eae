//! Field by field: how each part of a frame is written and read.

use super::*;

/// Appends a frame whose length is filled in after the body is written.
pub(super) fn frame(out: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Body<'_>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    fill(&mut Body(out));
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The body of a frame while it is written.
pub(super) struct Body<'a>(&'a mut Vec<u8>);

impl Body<'_> {
    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    // Callers stay below MAX_BATCH; more would be refused by the other end.
    pub(super) fn count(&mut self, count: usize) {
        self.u16(u16::try_from(count).unwrap_or(u16::MAX));
    }

    pub(super) fn label(&mut self, label: &KeyLabel) {
        let text = label.as_str().as_bytes();
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text);
    }

    pub(super) fn job(&mut self, job: &SignJob) {
        self.u64(job.id);
        self.u16(job.key);
        self.0.extend_from_slice(&job.digest);
    }

    pub(super) fn hello(&mut self, hello: &Hello) {
        self.u16(hello.version);
        self.0.push(u8::from(hello.ceremony));
        self.count(hello.keys.len());
        for key in &hello.keys {
            self.label(&key.label);
            self.0.extend_from_slice(&key.spki_sha256);
        }
    }

    pub(super) fn signed(&mut self, answer: &Signed) {
        self.u64(answer.id);
        self.outcome(&answer.outcome, |b, signature| b.0.extend_from_slice(signature));
    }

    pub(super) fn generated(&mut self, made: &Generated) {
        self.0.extend_from_slice(&made.key_id);
        self.0.extend_from_slice(&made.spki);
        self.0.extend_from_slice(&made.proof);
    }

    // Callers stay below MAX_MESSAGE; more would be refused by the other end.
    pub(super) fn message(&mut self, message: &[u8]) {
        self.count(message.len());
        self.0.extend_from_slice(message);
    }

    pub(super) fn kept(&mut self, heads: &[Vec<u8>]) {
        self.0.push(heads.len() as u8);
        heads.iter().for_each(|head| self.message(head));
    }

    pub(super) fn generated_ed25519(&mut self, made: &GeneratedEd25519) {
        self.0.extend_from_slice(&made.key_id);
        self.0.extend_from_slice(&made.spki);
        self.0.extend_from_slice(&made.proof);
    }

    pub(super) fn status(&mut self, status: &Status) {
        self.u64(status.id);
        self.u64(status.signed);
        self.u64(status.failed);
        self.0.extend_from_slice(&status.queued.to_be_bytes());
    }

    /// The frame's own limit is the text's.
    pub(super) fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn outcome<T>(&mut self, outcome: &Result<T, Failure>, write: impl FnOnce(&mut Self, &T)) {
        match outcome {
            Ok(value) => {
                self.0.push(0);
                write(self, value);
            }
            Err(failure) => {
                self.0.push(failure.class as u8);
                self.count(failure.text.len());
                self.0.extend_from_slice(failure.text.as_bytes());
            }
        }
    }
}

/// What is left of a body while it is read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn list<T>(
        &mut self,
        least: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = usize::from(self.u16()?);
        if !(least..=MAX_BATCH).contains(&count) {
            return Err(WireError::Field("count"));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(one(self)?);
        }
        Ok(items)
    }

    pub(super) fn label(&mut self) -> Result<KeyLabel, WireError> {
        let length = usize::from(self.u8()?);
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| WireError::Field("label"))?;
        KeyLabel::new(text).map_err(|_| WireError::Field("label"))
    }

    pub(super) fn job(&mut self) -> Result<SignJob, WireError> {
        Ok(SignJob { id: self.u64()?, key: self.u16()?, digest: self.array()? })
    }

    pub(super) fn hello(&mut self) -> Result<Hello, WireError> {
        let version = self.u16()?;
        let ceremony = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(WireError::Field("ceremony flag")),
        };
        let keys = self.list(0, |r| Ok(HelloKey { label: r.label()?, spki_sha256: r.array()? }))?;
        Ok(Hello { version, ceremony, keys })
    }

    pub(super) fn signed(&mut self) -> Result<Signed, WireError> {
        Ok(Signed { id: self.u64()?, outcome: self.outcome(Self::array)? })
    }

    pub(super) fn generated(&mut self) -> Result<Generated, WireError> {
        Ok(Generated { key_id: self.array()?, spki: self.array()?, proof: self.array()? })
    }

    pub(super) fn message(&mut self, least: usize) -> Result<Vec<u8>, WireError> {
        let count = usize::from(self.u16()?);
        if !(least..=MAX_MESSAGE).contains(&count) {
            return Err(WireError::Field("message length"));
        }
        self.bytes(count).map(<[u8]>::to_vec)
    }

    pub(super) fn kept(&mut self) -> Result<Vec<Vec<u8>>, WireError> {
        let count = usize::from(self.u8()?);
        if count > MAX_KEPT {
            return Err(WireError::Field("count"));
        }
        (0..count).map(|_| self.message(0)).collect()
    }

    pub(super) fn generated_ed25519(&mut self) -> Result<GeneratedEd25519, WireError> {
        Ok(GeneratedEd25519 { key_id: self.array()?, spki: self.array()?, proof: self.array()? })
    }

    pub(super) fn status(&mut self) -> Result<Status, WireError> {
        let [id, signed, failed] = [self.u64()?, self.u64()?, self.u64()?];
        Ok(Status { id, signed, failed, queued: u32::from_be_bytes(self.array()?) })
    }

    pub(super) fn text(&mut self) -> Result<String, WireError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::Field("text"))
    }

    pub(super) fn outcome<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Result<T, Failure>, WireError> {
        let class = match self.u8()? {
            0 => return read(self).map(Ok),
            1 => FailureClass::Refused,
            2 => FailureClass::UnknownKey,
            3 => FailureClass::TokenLost,
            4 => FailureClass::Busy,
            5 => FailureClass::NotAllowed,
            6 => FailureClass::WrongSignature,
            _ => return Err(WireError::Field("failure class")),
        };
        let length = usize::from(self.u16()?);
        if length > MAX_TEXT {
            return Err(WireError::Field("text length"));
        }
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| WireError::Field("text"))?;
        Ok(Err(Failure { class, text: text.to_owned() }))
    }

    pub(super) fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.0.len())) }
    }
}

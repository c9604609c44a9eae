//! HTTP/1 answers read from bytes (RFC 9112), with everything a client may stumble over kept.

/// Longest answer that is read, bytes.
pub const LONGEST: usize = 1 << 20;

/// How the body's end is told, RFC 9112 section 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    Close,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `HTTP/1.x`: the x.
    pub minor: u8,
    /// Status code.
    pub status: u16,
    /// Names in lower case, values trimmed, in order.
    pub headers: Vec<(String, String)>,
    /// How the body was delimited.
    pub framing: Framing,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// Bytes that are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP answer: {0}")]
pub struct NotHttp(pub &'static str);

impl Answer {
    /// The value of a header that is there exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether a header is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n == name)
    }

    /// Reads one answer and how many bytes it has; `None` while more must come. `head`: it answers a HEAD.
    /// `ended`: nothing more will come.
    pub fn read(bytes: &[u8], head: bool, ended: bool) -> Result<Option<(Self, usize)>, NotHttp> {
        let Some(cut) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            let hopeless =
                ended || bytes.len() > LONGEST || !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]);
            return if hopeless { Err(NotHttp("no end of the header")) } else { Ok(None) };
        };
        let mut answer = Self::header_of(&bytes[..cut])?;
        let rest = &bytes[cut + 4..];
        answer.framing = answer.delimited(head)?;
        let body = match answer.framing {
            Framing::None => Some((Vec::new(), 0)),
            Framing::Length => answer.counted(rest)?,
            Framing::Chunked => chunks(rest)?,
            Framing::Close => ended.then(|| (rest.to_vec(), rest.len())),
        };
        match body {
            Some((body, used)) => Ok(Some((Self { body, ..answer }, cut + 4 + used))),
            None if ended || bytes.len() > LONGEST => Err(NotHttp("the body is cut off")),
            None => Ok(None),
        }
    }

    /// Every answer in `bytes`, interim ones included; nothing may be left.
    pub fn all(mut bytes: &[u8], head: bool) -> Result<Vec<Self>, NotHttp> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (answer, used) = Self::read(bytes, head, true)?.ok_or(NotHttp("it is cut off"))?;
            bytes = &bytes[used..];
            found.push(answer);
        }
        Ok(found)
    }

    fn header_of(bytes: &[u8]) -> Result<Self, NotHttp> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotHttp("a header that is no text"))?;
        let mut lines = text.split("\r\n");
        let (minor, status) = status_line(lines.next().unwrap_or("")).ok_or(NotHttp("the status line"))?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(NotHttp("a header line without a colon"))?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(NotHttp("a header name with a space"));
            }
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { minor, status, headers, framing: Framing::None, body: Vec::new() })
    }

    fn delimited(&self, head: bool) -> Result<Framing, NotHttp> {
        if head || self.status < 200 || matches!(self.status, 204 | 304) {
            return Ok(Framing::None);
        }
        match (self.has("transfer-encoding"), self.has("content-length")) {
            (true, true) => Err(NotHttp("both Transfer-Encoding and Content-Length")),
            (true, false)
                if self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) =>
            {
                Ok(Framing::Chunked)
            }
            (true, false) => Err(NotHttp("a Transfer-Encoding other than chunked")),
            (false, true) => Ok(Framing::Length),
            (false, false) => Ok(Framing::Close),
        }
    }

    fn counted(&self, rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, NotHttp> {
        const BAD: NotHttp = NotHttp("a Content-Length that is no number, twofold or too large");
        let length =
            self.header("content-length").filter(|v| v.bytes().all(|b| b.is_ascii_digit())).ok_or(BAD)?;
        let length: usize = length.parse().map_err(|_| BAD)?;
        if length > LONGEST {
            return Err(BAD);
        }
        Ok(rest.get(..length).map(|body| (body.to_vec(), length)))
    }
}

fn status_line(line: &str) -> Option<(u8, u16)> {
    let (version, rest) = line.strip_prefix("HTTP/1.")?.split_once(' ')?;
    let minor = version.parse().ok().filter(|_| version.len() == 1)?;
    let code = rest.split(' ').next()?;
    let status = code.parse().ok().filter(|s| code.len() == 3 && (100..600).contains(s))?;
    Some((minor, status))
}

/// RFC 9112 section 7.1; trailers are passed over.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, NotHttp> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap_or("");
        let size = size.split(';').next().unwrap_or("").trim();
        at += line + 2;
        let size = usize::from_str_radix(size, 16).ok().filter(|n| *n <= LONGEST && !size.starts_with('+'));
        let size = size.ok_or(NotHttp("a chunk without a size"))?;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(NotHttp("a chunk that is longer than its size"));
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    loop {
        let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        at += line + 2;
        if line == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Option<(Answer, usize)>, NotHttp> {
        Answer::read(text.as_bytes(), false, false)
    }

    #[test]
    fn each_framing_is_read_to_its_end_and_no_further() {
        for (text, framing, body, used) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabX", Framing::Length, "ab", 40),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n1\r\nb\r\n0\r\nT: x\r\n\r\nX",
                Framing::Chunked,
                "ab",
                72,
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nX", Framing::None, "", 25),
            ("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nX", Framing::None, "", 38),
        ] {
            let (answer, n) = one(text).unwrap().unwrap();
            assert_eq!((answer.framing, &answer.body[..], n), (framing, body.as_bytes(), used), "{text}");
        }
        let open = "HTTP/1.0 200 OK\r\n\r\nab";
        assert_eq!(one(open), Ok(None));
        let (answer, used) = Answer::read(open.as_bytes(), false, true).unwrap().unwrap();
        assert_eq!(
            (answer.framing, &answer.body[..], answer.minor, used),
            (Framing::Close, &b"ab"[..], 0, 21)
        );
    }

    #[test]
    fn what_is_cut_off_is_awaited_until_nothing_more_comes() {
        let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(one(&whole[..cut]), Ok(None), "{cut}");
            assert_eq!(Answer::all(&whole.as_bytes()[..cut], false).is_err(), cut > 0, "{cut}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for bad in [
            "HTTP/2 200\r\n\r\n",
            "220 mail\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(one(bad).is_err(), "{bad}");
        }
    }
}

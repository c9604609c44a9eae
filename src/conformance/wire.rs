//! The edge: a connection to the authority, plain or TLS, and the steps of an exchange taken on it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::answer::{Answer, LONGEST};
use super::exchange::{End, Seen, Sent, Step};
use crate::clock::UtcMicros;

/// A byte stream.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Where connections come from.
pub trait Dial {
    /// A new connection whose reads and writes give up after the time limit.
    fn dial(&self) -> io::Result<Box<dyn Stream>>;
}

/// An authority's address.
pub struct Address {
    /// Host without port.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS, if the URL says so.
    pub tls: Option<Arc<ClientConfig>>,
    /// Longest wait for a connection or for the next bytes.
    pub patience: Duration,
}

/// TLS with the trust anchors of `ca` and, if given, a client certificate (chain, key); all PEM files.
pub fn tls(
    ca: &Path,
    identity: Option<(&Path, &Path)>,
) -> Result<(Arc<ClientConfig>, Vec<CertificateDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    for anchor in certificates(ca)? {
        // Some anchors of a system's list may be of kinds not known here.
        let _ = roots.add(anchor);
    }
    if roots.is_empty() {
        return Err(format!("{}: holds no usable certificate", ca.display()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?.with_root_certificates(roots);
    let Some((chain, key)) = identity else {
        return Ok((Arc::new(builder.with_no_client_auth()), Vec::new()));
    };
    let (path, chain) = (key.display(), certificates(chain)?);
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{path}: {e}"))?;
    let config = builder.with_client_auth_cert(chain.clone(), key);
    Ok((Arc::new(config.map_err(|e| format!("certificate and key do not fit: {e}"))?), chain))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |e: rustls_pki_types::pem::Error| format!("{}: {e}", path.display());
    CertificateDer::pem_file_iter(path).map_err(bad)?.collect::<Result<_, _>>().map_err(bad)
}

impl Dial for Address {
    fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(stream) => return self.greet(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Address {
    fn greet(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// Takes the steps of `sent`; `now` gives the prober's own time. After an answer that ends its
/// connection the next bytes go over a new one.
pub fn exchange(dial: &dyn Dial, sent: &Sent, patience: Duration, now: fn() -> UtcMicros) -> Seen {
    let before = now();
    let mut talk = Talk { dial, stream: None, bytes: Vec::new(), taken: 0, head: sent.head, patience };
    let mut end = End::Done;
    for step in &sent.steps {
        match talk.take(step) {
            Ok(true) => {}
            Ok(false) => break,
            Err(why) => {
                end = why;
                break;
            }
        }
    }
    Seen { bytes: talk.bytes, end, between: (before, now()) }
}

struct Talk<'a> {
    dial: &'a dyn Dial,
    stream: Option<Box<dyn Stream>>,
    bytes: Vec<u8>,
    /// How many of `bytes` were whole answers.
    taken: usize,
    head: bool,
    patience: Duration,
}

impl Talk<'_> {
    /// Whether the exchange goes on.
    fn take(&mut self, step: &Step) -> Result<bool, End> {
        match step {
            Step::Pause(time) => std::thread::sleep(*time),
            // A refusal may come before everything is written; reading tells.
            Step::Send(bytes) => drop(self.send(bytes)?),
            Step::Answer => while self.answer()? < 200 {},
            Step::End => self.end()?,
            Step::Continue => return Ok(self.answer()? < 200),
        }
        Ok(true)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<io::Result<()>, End> {
        if self.stream.is_none() {
            self.stream = Some(self.dial.dial().map_err(ended)?);
        }
        let Some(stream) = &mut self.stream else { return Ok(Ok(())) };
        Ok(stream.write_all(bytes).and_then(|()| stream.flush()))
    }

    fn end(&mut self) -> Result<(), End> {
        let mut buffer = [0; 1024];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer).map_err(ended) {
                Ok(0) | Err(End::Closed) => self.stream = None,
                Ok(n) if self.bytes.len() > 4 * LONGEST => {
                    return Err(End::Failed(format!("{n} bytes more")));
                }
                Ok(n) => self.bytes.extend_from_slice(&buffer[..n]),
                Err(end) => return Err(end),
            }
        }
        Ok(())
    }

    /// Reads one answer, an interim one or a final one; its status.
    fn answer(&mut self) -> Result<u16, End> {
        let begun = Instant::now();
        let mut buffer = [0; 16 * 1024];
        loop {
            let unread = &self.bytes[self.taken..];
            if !unread.is_empty() {
                match Answer::read(unread, self.head, self.stream.is_none()) {
                    Ok(Some((answer, used))) => return Ok(self.taken_over(&answer, used)),
                    Ok(None) => {}
                    // What it is will be said by the judge.
                    Err(_) => return Err(End::Done),
                }
            }
            let Some(stream) = &mut self.stream else { return Err(End::Closed) };
            if begun.elapsed() > self.patience {
                return Err(End::TimedOut);
            }
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(n) if self.bytes.len() + n > 4 * LONGEST => {
                    return Err(End::Failed("an endless answer".into()));
                }
                Ok(n) => self.bytes.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => match ended(e) {
                    // With bytes at hand the end may be the body's end.
                    End::Closed if self.bytes.len() > self.taken => self.stream = None,
                    end => return Err(end),
                },
            }
        }
    }

    fn taken_over(&mut self, answer: &Answer, used: usize) -> u16 {
        self.taken += used;
        let closes = answer.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        if answer.status >= 200 && (closes || answer.minor == 0) {
            self.stream = None;
        }
        answer.status
    }
}

fn ended(error: io::Error) -> End {
    use io::ErrorKind as K;
    match error.kind() {
        K::WouldBlock | K::TimedOut => End::TimedOut,
        K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => End::Closed,
        _ => End::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Connections that say these bytes, one read each, and then end.
    struct Script(Mutex<VecDeque<VecDeque<&'static [u8]>>>);
    struct Line(VecDeque<&'static [u8]>);

    impl Dial for Script {
        fn dial(&self) -> io::Result<Box<dyn Stream>> {
            let next = self.0.lock().unwrap().pop_front();
            next.map(|l| Box::new(Line(l)) as Box<dyn Stream>).ok_or(io::ErrorKind::ConnectionRefused.into())
        }
    }
    impl Read for Line {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let next = self.0.pop_front().unwrap_or_default();
            buffer[..next.len()].copy_from_slice(next);
            Ok(next.len())
        }
    }
    impl Write for Line {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run(connections: &[&[&'static [u8]]], steps: &[Step]) -> Seen {
        let script = connections.iter().map(|c| c.iter().copied().collect()).collect();
        let sent = Sent { queries: vec![], steps: steps.to_vec(), head: false, names: vec![], secure: false };
        exchange(&Script(Mutex::new(script)), &sent, Duration::from_secs(9), || UtcMicros(1))
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nb";

    #[test]
    fn an_answer_that_ends_its_connection_is_followed_by_a_new_one() {
        let two = [Step::Send(vec![1]), Step::Answer, Step::Send(vec![2]), Step::Answer];
        let seen = run(&[&[LAST], &[OK]], &two);
        assert_eq!((seen.bytes, seen.end), ([LAST, OK].concat(), End::Done));
        let seen = run(&[&[&OK[..9], &OK[9..], LAST]], &two);
        assert_eq!((seen.bytes, seen.end), ([OK, LAST].concat(), End::Done));
    }

    #[test]
    fn the_body_is_sent_only_when_the_authority_goes_on() {
        let steps = [Step::Send(vec![1]), Step::Continue, Step::Send(vec![2]), Step::Answer];
        let go: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(run(&[&[go, OK]], &steps).bytes, [go, OK].concat());
        let seen = run(&[&[OK, LAST]], &steps);
        assert_eq!((&seen.bytes[..], seen.end), (OK, End::Done));
    }

    #[test]
    fn every_way_to_get_no_answer_has_its_end() {
        let ask = [Step::Send(vec![1]), Step::Answer];
        assert_eq!(run(&[&[]], &ask).end, End::Closed);
        assert!(matches!(run(&[], &ask).end, End::Failed(_)));
        let cut = run(&[&[&OK[..30]]], &ask);
        assert_eq!((&cut.bytes[..], cut.end), (&OK[..30], End::Done));
        assert_eq!(run(&[&[b"SSH-2.0"]], &ask).end, End::Done);
        assert_eq!(ended(io::ErrorKind::WouldBlock.into()), End::TimedOut);
    }
}
